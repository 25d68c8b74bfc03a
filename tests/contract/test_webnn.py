"""What the runners on rustnn do in their own way: static shapes, what has no equivalent, the program on the crate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from runners_under_test import RUNNERS, Runner, execute
from test_any_model import CASES, request_of
from test_turns import started

from machine import skip_because, thorough
from runoff import paths
from runoff.models.store import ModelStore
from runoff.targets.webnn import webnn_rust

if TYPE_CHECKING:
    from pathlib import Path

    from runners_under_test import Document

WEBNN = [runner for runner in RUNNERS if runner.name.startswith("webnn-")]


@pytest.mark.parametrize("runner", WEBNN, ids=lambda runner: runner.name)
def test_an_operator_without_equivalent(runner: Runner, tmp_path: Path) -> None:
    outcome = execute(runner, request_of(CASES["non-max-suppression"], tmp_path), tmp_path)
    outcome.assert_failed("model-unsupported", 3)
    assert (outcome.result.message or "").startswith("operator NonMaxSuppression (node '') has no equivalent in WebNN")


def test_operators_that_are_newer_than_the_conversion(tmp_path: Path) -> None:
    outcome = execute(WEBNN[0], request_of(CASES["new-opset"], tmp_path), tmp_path)
    outcome.assert_failed("model-unreadable", 1)
    assert "opset 99" in (outcome.result.message or "")


@pytest.mark.parametrize("runner", WEBNN, ids=lambda runner: runner.name)
def test_each_shape_of_an_item_has_a_graph(runner: Runner, tmp_path: Path) -> None:
    case = CASES["first-free"]
    outcome = execute(runner, request_of(case, tmp_path), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert len({written.shape for written in outcome.result.outputs}) > 1
    loaded = ["load"] if runner.name == "webnn-ort" else []
    names = [phase.name for phase in outcome.result.phases]
    assert names == ["start", "imports", "convert", *loaded, "preprocess", "inference", "warm", "output"]
    assert [path.name for path in (tmp_path / "out").glob("webnn-*")] == []


RUST = Runner("webnn-rust", webnn_rust, "onnx")
SIZED = "mobilenet_v2"


def on_photos(folder: Path) -> tuple[Document, list[str]]:
    """Return a request on the stored tensors of two photos, and the references."""
    if not (paths.models() / SIZED / "manifest.json").exists():
        skip_because(f"{SIZED} is not stored; run: runoff export {SIZED}")
    (folder / "out").mkdir()
    model = ModelStore(paths.models()).get(SIZED)
    file = {"name": SIZED, "path": str(model.folder / "model.onnx"), "format": "onnx", "sha256": "0" * 64}
    outer = [None, 3, 224, 224], [None, 1000]
    inputs, outputs = (
        [{"name": name, "dtype": "float32", "shape": shape}]
        for name, shape in zip(("input", "logits"), outer, strict=True)
    )
    items = [
        {"input": {"path": str(model.inputs(place)["input"].path), "dtype": "float32", "shape": [1, 3, 224, 224]}}
        for place in (0, 1)
    ]
    request = {
        "case": "rust",
        "workload": "tensor",
        "model": {**file, "inputs": inputs, "outputs": outputs},
        "inputs": [{"tensors": tensors} for tensors in items],
        "settings": {"threads": 2, "arena": False},
        "measure": {"kind": "accuracy"},
        "outputs_dir": str(folder / "out"),
    }
    return request, [model.references(place)["logits"].path for place in (0, 1)]


@thorough
def test_the_program_on_the_crate_computes_the_references(tmp_path: Path) -> None:
    request, references = on_photos(tmp_path)
    outcome = execute(RUST, request, tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    for written, reference in zip(outcome.result.outputs, references, strict=True):
        found, wanted = (np.fromfile(path, "<f4") for path in (written.path, reference))
        assert abs(found - wanted).max() <= 1e-4 * abs(wanted).max()
    phases = [phase.name for phase in outcome.result.phases]
    assert phases == ["start", "runtime", "convert", "load", "preprocess", "inference", "warm", "output"]
    assert outcome.result.effective is not None
    assert (outcome.result.effective.threads, outcome.result.effective.ignored) == (2, ("arena",))


@thorough
def test_the_program_on_the_crate_takes_turns(tmp_path: Path) -> None:
    request, _ = on_photos(tmp_path)
    with started(RUST, {**request, "measure": {"kind": "turns", "warmup": 1}}, tmp_path) as live:
        turns = [live.turn(*items) for items in ((0, 1), (), (1,))]
        assert [written.items for written in live.outputs()] == [(1,)]
        result, exit_code, _ = live.end()
    assert (result.status, exit_code) == ("ok", 0)
    assert list(result.samples["inference"].warm_ns) == [ns for turn in turns for ns in turn["inference"]]


@thorough
def test_the_program_on_the_crate_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    execute(RUST, request_of(CASES["external-data"], tmp_path), tmp_path).assert_failed("model-unsupported", 3)


@thorough
def test_the_program_on_the_crate_without_the_library(tmp_path: Path) -> None:
    request, _ = on_photos(tmp_path)
    without = msgspec.structs.replace(webnn_rust(), env={"ORT_DYLIB_PATH": str(tmp_path / "none.so")})
    execute(Runner("webnn-rust", lambda: without, "onnx"), request, tmp_path).assert_failed("runtime-missing", 3)
