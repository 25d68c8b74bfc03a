"""``operators``: the time of each node, by the runtime's own profiler, in a pass of its own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from runoff.probes.base import Probe, Sample
from runoff.records.nodes import CONTROL_FLOW, node_class
from runoff.records.protocol import Operators

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.records.schema import MeterInfo, Record

INFERENCES, WARMUP = 20, 3


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    """Yield the time in kernels in each inference, in all and by class of nodes, and the numbers of nodes."""
    nodes = [node for node in record.result.nodes if node.operator not in CONTROL_FLOW] if record.result else []
    times: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    for node in nodes:
        times["total"].append(node.kernel_ns)
        times[node_class(node.operator, node.inputs)].append(node.kernel_ns)
    for name, rows in times.items():
        yield Sample("nodes", "node", len(rows), name)
        for sample, column in enumerate(zip(*rows, strict=True)):
            yield Sample("kernel", "ns", sum(column), name, sample=sample)


OPERATORS = Probe(
    name="operators",
    summary="time by node, from the runtime's own profiler",
    measure=Operators(inferences=INFERENCES, warmup=WARMUP),
    blocks=3,
    needs_model=True,
    optional=True,
    headline=("kernel.total", "ns"),
    read=_read,
)
