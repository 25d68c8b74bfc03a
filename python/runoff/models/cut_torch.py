"""A network in PyTorch, cut where an ONNX graph of it is: at the tensors that both compute.

`runoff.models.cut` imports it, in the environment ``export``. The graph is the one of `torch.export`, before any
decomposition: it calls the operators that the network calls, those that write to their input included.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import chain, pairwise
from textwrap import indent
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from runoff.models.cuts import PROGRAM, WEIGHTS, WHOLE_PROCESS, builder_of, crossings
from runoff.models.own.reference import largest_difference
from runoff.records.errors import RunoffError
from runoff_runners.protocol import RunnerError, one_line
from runoff_runners.target_torch import load_weights
from runoff_runners.torch_factory import find_builder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.records.protocol import ModelFile

    Feed = Mapping[str, NDArray[Any]]
    Ends = tuple[Sequence[str], Sequence[str]]

SAME = 1e-4
"""Largest difference between two tensors with the same values, relative to the largest of them."""

_CODE = """from math import inf, nan

import torch
from torch import device
from torch.nn import Module, Parameter


class {kind}(Module):
    def __init__(self):
        super().__init__()
{weights}

{code}
"""


class Network:
    """The graph of a network on one example, and the ONNX tensors that its own have the values of.

    Raises
    ------
    RunoffError
        If the network cannot be loaded, or `torch.export` cannot export it.
    """

    def __init__(self, model: ModelFile, feed: Feed) -> None:
        self._model = model
        inputs = [torch.from_numpy(feed[spec.name].copy()) for spec in model.inputs]
        module = _exported(_load(model), inputs, model.path).module(check_guards=False)
        nodes = list(module.graph.nodes)
        self._calls = [node for node in nodes if node.op.startswith("call_")]
        self._inputs = [node for node in nodes if node.op == "placeholder"]
        self._outputs = [node for node in nodes[-1].args[0] if isinstance(node, torch.fx.Node)]
        self._recorder = _Recorder(module)
        with torch.no_grad():
            self._recorder.run(*(tensor.clone() for tensor in inputs))
        self._names: dict[torch.fx.Node, str] = {}

    def match(self, tensors: Feed) -> None:
        """Name the nodes that have the values of exactly one of the ONNX `tensors`, which no other node has."""
        pairs = [
            (node, name)
            for node, value in self._recorder.lasting().items()
            for name, tensor in tensors.items()
            if value.dtype == tensor.dtype and largest_difference([{"": value}], [{"": tensor}]) <= SAME
        ]
        counts = Counter[Any](chain.from_iterable(pairs))
        self._names = {node: name for node, name in pairs if counts[node] == counts[name] == 1}

    def calls(self) -> tuple[tuple[str, str], ...]:
        """Return the name of each operator that the graph calls, and of the first ONNX tensor that it leads to."""
        leads, order = dict(self._names), {node: place for place, node in enumerate(self._calls)}
        for node in reversed(self._calls):
            found = [user for user in node.users if user in leads] if node not in leads else []
            if found:
                leads[node] = leads[min(found, key=order.__getitem__)]
        operators = [node for node in self._calls if isinstance(node.target, torch._ops.OpOverload)]  # noqa: SLF001
        return tuple((node.target.overloadpacket.__name__, leads.get(node, "")) for node in operators)

    def places(self) -> dict[frozenset[str], int]:
        """Return the number of nodes before each place that only named tensors cross, by their names."""
        used = [set(node.all_input_nodes) for node in self._calls]
        found = crossings(self._inputs, used, [[node] for node in self._calls], self._outputs)
        named = ((place, [self._names.get(node) for node in nodes]) for place, nodes in found)
        return {frozenset(filter(None, names)): place for place, names in named if None not in names}

    def save(
        self, cuts: Sequence[Sequence[str]], ends: Mapping[str, Ends], formats: Collection[str], folder: Path
    ) -> None:
        """Write the whole, the segments between `cuts`, and the cuts, which return their inputs, in each format.

        `ends` has the names of the inputs and outputs of each, by its name.
        """
        places = self.places()
        bounds = [0, *(places[frozenset(names)] for names in cuts), len(self._calls)]
        parts = {f"segment-{number}": part for number, part in enumerate(pairwise(bounds), 1)}
        parts["whole"] = 0, len(self._calls)
        # the runner reports other numbers of inputs or outputs
        known = [*zip(self._model.inputs, self._inputs, strict=False)]
        known += zip(self._model.outputs, self._outputs, strict=False)
        nodes = {name: node for node, name in self._names.items()} | {spec.name: node for spec, node in known}
        for name, (inputs, outputs) in ends.items():
            calls = self._calls[slice(*parts[name])] if name in parts else []
            entering = [nodes[one] for one in inputs]
            leaving = [nodes[one] for one in outputs] if name in parts else entering
            part = self._part(calls, entering, leaving)
            if WEIGHTS in formats:
                _save(part, folder, name)
            if PROGRAM in formats:
                program = _exported(part, [self._recorder.values[node] for node in entering], name)
                torch.export.save(program, folder / f"{name}.{PROGRAM}")

    def _part(
        self, calls: Sequence[torch.fx.Node], inputs: Sequence[torch.fx.Node], outputs: Sequence[torch.fx.Node]
    ) -> torch.fx.GraphModule:
        graph, weights = torch.fx.Graph(), dict[str, torch.Tensor]()
        copies = {node: graph.placeholder(node.name) for node in inputs}
        for node in calls:
            for read in node.all_input_nodes:
                if read not in copies:
                    weights[read.name] = self._weight(read)
                    copies[read] = graph.get_attr(read.name)
            copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in outputs))
        return torch.fx.GraphModule(weights, graph)

    def _weight(self, node: torch.fx.Node) -> torch.Tensor:
        value = self._recorder.env[node]
        if node.op == "get_attr" and isinstance(value, torch.Tensor):
            return value
        message = f"{self._model.path} cannot be cut: PyTorch needs {node.name} in a segment where ONNX does not"
        raise RunoffError(message, f"try other --segments, or {WHOLE_PROCESS}")


class _Recorder(torch.fx.Interpreter):  # type: ignore[misc]  # torch has no types here
    """Runs a graph, and keeps a copy of the tensor that each node computes."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[torch.fx.Node, torch.Tensor] = {}

    def run_node(self, node: torch.fx.Node) -> object:
        value = super().run_node(node)
        if isinstance(value, torch.Tensor) and node.op != "get_attr":
            self.values[node] = value.clone()
        return value

    def lasting(self) -> dict[torch.fx.Node, NDArray[Any]]:
        """Return the tensors that a cut may pass on: no later node writes to them, and an array has their layout.

        Of equal ones, as before and after a dropout, the last is the one.
        """
        last: dict[Any, torch.fx.Node] = {}
        for node, value in self.values.items():
            after = self.env[node]
            if after.is_contiguous() and torch.equal(after, value):
                array = value.numpy()
                last[array.shape, array.dtype, hashlib.sha256(array).digest()] = node
        return {node: self.values[node].numpy() for node in last.values()}


