"""The program that cuts an ONNX model into segments: ``python -m runoff.models.cut REQUEST FOLDER``.

REQUEST is a JSON file with a `Request`. It runs in the environment ``inspect``, or ``export`` if a side runs PyTorch:
`runoff.models.cut_torch` then writes networks next to the ONNX files. FOLDER gets ``whole.onnx``, a file for
each segment, and one for each cut, which passes on the tensors that cross it and computes nothing; next to each are the
real tensors at its inputs, ``NAME.EXAMPLE.npz``. ``cuts.json`` has a `Cuts`. A failure is a line of JSON on stdout.

The model is folded first, by ONNX Runtime, with fixed shapes: an exported file may compute sizes at run time from
hundreds of constants, and then few places are crossed by a single tensor. Its operators stay those of the standard.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter, defaultdict
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from runoff.models.cuts import CUTS, VERSION, WHOLE_PROCESS, Cuts, Request, Segment, crossings
from runoff.models.own.graph import nodes as nodes_of
from runoff.models.own.reference import one_line, session_options
from runoff.models.respond import make_folder
from runoff.models.work import work_of
from runoff.records.errors import RunoffError
from runoff.records.tensors import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from runoff.models.cut_torch import Network
    from runoff.records.protocol import ModelFile

    Feed = dict[str, NDArray[Any]]

PROFILED = 5
"""Inferences from which the time of each node is taken. It decides where to cut, and is not what is reported."""
MOST_CROSSING = 2
"""Tensors that may cross a cut."""
_LARGEST_FILE = 2**31 - 2**20
"""Bytes of an ONNX file without external data."""


class Graph:
    """A folded model: its nodes in the order of the file, and what each needs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._used = [self._needs(node) for node in self.nodes]

    def _needs(self, node: onnx.NodeProto) -> set[str]:
        """Return the tensors that a node reads, those that its subgraphs read from outside included."""
        inner = [part for attribute in node.attribute for part in (attribute.g, *attribute.graphs)]
        read = {*node.input, *(name for graph in inner for other in nodes_of(graph) for name in other.input)}
        made = {name for graph in inner for other in nodes_of(graph) for name in other.output}
        own = {tensor.name for graph in inner for tensor in graph.initializer}
        return read - made - own - {""} - self._constants.keys()

    def crossings(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return the places between two nodes, as the number of nodes before, with the tensors that cross each."""
        return crossings(self.inputs, self._used, [node.output for node in self.nodes], self.outputs)

    def part(self, first: int, end: int, values: Feed) -> onnx.ModelProto:
        """Return the model of the nodes from `first` to before `end`; `values` has the tensors that enter and leave."""
        made = [name for node in self.nodes[first:end] for name in node.output]
        later = {*self.outputs, *(name for names in self._used[end:] for name in names)}
        read = dict.fromkeys(name for names in self._used[first:end] for name in sorted(names))
        inputs, outputs = [name for name in read if name not in made], [name for name in made if name in later]
        return self._model(self.nodes[first:end], inputs, outputs, values)

    def passing(self, names: Sequence[str], values: Feed) -> onnx.ModelProto:
        """Return the model that passes on the tensors called `names`."""
        nodes = [helper.make_node("Identity", [name], [f"{name}.passed"]) for name in names]
        outputs = {f"{name}.passed": values[name] for name in names}
        return self._model(nodes, names, list(outputs), values | outputs)

    def _model(
        self, nodes: Sequence[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str], values: Feed
    ) -> onnx.ModelProto:
        inner = [other for node in nodes for attribute in node.attribute for other in nodes_of(attribute.g)]
        read = {name for node in (*nodes, *inner) for name in node.input}
        constants = [tensor for name, tensor in self._constants.items() if name in read]
        ends = ([_described(name, values[name]) for name in names] for names in (inputs, outputs))
        graph = helper.make_graph(list(nodes), "segment", *ends, constants)
        return helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)


def _described(name: str, array: NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def cut(request: Request, folder: Path) -> None:
    """Write the folded model, its segments and cuts into the empty `folder`.

    Raises
    ------
    RunoffError
        If ONNX Runtime cannot run the model, or there is no place to cut it.
    """
    feeds = [{name: read(file).reshape(file.shape) for name, file in example.items()} for example in request.examples]
    graph = Graph(folded(Path(request.model), feeds[0], folder / "whole.onnx"))
    places, version = [place for place in graph.crossings() if 0 < len(place[1]) <= MOST_CROSSING], None
    if request.version:
        (folder / VERSION).mkdir()
        version = Graph(folded(Path(request.version), feeds[0], folder / VERSION / "whole.onnx"))
        alike = {frozenset(names) for _, names in version.crossings()}
        places = [place for place in places if frozenset(place[1]) in alike]
    network = _network(request.networks[0], graph, places, feeds[0]) if request.networks else None
    if network:
        shared = network.places().keys()
        places = [place for place in places if frozenset(place[1]) in shared]
    spent = node_times(graph, folder / "whole.onnx", feeds[0])
    chosen = spread(places, spent, request.segments)
    if not chosen:
        every = f"every place is crossed by more than {MOST_CROSSING} tensors"
        why = f"{every}, or by one that PyTorch does not compute" if network else every
        raise RunoffError(f"{request.model} cannot be cut: {why}", WHOLE_PROCESS)
    cuts = tuple(names for _, names in chosen)
    values = [tensors(graph, [name for names in cuts for name in names], feed) for feed in feeds]
    parts = {f"segment-{number}": part for number, part in enumerate(_segments(graph, cuts), 1)}
    made = {name: graph.part(*part, values[0]) for name, part in parts.items()}
    made |= {f"cut-{number}": graph.passing(names, values[0]) for number, names in enumerate(cuts, 1)}
    for name, model in made.items():
        onnx.save(model, folder / f"{name}.onnx")
    for name, model in {"whole": graph.model, **made}.items():
        _save_inputs(model, values, folder, name)
    if network:
        models = {"whole": graph.model, **made}
        ends = {name: _ends(model) for name, model in models.items()}
        network.save(cuts, ends, {one.format for one in request.networks}, folder)
    if version:
        for number, part in enumerate(_segments(version, cuts), 1):
            onnx.save(version.part(*part, values[0]), folder / VERSION / f"segment-{number}.onnx")
    segments = tuple(_describe(graph, spent, *part) for part in parts.values())
    work, sizes = work_of(graph.model)
    calls = network.calls() if network else ()
    made_cuts = Cuts(segments=segments, cuts=cuts, graph=work, sizes=sizes, calls=calls)
    (folder / CUTS).write_bytes(msgspec.json.format(msgspec.json.encode(made_cuts), indent=1))


def _network(model: ModelFile, graph: Graph, places: Sequence[tuple[int, tuple[str, ...]]], feed: Feed) -> Network:
    """Return the network in PyTorch, with names of its tensors that have the values of those at `places` or outputs."""
    from runoff.models.cut_torch import Network  # late: only the environment export has PyTorch

    network = Network(model, feed)
    names = list(dict.fromkeys([*(name for _, crossing in places for name in crossing), *graph.outputs]))
    found = tensors(graph, names, feed)
    network.match({name: found[name] for name in names})
    return network


def _ends(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Return the names of the inputs and outputs."""
    return [value.name for value in model.graph.input], [value.name for value in model.graph.output]


def _segments(graph: Graph, cuts: Sequence[tuple[str, ...]]) -> list[tuple[int, int]]:
    """Return the first node of each segment, and the one after its last."""
    places = {frozenset(names): place for place, names in graph.crossings()}
    return list(pairwise([0, *(places[frozenset(names)] for names in cuts), len(graph.nodes)]))


def _save_inputs(model: onnx.ModelProto, values: Sequence[Feed], folder: Path, name: str) -> None:
    """Write the inputs of a model, of each example."""
    for index, one in enumerate(values):
        arrays: dict[str, Any] = {value.name: one[value.name] for value in model.graph.input}
        np.savez(folder / f"{name}.{index}.npz", **arrays)


def _describe(graph: Graph, spent: Sequence[float], first: int, end: int) -> Segment:
    nodes = graph.nodes[first:end]
    operators = dict(Counter(node.op_type for node in nodes).most_common())
    share = sum(spent[first:end]) / sum(spent)
    return Segment(operators=operators, nodes=tuple(node.name for node in nodes), share=share)


def folded(path: Path, feed: Feed, target: Path) -> onnx.ModelProto:
    """Write the model at `path`, with the shapes of `feed` and constants folded, to `target`; return it."""
    model = onnx.load(path)
    for value in model.graph.input:
        if value.name in feed:
            value.CopyFrom(_described(value.name, feed[value.name]))
    del model.graph.value_info[:]
    if model.ByteSize() > _LARGEST_FILE:
        raise RunoffError(f"{path} is larger than 2 GB, which cannot be cut", "explain a smaller model")
    options = session_options(ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    options.optimized_model_filepath = str(target)
    _session(model, options)
    return onnx.load(target)


def _session(model: onnx.ModelProto, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise RunoffError(f"ONNX Runtime {ort.__version__} cannot load the model: {one_line(error)}", "") from error


def node_times(graph: Graph, path: Path, feed: Feed) -> list[float]:
    """Return the median time of each node without optimisation; 0 of one that was not computed."""
    options = session_options(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        for _ in range(PROFILED):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    suffix, times = "_kernel_time", defaultdict[str, list[float]](list)
    for event in events:
        if event["name"].endswith(suffix):
            times[event["name"].removesuffix(suffix)].append(event["dur"])
    return [median(times[node.name] or [0.0]) for node in graph.nodes]


def tensors(graph: Graph, names: Iterable[str], feed: Feed) -> Feed:
    """Return the tensors called `names`, and the outputs, of an inference on `feed`, with those of the feed."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    wanted = [name for name in dict.fromkeys([*names, *graph.outputs]) if name not in feed]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in graph.outputs)
    session = _session(model, session_options(ort.GraphOptimizationLevel.ORT_DISABLE_ALL))
    return {**feed, **dict(zip(wanted, session.run(wanted, feed), strict=True))}


def spread(
    places: Sequence[tuple[int, tuple[str, ...]]], spent: Sequence[float], segments: int
) -> list[tuple[int, tuple[str, ...]]]:
    """Return those of `places` that cut the time `spent` by nodes into about equal parts, at most `segments`.

    Of two places about as good, the one that fewer tensors cross is taken.
    """
    before = [0.0, *accumulate(spent)]
    part = before[-1] / segments
    chosen: dict[int, tuple[str, ...]] = {}
    for number in range(1, segments):
        near = [(abs(before[place] - number * part), len(names), place) for place, names in places]
        able = [one for one in near if one[0] < part / 2]
        if able:
            place = min(able, key=lambda one: (one[1], one[0]))[2]
            chosen[place] = dict(places)[place]
    return sorted(chosen.items())


if __name__ == "__main__":
    REQUEST = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Request)
    sys.exit(make_folder(Path(sys.argv[2]), lambda folder: cut(REQUEST, folder)))
