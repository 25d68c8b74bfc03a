"""Profiles of runtimes: Chrome traces, with an event for each node as ONNX Runtime writes it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from runoff.records import untrusted
from runoff.records.protocol import Node

FORMAT = "chrome-trace"
_KERNEL, _RUN = "_kernel_time", "model_run"
"""End of the name of a node's event; name of the event at the end of each inference."""
_NS_PER_US = 1000


class _Facts(Struct, frozen=True):
    """The arguments of a node's event; ONNX Runtime writes numbers as strings."""

    op_name: str = ""
    node_index: str | int = ""
    provider: str = ""
    input_type_shape: tuple[dict[str, Any], ...] = ()
    output_type_shape: tuple[dict[str, tuple[int, ...] | None], ...] = ()
    kernel: str | None = None
    sources: tuple[str, ...] = ()


class _Event(Struct, frozen=True):
    name: str = ""
    cat: str = ""
    dur: float = 0
    args: _Facts = field(default_factory=_Facts)

    @property
    def key(self) -> tuple[str, str | int]:
        return self.name, self.args.node_index

    @property
    def ns(self) -> int:
        return max(0, round(self.dur * _NS_PER_US))


def read_nodes(trace: bytes, inferences: int) -> tuple[Node, ...]:
    """Return each node in a profile with its times in the last `inferences` runs, in the order of their first run.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError
        If `trace` is not such a profile.
    """
    nodes: dict[tuple[str, str | int], _Event] = {}
    runs: list[dict[tuple[str, str | int], list[int]]] = [{}]
    for event in untrusted.decode(trace, list[_Event]):
        if event.cat == "Node" and event.name.endswith(_KERNEL):
            nodes.setdefault(event.key, event)
            runs[-1].setdefault(event.key, []).append(event.ns)
        elif event.name == _RUN:
            runs.append({})
    last = runs[:-1][-inferences:]
    made = (_node(event, [run.get(key, []) for run in last]) for key, event in nodes.items())
    return tuple(node for node in made if node.calls)


def _node(event: _Event, runs: list[list[int]]) -> Node:
    facts = event.args
    return Node(
        name=event.name.removesuffix(_KERNEL),
        operator=facts.op_name,
        provider=facts.provider.removesuffix("ExecutionProvider").lower(),
        inputs=tuple(kind for one in facts.input_type_shape for kind in one),
        kernel_ns=tuple(map(sum, runs)),
        calls=sum(map(len, runs)),
        kernel=facts.kernel,
        sources=facts.sources,
        shapes=tuple(shape for one in facts.output_type_shape for shape in one.values() if shape is not None),
    )
