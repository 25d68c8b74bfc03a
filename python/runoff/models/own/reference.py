"""References: ONNX Runtime without optimisation, on one thread, in the environment ``inspect``."""

from __future__ import annotations

import ctypes
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort

from runoff.records.errors import RunoffError
from runoff.records.tensors import difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.models.own.graph import OnnxFile
    from runoff.models.own.values import Feed

LEVELS = {"disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL, "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL}
_LINE = 300
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed: ?)?")


class Reference:
    """The model in ONNX Runtime; only outputs that are tensors are computed.

    Raises
    ------
    RunoffError
        If ONNX Runtime cannot load it.
    """

    def __init__(self, file: OnnxFile, level: str = "disable") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = LEVELS[level]
        options.log_severity_level = 4
        self._names = [tensor.name for tensor in file.outputs]
        self._types = {tensor.name: tensor.dtype for tensor in file.outputs}
        try:
            self._session = ort.InferenceSession(str(file.path), options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            raise RunoffError(
                f"{file.path}: ONNX Runtime {ort.__version__} cannot load it: {one_line(error)}",
                _hint(file, str(error)),
            ) from error

    def run(self, feed: Feed) -> Feed:
        """Return the outputs by name; exceptions are ONNX Runtime's."""
        if any(array.dtype == object for array in feed.values()):
            # there is no other way for strings
            return dict(zip(self._names, self._session.run(self._names, feed), strict=True))
        given = {name: _to_value(array) for name, array in feed.items()}
        values = self._session.run_with_ort_values(self._names, given)
        return {name: _to_array(value, self._types[name]) for name, value in zip(self._names, values, strict=True)}


def _to_value(array: NDArray[Any]) -> ort.OrtValue:
    if array.dtype.name == "bfloat16":
        bits = array.view(np.uint16)
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def _to_array(value: ort.OrtValue, dtype: str) -> NDArray[Any]:
    if dtype == "bfloat16":
        import ml_dtypes

        shape = value.shape()
        # NumPy has no such type, so the value cannot be exported; it is copied before it is freed
        bits = (ctypes.c_uint16 * math.prod(shape)).from_address(value.data_ptr())
        return np.array(bits, np.uint16).reshape(shape).view(ml_dtypes.bfloat16)
    return np.asarray(value.numpy())


def one_line(error: Exception) -> str:
    """Return ONNX Runtime's message on one line, without its code and the path of the model."""
    return _PREFIX.sub("", " ".join(str(error).split()))[:_LINE]


def _hint(file: OnnxFile, message: str) -> str:
    opsets = ", ".join(f"{domain} {version}" for domain, version in file.opsets.items())
    if "xternal" in message:
        return "copy the model with its external data again: the data does not belong to this file, or is cut off"
    return f"the file has opsets {opsets} and IR version {file.model.ir_version}; export it for an older one"


def largest_difference(ours: Sequence[Feed], theirs: Sequence[Feed]) -> float:
    """Return the largest difference between outputs, relative to the largest absolute output of `theirs`.

    Other shapes, other strings, and infinity or NaN in other places count as 1.
    """
    pairs = [(a[name], b[name]) for a, b in zip(ours, theirs, strict=True) for name in b]
    return max((_difference(a, b) for a, b in pairs), default=0.0)


def _difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    try:
        return float(difference(ours.ravel(), theirs.ravel())["max_rel_diff"]) if ours.shape == theirs.shape else 1.0
    except ValueError:
        return 1.0
