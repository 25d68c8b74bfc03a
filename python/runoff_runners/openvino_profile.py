"""OpenVINO's profile of each inference, as a Chrome trace with the events that ONNX Runtime writes.

OpenVINO reports the mean duration of each layer over all inferences so far, in whole microseconds, and not when it
began. Each inference in the trace is therefore the mean one of those that are reported, and its layers follow each
other without gaps.
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runoff_runners.interfaces import Fields

_TYPES = {"f32": "float", "f64": "double", "f16": "float16", "bf16": "bfloat16", "boolean": "bool"}
"""ONNX Runtime's names, by OpenVINO's; those of integers follow a rule."""
_INTEGERS = {"i": "int", "u": "uint"}
_NS_PER_US = 1000
_COMPUTED = "Status.EXECUTED"


class Profile:
    """The inferences so far: of requests whose models were compiled with ``PERF_COUNT``."""

    def __init__(self) -> None:
        self._inferences: list[tuple[int, Any]] = []
        self._layers: dict[int, list[list[Any]]] = {}

    def add(self, request: Any, begun_ns: int) -> None:  # noqa: ANN401 (an InferRequest)
        """Keep what OpenVINO reports after an inference of `request`, and its duration until now."""
        self._inferences.append((monotonic_ns() - begun_ns, request))
        self._layers.setdefault(id(request), []).append(request.profiling_info)

    def write(self, path: str, inferences: int) -> str:
        """Write the trace of the last `inferences` to `path`, and return it."""
        last = self._inferences[-inferences:]
        mean_us = sum(duration_ns for duration_ns, _ in last) / len(last) / _NS_PER_US
        made: dict[int, list[tuple[str, float, Fields]]] = {}
        events: list[Fields] = []
        for place, (_, request) in enumerate(last):
            if id(request) not in made:
                count = sum(other is request for _, other in last)
                made[id(request)] = list(_mean_layers(self._layers[id(request)], count, request))
            at_us = place * mean_us
            for name, took_us, facts in made[id(request)]:
                events.append(_event("Node", f"{name}_kernel_time", at_us, took_us, facts))
                at_us += took_us
            events.append(_event("Session", "model_run", place * mean_us, mean_us, {}))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(events, file)
        return path


def _mean_layers(reports: list[list[Any]], count: int, request: Any) -> Iterator[tuple[str, float, Fields]]:  # noqa: ANN401
    """Yield the name of each layer, its mean time over the last `count` inferences, in microseconds, and its facts.

    `reports` has those of all inferences of `request`.
    """
    known = _facts(request.get_compiled_model())
    before = len(reports) - count
    for place, layer in enumerate(reports[-1]):
        if str(layer.status) == _COMPUTED:
            spent_us = _mean_us(layer) * len(reports) - (_mean_us(reports[before - 1][place]) * before if before else 0)
            own = {"op_name": layer.node_type, "node_index": place, "kernel": layer.exec_type, "provider": "CPU"}
            yield layer.node_name, max(0.0, spent_us / count), own | known.get(layer.node_name, {})


def _mean_us(layer: Any) -> float:  # noqa: ANN401 (a ProfilingInfo)
    seconds: float = layer.real_time.total_seconds()
    return seconds * 1e6


def _event(category: str, name: str, at_us: float, took_us: float, args: Fields) -> Fields:
    ids = {"pid": os.getpid(), "tid": os.getpid()}
    return {"cat": category, "name": name, "ph": "X", "ts": at_us, "dur": took_us, **ids, "args": args}


def _facts(compiled: Any) -> dict[str, Fields]:  # noqa: ANN401 (a CompiledModel)
    """Return the layers by name: the nodes of the file that each computes, its inputs and outputs."""
    found: dict[str, Fields] = {}
    for layer in compiled.get_runtime_model().get_ordered_ops():
        sources = dict(layer.get_rt_info())["originalLayersNames"].astype(str)
        found[layer.get_friendly_name()] = {
            "sources": [name for name in sources.split(",") if name],
            "input_type_shape": [_port(port) for port in layer.inputs()],
            "output_type_shape": [_port(port) for port in layer.outputs()],
        }
    return found


def _port(port: Any) -> Fields:  # noqa: ANN401 (an Input or Output)
    element = port.get_element_type().get_type_name()
    integer = _INTEGERS.get(element[:1]) if element[1:].isdigit() else None
    shape = port.get_partial_shape()
    sizes = [] if shape.is_dynamic else list(shape.to_shape())
    return {_TYPES.get(element) or (f"{integer}{element[1:]}" if integer else element): sizes}
