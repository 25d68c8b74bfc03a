"""PyTorch's profile of each inference, as a Chrome trace with the events that ONNX Runtime writes.

A node is an operator that the network itself calls. Its kernel is the one of the operators within it that takes the
most time: ``mkldnn_convolution`` of a ``conv2d``.
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json

import torch

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Fields

_RUN = "model_run"
_KEYS = ("ph", "cat", "name", "pid", "tid", "ts", "dur")
_TYPES = {
    "float": "float",
    "double": "double",
    "c10::Half": "float16",
    "c10::BFloat16": "bfloat16",
    "signed char": "int8",
    "unsigned char": "uint8",
    "c10::qint8": "int8",
    "c10::quint8": "uint8",
    "int": "int32",
    "long": "int64",
    "long int": "int64",
    "bool": "bool",
}
"""ONNX Runtime's names of the types of tensors, by the profiler's."""
_QUANTIZED = "quantized::"
"""Operators whose weights are an opaque object, in int8."""


class Profile:
    """The inferences so far, for a trace at `path`.

    Raises
    ------
    RunnerError
        On a GPU, where calls only queue kernels.
    """

    def __init__(self, provider: str, path: str) -> None:
        if provider != "cpu":
            raise RunnerError(
                "provider-unavailable", "measure.kind: 'operators' is for the CPU", 'set provider = "cpu"'
            )
        self._path = path
        self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)
        self._profiler.start()

    def run(self, network: torch.nn.Module, tensors: list[torch.Tensor]) -> object:
        """Return what `network` returns for `tensors`, and record it as an inference."""
        with torch.profiler.record_function(_RUN):
            return network(*tensors)

    def write(self) -> str:
        """Write the trace, and return its path."""
        path = self._path
        self._profiler.stop()
        self._profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8") as file:
            calls = [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]
        events = []
        for run, nodes in _runs(calls):
            events += [_node(place, *node) for place, node in enumerate(nodes)]
            events.append({key: run[key] for key in _KEYS})
        with open(path, "w", encoding="utf-8") as file:
            json.dump(events, file)
        return path


def _runs(calls: list[Fields]) -> list[tuple[Fields, list[tuple[Fields, list[Fields]]]]]:
    """Return the inferences in `calls`, each with its nodes, and those with themselves and the calls within them.

    A call gets ``own``, its time without that of the calls within it.
    """
    runs: list[tuple[Fields, list[tuple[Fields, list[Fields]]]]] = []
    threads = {call["tid"] for call in calls if call["name"] == _RUN}
    stack: list[Fields] = []
    # of calls that begin together, the one that contains the others comes first
    for call in sorted(calls, key=lambda call: (call["ts"], -call["dur"])):
        if call["tid"] not in threads:
            continue
        while stack and call["ts"] >= stack[-1]["ts"] + stack[-1]["dur"]:
            stack.pop()
        call["own"] = call["dur"]
        if stack:
            stack[-1]["own"] -= call["dur"]
        stack.append(call)
        names = [one["name"] for one in stack]
        if call["name"] == _RUN:
            runs.append((call, []))
        elif _RUN in names:
            nodes = runs[-1][1]
            if names[-2] == _RUN:
                nodes.append((call, []))
            nodes[-1][1].append(call)
    return runs


def _node(place: int, call: Fields, parts: list[Fields]) -> Fields:
    kernel = max(parts, key=lambda part: part["own"])["name"]
    pairs = zip(call["args"].get("Input type", ()), call["args"].get("Input Dims", ()), strict=False)
    inputs = [{_TYPES[kind]: shape} for kind, shape in pairs if kind in _TYPES]
    if call["name"].startswith(_QUANTIZED):
        inputs.append({"int8": []})
    args = {"op_name": _word(call["name"]), "node_index": place, "provider": "CPU", "kernel": _word(kernel)}
    known = {key: call[key] for key in _KEYS}
    return {
        **known,
        "cat": "Node",
        "name": f"{_word(call['name'])}_kernel_time",
        "args": {**args, "input_type_shape": inputs},
    }


def _word(name: str) -> str:
    return name.removeprefix("aten::")
