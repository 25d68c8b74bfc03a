"""Cutting an ONNX graph: segments one after the other compute what the whole does, whatever crosses the cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from onnx_models import FLOAT
from onnx_models import save as save_model
from runoff.models.cut import cut, spread
from runoff.models.cuts import CUTS, VERSION, Cuts, Request
from runoff.records.errors import RunoffError
from runoff.records.protocol import TensorFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHAPE = (1, 4, 8, 8)


def save(path: Path, nodes: Sequence[onnx.NodeProto], constants: dict[str, Any]) -> None:
    """Write a model with the input ``x`` and the output ``y``, whose batch is free."""
    inputs, outputs = ([(name, FLOAT, ["n", *SHAPE[1:]])] for name in "xy")
    save_model(path, nodes, inputs, outputs, constants, opset=18)


def chain(folder: Path, length: int = 12, extra: int | None = None, name: str = "chain") -> Path:
    """Return a chain of convolutions with residuals around each third one; `extra` is one followed by another node."""
    random = np.random.default_rng(1)
    nodes, constants, last, skip = [], {}, "x", "x"
    for place in range(length):
        constants[f"w{place}"] = random.normal(0, 0.2, (4, 4, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{place}"], [f"c{place}"], name=f"conv{place}", pads=[1] * 4))
        nodes.append(helper.make_node("Tanh", [f"c{place}"], [f"t{place}"], name=f"tanh{place}"))
        last = f"t{place}"
        if place == extra:
            nodes.append(helper.make_node("Abs", [last], ["more"], name="more"))
            last = "more"
        if place % 3 == 2:
            nodes.append(helper.make_node("Add", [last, skip], [f"a{place}"], name=f"add{place}"))
            last = skip = f"a{place}"
    nodes.append(helper.make_node("Identity", [last], ["y"], name="end"))
    save(folder / f"{name}.onnx", nodes, constants)
    return folder / f"{name}.onnx"


def request(model: Path, segments: int, examples: int = 2) -> Request:
    made = []
    for index in range(examples):
        array = np.random.default_rng(index).normal(size=SHAPE).astype(np.float32)
        path = model.with_name(f"x{index}.bin")
        array.tofile(path)
        made.append({"x": TensorFile(path=str(path), dtype="float32", shape=SHAPE)})
    return Request(model=str(model), examples=tuple(made), segments=segments)


def run(path: Path, feed: dict[str, Any]) -> dict[str, Any]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("segments", [2, 3, 5])
def test_the_segments_in_a_row_compute_what_the_model_does(segments: int, tmp_path: Path) -> None:
    model, folder = chain(tmp_path), tmp_path / "cut"
    folder.mkdir()
    asked = request(model, segments)
    cut(asked, folder)
    cuts = msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts)
    # the times of nodes decide, and some places may be the same
    count = len(cuts.segments)
    assert 2 <= count == len(cuts.cuts) + 1 <= segments
    assert sum(segment.share for segment in cuts.segments) == pytest.approx(1)
    assert sum(count for segment in cuts.segments for count in segment.operators.values()) >= 24
    for index in range(len(asked.examples)):
        whole = dict(np.load(folder / f"whole.{index}.npz"))
        known = dict(whole)
        for number in range(1, count + 1):
            feed = dict(np.load(folder / f"segment-{number}.{index}.npz"))
            for name, array in feed.items():
                assert np.allclose(known[name], array, rtol=1e-4, atol=1e-6), name
            known |= run(folder / f"segment-{number}.onnx", feed)
        assert np.allclose(known["y"], run(model, whole)["y"], rtol=1e-4, atol=1e-6)


def test_what_crosses_a_cut_is_passed_on_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    cut(request(chain(tmp_path), 3), folder)
    feed = dict(np.load(folder / "cut-1.0.npz"))
    passed = run(folder / "cut-1.onnx", feed)
    assert {f"{name}.passed" for name in feed} == passed.keys()
    assert all(np.array_equal(array, passed[f"{name}.passed"]) for name, array in feed.items())


def test_another_version_is_cut_at_the_same_tensors(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    other = chain(tmp_path, extra=6, name="other")
    asked = msgspec.structs.replace(request(chain(tmp_path), 4), version=str(other))
    cut(asked, folder)
    count = len(msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts).segments)
    operators = [
        [
            {node.op_type for node in onnx.load(place / f"segment-{number}.onnx").graph.node}
            for place in (folder, folder / VERSION)
        ]
        for number in range(1, count + 1)
    ]
    assert ["Abs" in after for _, after in operators].count(True) == 1
    assert all(after - before <= {"Abs"} for before, after in operators)
    known = dict(np.load(folder / "whole.0.npz"))
    for number in range(1, count + 1):
        path = folder / VERSION / f"segment-{number}.onnx"
        known |= run(path, {value.name: known[value.name] for value in onnx.load(path).graph.input})
    assert np.allclose(known["y"], run(other, {"x": known["x"]})["y"], rtol=1e-4, atol=1e-6)


def test_constants_are_folded_and_the_batch_is_fixed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["one", "one"], ["two"], name="two"),
        *(
            helper.make_node("Mul", [last, "two"], [now], name=now)
            for last, now in [("x", "a"), ("a", "b"), ("b", "y")]
        ),
    ]
    save(tmp_path / "m.onnx", nodes, {"one": np.ones(1, np.float32)})
    folder = tmp_path / "cut"
    folder.mkdir()
    cut(request(tmp_path / "m.onnx", 3), folder)
    whole = onnx.load(folder / "whole.onnx")
    assert [node.op_type for node in whole.graph.node] == ["Mul"] * 3
    assert [dim.dim_value for dim in whole.graph.input[0].type.tensor_type.shape.dim] == list(SHAPE)


def test_a_model_without_a_place_to_cut_is_refused(tmp_path: Path) -> None:
    roots = [
        helper.make_node("Tanh" if place % 2 else "Sin", ["x"], [f"r{place}"], name=f"r{place}") for place in range(2)
    ]
    more = [helper.make_node("Cos", ["x"], [name], name=name) for name in ("r2",)]
    sums = [helper.make_node("Sum", ["r0", "r1", "r2", "x"], ["y"], name="sum")]
    save(tmp_path / "m.onnx", [*roots, *more, *sums], {})
    folder = tmp_path / "cut"
    folder.mkdir()
    # after the first node, x and r0 cross: two are allowed, so that place remains
    cut(request(tmp_path / "m.onnx", 4), folder)
    save(tmp_path / "one.onnx", [helper.make_node("Tanh", ["x"], ["y"], name="only")], {})
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RunoffError, match="cannot be cut"):
        cut(request(tmp_path / "one.onnx", 4), other)


def test_cuts_are_spread_by_time_and_prefer_fewer_tensors() -> None:
    places = [(place, ("a", "b") if place == 5 else ("a",)) for place in range(1, 10)]
    assert [place for place, _ in spread(places, [1.0] * 10, 2)] == [4]
    assert [place for place, _ in spread(places, [7.0, *[1 / 3] * 9], 2)] == [1]
    assert spread([], [1.0, 1.0], 4) == []
