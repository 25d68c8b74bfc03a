"""A runner loads only the libraries that it uses: every library costs time and memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import RUNNERS, Runner, golden, launch, tensor_request

from machine import thorough

if TYPE_CHECKING:
    from pathlib import Path

    from runners_under_test import Document

PYTHON = tuple(runner for runner in RUNNERS if not runner.name.endswith(("rust", "rten", "wasm", "node")))
FOREIGN = {
    "null-python": {
        "numpy",
        "PIL",
        "onnxruntime",
        "torch",
        "runoff",
        "typing",
        "dataclasses",
        "argparse",
        "pathlib",
    },
    "torch": {"torchvision", "onnxruntime", "onnx", "runoff", "msgspec"},
    "torch-export": {"torchvision", "onnxruntime", "onnx", "runoff", "msgspec"},
    "ort-python": {"torch", "onnx", "runoff", "msgspec", "argparse", "dataclasses", "pathlib"},
    "openvino-python": {"torch", "onnxruntime", "runoff", "msgspec"},
    "tract-python": {"torch", "onnxruntime", "onnx", "runoff", "runoff_tract", "msgspec"},
    "webnn-compute": {"torch", "runoff", "msgspec"},
    "webnn-ort": {"torch", "runoff", "msgspec"},
    "ort-pyo3": {"PIL", "torch", "onnxruntime", "onnx", "runoff", "msgspec", "argparse", "dataclasses"},
}


@pytest.mark.parametrize(
    "runner",
    # torch-export is torch's program
    [pytest.param(one, id=one.name, marks=[thorough] if one.name == "torch-export" else []) for one in PYTHON],
)
def test_classify_imports_no_foreign_library(runner: Runner, models: Path, tmp_path: Path) -> None:
    imported = _imported(runner, golden("once-classify", runner, models, tmp_path), tmp_path)
    assert not imported & FOREIGN[runner.name]


@pytest.mark.parametrize(
    "runner", [one for one in PYTHON if one.name in ("torch", "ort-python")], ids=lambda one: one.name
)
def test_tensors_need_no_pillow(runner: Runner, models: Path, tmp_path: Path) -> None:
    imported = _imported(runner, tensor_request(runner, models, tmp_path, "china"), tmp_path)
    assert "PIL" not in imported


def test_a_jpeg_needs_no_plugin_of_pillow_for_another_format(models: Path, tmp_path: Path) -> None:
    (runner,) = (runner for runner in RUNNERS if runner.name == "ort-python")
    request = golden("once-classify", runner, models, tmp_path)
    modules = _modules(runner, request, tmp_path)
    assert "PIL.Image" in modules
    assert {name for name in modules if name.endswith("ImagePlugin")} <= {"PIL.JpegImagePlugin"}


def test_openvino_loads_no_telemetry(models: Path, tmp_path: Path) -> None:
    """Importing OpenVINO would send an event: docs/engines.md."""
    (runner,) = (runner for runner in RUNNERS if runner.name == "openvino-python")
    modules = _modules(runner, golden("once-classify", runner, models, tmp_path), tmp_path)
    assert "openvino.tools.ovc.telemetry_stub" in modules
    assert not [name for name in modules if name.startswith("openvino_telemetry.")]


def test_a_bad_request_loads_no_runtime(tmp_path: Path) -> None:
    for runner in PYTHON:
        assert not _imported(runner, {}, tmp_path) & {
            "numpy",
            "torch",
            "onnxruntime",
            "runoff_ort",
            "openvino",
            "tract",
        }


def _imported(runner: Runner, request: Document, folder: Path) -> set[str]:
    """Return the top-level names of all modules that the runner imports."""
    return {name.split(".")[0] for name in _modules(runner, request, folder)}


def _modules(runner: Runner, request: Document, folder: Path) -> set[str]:
    """Return the names of all modules that the runner imports."""
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    target = runner.make()
    python, *rest = target.command
    traced = msgspec.structs.replace(target, command=(python, "-X", "importtime", *rest))
    runner = Runner(runner.name, lambda: traced, runner.format)
    process = launch(runner, "--request", str(folder / "request.json"), "--result", str(folder / "result.json"))
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    assert any("runoff_runners.program" in line for line in lines)
    return {line.rsplit("|", 1)[1].strip() for line in lines}
