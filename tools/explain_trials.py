"""How often ``runoff explain`` names the segment of an injected change, and claims something of two equal sides.

``.nox/dev/bin/python tools/explain_trials.py slower|fusion|equal [TRIES]``: 20 tries take about 40 minutes. The
model is EfficientNet-Lite0, folded. ``slower``: a node is followed by others that return what they are given, until the
whole takes 3 % longer. ``fusion``: one such node between a convolution and its activation, which ONNX Runtime then
computes apart, where that node takes at least 1 % of the whole. Each try is an ordinary run in a temporary folder.
"""

from __future__ import annotations

import random
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from rich.console import Console

from runoff import paths
from runoff.explain.explanation import explain
from runoff.models.cut import Graph, folded, node_times
from runoff.models.cuts import VERSION
from runoff.plan.own_suite import OwnOptions
from runoff.sides import parse_side

SHARE, LEAST = 0.03, 0.01
"""Of the whole: what ``slower`` adds, and the least that a node of ``fusion`` takes."""
MODEL = paths.models() / "efficientnet-lite0" / "model.onnx"
TARGET = "ort-rust"


def injected(graph: Graph, name: str, count: int, path: Path) -> None:
    """Write the model of `graph` with `count` nodes behind the tensor `name` that return what they are given."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    nodes = list(model.graph.node)
    place = next(place for place, node in enumerate(nodes) if name in node.output)
    for node in nodes[place + 1 :]:
        node.input[:] = [f"{name}.more{count}" if one == name else one for one in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(-1e30), "least"))
    steps = [name, *(f"{name}.more{number}" for number in range(1, count + 1))]
    more = [helper.make_node("Max", [before, "least"], [after], name=after) for before, after in pairwise(steps)]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: place + 1], *more, *nodes[place + 1 :]])
    onnx.save(model, path)


def make(kind: str, graph: Graph, spent: list[float], folder: Path, path: Path, feed: dict[str, np.ndarray]) -> str:
    """Write the other version to `path`, and return the tensor behind which nodes were added; empty for none."""
    if kind == "equal":
        path.write_bytes((folder / "whole.onnx").read_bytes())
        return ""
    activations = {node.input[0]: node.output[0] for node in graph.nodes if node.op_type == "Clip"}
    convolutions = [node.output[0] for node in graph.nodes if node.op_type == "Conv" and node.output[0] in activations]
    while True:
        convolution = random.choice(convolutions)  # noqa: S311 (no secret)
        name = str(convolution if kind == "fusion" else activations[convolution])
        injected(graph, name, 1, path)
        one = Graph(onnx.load(path))
        share = node_times(one, path, feed)[[other.name for other in one.nodes].index(f"{name}.more1")] / sum(spent)
        if kind == "slower":
            injected(graph, name, max(1, round(SHARE / share)), path)
            return name
        if share >= LEAST:
            return name


def attempt(kind: str) -> str:
    """Return what a try showed: ``right``, ``wrong: ...`` or ``missed``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = np.fromfile(MODEL.with_name("china.tensor.bin"), "<f4").reshape(1, 3, 224, 224)
        feed = {onnx.load(MODEL, load_external_data=False).graph.input[0].name: image}
        graph = Graph(folded(MODEL, feed, folder / "whole.onnx"))
        spent = node_times(graph, folder / "whole.onnx", feed)
        other = folder / "other.onnx"
        tensor = make(kind, graph, spent, folder, other, feed)
        arrays: dict[str, Any] = dict(feed)
        np.savez(folder / "china.npz", **arrays)
        first = parse_side(TARGET, {"threads": 1})
        second = type(first)(text=TARGET, target=TARGET, version=VERSION, settings={"threads": 1})
        options = OwnOptions(
            targets=TARGET, profile="default", version=str(other), examples=(str(folder / "china.npz"),)
        )
        model = str(folder / "whole.onnx")
        found = explain(model, options, [first, second], 8, folder / "results", Console(quiet=True))
    claimed = [part.segments for part in found.by_kind["segment"] if part.differs]
    if not tensor or found.cuts is None:
        return "right" if not any(part.differs for part in found.parts) else f"wrong: claimed {claimed}"
    node = next(str(node.name) for node in graph.nodes if tensor in node.output)
    holds = next(number for number, one in enumerate(found.cuts.segments, 1) if node in one.nodes)
    if any(tensor in names for names in found.cuts.cuts):
        holds += 1  # behind a cut, the new nodes are in the next segment
    if claimed == [(holds,)]:
        return "right"
    return f"wrong: {claimed} for {holds}" if claimed else "missed"


def main(kind: str, tries: int = 20) -> None:
    """Print each try and the counts of outcomes."""
    outcomes = []
    for number in range(1, tries + 1):
        outcomes.append(attempt(kind))
        print(f"{number}: {outcomes[-1]}", flush=True)  # noqa: T201
    print(f"{outcomes.count('right')} of {tries} right")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