def _save(part: torch.fx.GraphModule, folder: Path, name: str) -> None:
    """Write a part of a network as its state dict and the code of its builder."""
    weights = {key: tensor.detach() for key, tensor in part.state_dict().items()}
    torch.save(weights, folder / f"{name}.{WEIGHTS}")
    lines = [
        f"self.{key} = Parameter(torch.empty({[*tensor.shape]}, dtype={tensor.dtype}), requires_grad=False)"
        for key, tensor in weights.items()
    ]
    module, _, kind = builder_of(name).partition(":")
    code = _CODE.format(kind=kind, weights=indent("\n".join(lines), " " * 8), code=indent(part.code.strip(), " " * 4))
    (folder / f"{module}.py").write_text(code, encoding="utf-8")


def _load(model: ModelFile) -> torch.nn.Module:
    """Return the network of a state dict and its builder, or of a program of `torch.export`."""
    if model.format == PROGRAM:
        return _tried(lambda: torch.export.load(model.path), f"{model.path} cannot be loaded").module()
    request: Any = {"model": msgspec.to_builtins(model), "settings": {"prepared": None}}
    try:
        return load_weights(model.path, request, find_builder(request))
    except RunnerError as error:
        raise RunoffError(error.message, error.hint) from error


def _exported(module: torch.nn.Module, inputs: Sequence[torch.Tensor], name: str) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return _tried(lambda: torch.export.export(module, tuple(inputs)), f"{name}: torch.export fails")


def _tried(make: Callable[[], torch.export.ExportedProgram], what: str) -> torch.export.ExportedProgram:
    try:
        return make()
    except Exception as error:  # of the user's code, or of any kind
        raise RunoffError(f"{what}: {one_line(error)}", WHOLE_PROCESS) from error
