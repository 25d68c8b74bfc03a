"""``runoff explain``: bad input, and a real explanation of a small model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from rich.console import Console
from running import MODEL, only_run, runoff

from machine import thorough
from onnx_models import FLOAT, linear, save
from runoff.explain.explanation import explain
from runoff.explain.memory import COST_BLOCKS
from runoff.plan.own_suite import OwnOptions
from runoff.records.files import read_run
from runoff.sides import BLOCKS, parse_side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended

WIDTH, LAYERS = 256, 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ort-python", "ort-rst", MODEL), "unknown target 'ort-rst'"),
        (("ort-python", "ort-python,optimisation=basic", MODEL), "unknown setting 'optimisation'"),
        (("ort-python", "null-python@1.0", MODEL), "null-python has no releases to choose from"),
        (("ort-python@../../x", "ort-rust", MODEL, "--metric", "cold"), "'../../x' is no release"),
        (("ort-python", "null-python", MODEL, "--metric", "cold"), "null-python computes nothing"),
        (("ort-python", "ort-rust", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, start: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = start("explain", *arguments, "--results", tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_a_model_of_one_node_cannot_be_cut(start: Callable[..., Ended], tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    ended = start("explain", "ort-python", "ort-rust", tmp_path / "net.onnx", "--results", tmp_path / "results")
    assert ended.code == 2
    assert "cannot be cut" in ended.err


@pytest.mark.parametrize(("target", "form"), [("torch", "pt"), ("torch-export", "pt2")])
def test_an_onnx_file_is_no_network(target: str, form: str, start: Callable[..., Ended], tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    ended = start("explain", "ort-python", target, tmp_path / "net.onnx", "--results", tmp_path / "results")
    assert ended.code == 2
    assert f"{target}: net has no {form} file, only onnx" in ended.err


NETWORK = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(inplace=True)) for _ in range(6)))


def image():
    return torch.randn(1, 8, 64, 64)
"""


@thorough
@pytest.mark.parametrize(("second", "form"), [("torch", "pt"), ("torchscript", "torchscript")])
def test_the_parts_of_a_network_in_pytorch(
    second: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BLOCKS, "latency", 3)
    sides = [parse_side(text, {"threads": 1}) for text in ("ort-python", second)]
    options = OwnOptions(example="net:image", targets="ort-python", profile="default")
    found = explain("net:net", options, sides, 2, tmp_path / "results", Console(quiet=True))
    segments = [number for part in found.by_kind["segment"] for number in part.segments]
    assert segments == [1, 2]
    added = sum(part.difference.value for kind in ("segment", "rest") for part in found.by_kind[kind])
    assert added == pytest.approx(found.by_kind["whole"][0].difference.value, rel=0.01, abs=1)
    run = read_run(found.folder)
    assert {record.status for record in run.records} == {"ok"}
    assert {case.format for case in run.info.cases if case.target == second} == {form}


@thorough
def test_the_parts_of_two_settings(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    nodes, weights, last = [], {}, "x"
    for place in range(LAYERS):
        weights[f"w{place}"] = random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"m{place}"], name=f"m{place}"))
        last = "y" if place == LAYERS - 1 else f"t{place}"
        nodes.append(helper.make_node("Tanh", [f"m{place}"], [last], name=f"t{place}"))
    shape = [("x", FLOAT, [64, WIDTH])], [("y", FLOAT, [64, WIDTH])]
    save(tmp_path / "net.onnx", nodes, *shape, weights)
    sides = ("ort-python", "ort-python,optimization=disable")
    options = ("--segments", "3", "--results", tmp_path / "results", "--json")
    ended = runoff("explain", *sides, tmp_path / "net.onnx", *options)
    assert ended.code == 0, ended.out + ended.err
    made, run = json.loads(ended.out), only_run(tmp_path / "results")
    by_kind = {kind: [one for one in made["parts"] if one["kind"] == kind] for kind in ("whole", "segment", "rest")}
    assert [number for one in by_kind["segment"] for number in one["segments"]] == [1, 2, 3]
    added = sum(one["difference_ns"] for kind in ("segment", "rest") for one in by_kind[kind])
    assert added == pytest.approx(by_kind["whole"][0]["difference_ns"], rel=0.01, abs=1)
    targets = {case.target for case in run.info.cases}
    assert targets == {"ort-python", "ort-python-again", "ort-python-optimization-disable"}
    assert {"explain.json", "explain.svg", "explain.html"} <= {file.name for file in run.folder.iterdir()}
    # both profiles are kept, and every node of the file is compared once
    assert len(list((run.folder / "profiles").glob("*.json"))) == 2
    compared = [name for row in made["nodes_compared"] for name in row["nodes"]]
    assert sorted(compared) == sorted(name for names in made["nodes"] for name in names)
    products = [row for row in made["nodes_compared"] if row["operator"] == "MatMul"]
    assert len(products) == LAYERS
    assert {row["flops"] for row in products} == {2 * 64 * WIDTH * WIDTH}
    assert all(share > 0 for row in products for share in row["of_peak"])
    assert made["nodes_missing"] == []


@thorough
def test_the_memory_of_two_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    weights = {"w": random.normal(0, 0.1, (2048, 2048)).astype(np.float32)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    save(tmp_path / "net.onnx", [node], [("x", FLOAT, [1, 2048])], [("y", FLOAT, [1, 2048])], weights)
    monkeypatch.setitem(BLOCKS, "memory", 3)
    monkeypatch.setitem(COST_BLOCKS, "latency", 2)
    sides = [parse_side(text, {"threads": 1}) for text in ("ort-python", "ort-rust")]
    options, folder = OwnOptions(targets="ort-python", profile="default"), tmp_path / "results"
    found = explain(str(tmp_path / "net.onnx"), options, sides, 0, folder, Console(quiet=True), memory=True)
    whole, *phases = found.parts
    assert sum(part.difference.value for part in phases) == pytest.approx(whole.difference.value)
    assert found.memory is not None
    assert not found.memory.notes
    size = 4 * 2048**2
    for details, part in zip(found.memory.details, (whole.first, whole.second), strict=True):
        held = {one.name: one.size for one in details.held}
        assert held["allocated in load: weights, graph"] > size
        assert details.peak == pytest.approx(part, rel=0.3)
    # the product's weights are repacked
    arena = {one.name: one.size for one in found.memory.details[1].held}["repacked weights (arena)"]
    assert arena >= size
    # both runners know all five settings
    assert sorted(one.of for one in found.memory.savings) == ["ort-python"] * 5 + ["ort-rust"] * 5
