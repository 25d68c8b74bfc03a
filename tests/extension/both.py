"""One model in both APIs: ``runoff_ort`` and onnxruntime's own for Python."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import runoff_ort

if TYPE_CHECKING:
    from pathlib import Path

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FATAL = 4
onnxruntime.set_default_logger_severity(FATAL)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model to a file."""
    path.write_bytes(model.SerializeToString())
    return path


class Theirs:
    """Onnxruntime's API for Python, with the shape of the extension's.

    Its `run` does not support bfloat16; such arrays are passed and returned as ``OrtValue``.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [port.name for port in self.session.get_inputs()]
        self.outputs = [port.name for port in self.session.get_outputs()]
        self._answers_bfloat16 = any(port.type == "tensor(bfloat16)" for port in self.session.get_outputs())

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """Run the model; return all outputs by name."""
        arrays = [value for value in feeds.values() if isinstance(value, np.ndarray)]
        if self._answers_bfloat16 or any(array.dtype == BFLOAT16 for array in arrays):
            values = {name: _ort_value(array) for name, array in feeds.items()}
            made = [_array(value) for value in self.session.run_with_ort_values(None, values)]
        else:
            made = self.session.run(None, feeds)
        return dict(zip(self.outputs, made, strict=True))


class Both:
    """A model in both APIs."""

    def __init__(self, path: Path) -> None:
        self.theirs = Theirs(path)
        self.ours = runoff_ort.Session(path, threads=1)


def plain(array: Any) -> Any:
    """Return the elements in C order and native byte order, strings as objects, as onnxruntime requires."""
    dtype = object if array.dtype.kind in "UT" else array.dtype.newbyteorder("=")
    return np.array(array, dtype=dtype, order="C")


def _ort_value(array: Any) -> Any:
    if array.dtype != BFLOAT16:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = array.view(np.uint16)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)


def _array(value: Any) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape = value.shape()
    size = int(np.prod(shape)) * BFLOAT16.itemsize
    held = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(held, BFLOAT16).reshape(shape)
