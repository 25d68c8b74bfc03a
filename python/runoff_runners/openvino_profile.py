"""OpenVINO's profile of each inference, as a Chrome trace with the events that ONNX Runtime writes.

OpenVINO reports the mean duration of each layer over all inferences so far, in whole microseconds, and not when it
began. The time in one inference is what the sum of all grew by: after n inferences it is rounded by up to n us, which a
median over inferences removes. In the trace, the layers of an inference follow each other without gaps.
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        self._inferences: list[tuple[int, int, Any, list[Any]]] = []

    def add(self, request: Any, begun_ns: int) -> None:  # noqa: ANN401 (an InferRequest)
        """Keep what OpenVINO reports after an inference of `request`, and its duration until now."""
        self._inferences.append((begun_ns, monotonic_ns() - begun_ns, request, request.profiling_info))

    def write(self, path: str) -> str:
        """Write the trace to `path`, and return it."""
        facts: dict[int, dict[str, Fields]] = {}
        sums_us: dict[int, list[float]] = {}
        counts: dict[int, int] = {}
        events: list[Fields] = []
        at_us = 0.0
        for begun_ns, duration_ns, request, layers in self._inferences:
            key = id(request)
            counts[key] = counts.get(key, 0) + 1
            if key not in facts:
                facts[key] = _facts(request.get_compiled_model())
            sums = [layer.real_time.total_seconds() * 1e6 * counts[key] for layer in layers]
            before = sums_us.get(key, [0.0] * len(sums))
            sums_us[key] = sums
            start_us = at_us = max(at_us, begun_ns / _NS_PER_US)
            for place, layer in enumerate(layers):
                if str(layer.status) == _COMPUTED:
                    took_us = max(0.0, sums[place] - before[place])
                    own = {"op_name": layer.node_type, "node_index": place, "kernel": layer.exec_type}
                    args = {**own, "provider": "CPU", **facts[key].get(layer.node_name, {})}
                    events.append(_event("Node", f"{layer.node_name}_kernel_time", at_us, took_us, args))
                    at_us += took_us
            at_us = max(at_us, start_us + duration_ns / _NS_PER_US)
            events.append(_event("Session", "model_run", start_us, at_us - start_us, {}))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(events, file)
        return path


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
