"""Libraries of custom operators: one compiled from C works in both APIs; what is not one is named."""

from __future__ import annotations

import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import runoff_ort
import runoff_ort.onnxruntime as drop_in
from both import save
from generated import OPSET, any_bits, model, tensor
from onnx import helper

FLOAT = np.dtype(np.float32)
SOURCE = Path(__file__).with_name("custom_op.c")
X = {"x": any_bits(1, FLOAT, (3, 4))}


def compiled(source: Path, library: Path) -> Path:
    """Compile a shared library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    subprocess.run([compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(SOURCE, tmp_path_factory.mktemp("library") / "libnegate.so")


@pytest.fixture
def negating(tmp_path: Path) -> Path:
    """Return the path of a model of the operator."""
    node = helper.make_node("Negate", ["x"], ["y"], domain="tests")
    made = model([node], [tensor("x", FLOAT, 2)], [tensor("y", FLOAT, 2)])
    made.opset_import.append(helper.make_opsetid("tests", 1))
    assert made.opset_import[0].version == OPSET
    return save(made, tmp_path / "negate.onnx")


def test_a_custom_operator_computes(negating: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.parent)
    session = runoff_ort.Session(negating, custom_op_libraries=[library.name])
    monkeypatch.chdir("/")
    copy = pickle.loads(pickle.dumps(session))  # noqa: S301 (made here)
    for one in (session, copy):
        assert np.array_equal(one.run(X)["y"], -X["x"], equal_nan=True)
    with pytest.raises(runoff_ort.InvalidValueError, match="Negate"):
        runoff_ort.Session(negating)


def test_both_apis_compute_it_alike(negating: Path, library: Path) -> None:
    def call(ort: Any) -> Any:
        options = ort.SessionOptions()
        options.register_custom_ops_library(str(library))
        (y,) = ort.InferenceSession(negating, options, providers=["CPUExecutionProvider"]).run(None, X)
        return y.tobytes()

    assert call(drop_in) == call(onnxruntime)


def test_what_is_not_such_a_library_is_named(negating: Path, library: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"library of custom operators not found: .*/gone\.so") as raised:
        runoff_ort.Session(negating, custom_op_libraries=[library, tmp_path / "gone.so"])
    assert isinstance(raised.value, runoff_ort.MissingFileError)
    (tmp_path / "nothing.c").write_text("int nothing;", encoding="utf-8")
    for unfit in (negating, compiled(tmp_path / "nothing.c", tmp_path / "libnothing.so")):
        with pytest.raises(ValueError, match=f"^{unfit} is not a library of custom operators: ") as refused:
            runoff_ort.Session(negating, custom_op_libraries=[unfit])
        assert isinstance(refused.value, runoff_ort.InvalidValueError)
    with pytest.raises(TypeError, match="a list is needed"):
        runoff_ort.Session(negating, custom_op_libraries=str(library))
