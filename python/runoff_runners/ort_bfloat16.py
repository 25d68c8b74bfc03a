"""Models with bfloat16 tensors in ONNX Runtime: they go in and out as OrtValues, since NumPy has no such dtype."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import onnxruntime as ort

from runoff_runners.model import BFLOAT16
from runoff_runners.tensors import BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff_runners.interfaces import Array, Feed

_NUMBER = 16
"""ONNX's number of bfloat16."""


def run(session: ort.InferenceSession, outputs: Sequence[str], feed: Feed) -> list[Array]:
    """Run `session` once from arrays to arrays; those of bfloat16 are of `BITS`."""
    values = session.run_with_ort_values(outputs, {name: _to_value(array) for name, array in feed.items()})
    return [_to_array(value) for value in values]


def _to_value(array: Array) -> ort.OrtValue:
    if array.dtype == BITS:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _NUMBER)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _to_array(value: ort.OrtValue) -> Array:
    if value.data_type() != f"tensor({BFLOAT16})":
        array: Array = value.numpy()
        return array
    shape = value.shape()
    # a copy: the value's memory ends with the value
    return np.frombuffer(ctypes.string_at(value.data_ptr(), math.prod(shape) * BITS.itemsize), BITS).reshape(shape)
