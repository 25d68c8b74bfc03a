"""References: ONNX Runtime without optimisation, on one thread, in the environment ``inspect``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from runoff.records.errors import RunoffError
from runoff.records.tensors import distance
from runoff_runners import ort_bfloat16
from runoff_runners.model import BFLOAT16
from runoff_runners.tensors import BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self._names = [tensor.name for tensor in file.outputs]
        options = session_options(LEVELS[level])
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
        import ml_dtypes

        given = {name: np.asarray(array, order="C") for name, array in feed.items()}
        bits = {name: array.view(BITS) if array.dtype.name == BFLOAT16 else array for name, array in given.items()}
        found = zip(self._names, ort_bfloat16.run(self._session, self._names, bits), strict=True)
        return {name: array.view(ml_dtypes.bfloat16) if array.dtype == BITS else array for name, array in found}


def session_options(level: ort.GraphOptimizationLevel) -> ort.SessionOptions:
    """Return options of a session on one thread that prints nothing."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = level
    options.log_severity_level = 4
    return options


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
    return max((distance(a, b) for a, b in pairs), default=0.0)
