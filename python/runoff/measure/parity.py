"""The outputs of a case, compared with the references that were computed when the model was stored."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from runoff.records import untrusted
from runoff.records.tensors import decode, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from runoff.records.protocol import Preprocess, TensorFile, WrittenTensor

    References = Mapping[str, TensorFile]
    """Of one item, by the name of the output."""

TOLERANCE = {"tensor": 1e-4, "classify": 5e-2, "segment": 5e-2}
"""Largest `max_rel_diff` that still counts as the same output. The same tensor leaves only the order of additions;
from an image, decoders and resizers may differ by 2/255 in a pixel, which the network amplifies."""
HALF_TOLERANCE = 1e-2
"""The same where the arithmetic is in fp16."""

_SPARE_BYTES = 64
_LARGEST_ELEMENT = 8
"""An output's file may be larger than its references by this factor and `_SPARE_BYTES`: other dtypes have up to 8
bytes per element."""
_DTYPES = (
    "float16", "float32", "float64", "bfloat16", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "str",
)  # fmt: skip


def tolerance(workload: str, precision: str, own: float | None = None) -> float:
    """Return the largest `max_rel_diff` that still counts as the same output in the precision of the arithmetic.

    `own` is the tolerance of the model or of the target, if it has one; from an image, decoders differ by more.
    """
    usual = own or TOLERANCE[workload] if workload == "tensor" else max(own or 0, TOLERANCE[workload])
    return max(usual, HALF_TOLERANCE) if precision == "fp16" else usual


def read_rows(
    tensors: Sequence[WrittenTensor], references: Sequence[References]
) -> list[tuple[int, NDArray[Any], TensorFile]]:
    """Return every row of `tensors`, flat, between its item and its reference.

    Parameters
    ----------
    tensors
        Tensors that a runner wrote. With several `items`, their first dimension runs over them.
    references
        For each item, its references by the name of the output.

    Raises
    ------
    OSError
        If a file cannot be read, is not a regular file, or is far larger than its references.
    ValueError
        If name, file or shape of a tensor do not fit its reference.
    """
    found = []
    for tensor in tensors:
        files = [_of(item, tensor.name, references) for item in tensor.items]
        found += list(zip(tensor.items, _rows(tensor, files), files, strict=True))
    return found


def compare_inputs(
    tensors: Sequence[WrittenTensor], references: Sequence[References], preprocess: Preprocess
) -> dict[int, dict[str, float]]:
    """Return, by item, the difference between the input tensor and Pillow's, in pixel units (0 to 255)."""
    differences = {}
    scale = np.asarray(preprocess.std, dtype=np.float32)[:, None]
    for item, row, reference in read_rows(tensors, references):
        pixels = np.abs(row.reshape(3, -1) - read(reference).reshape(3, -1)) * scale
        differences[item] = {"input_max_diff": float(pixels.max()), "input_mean_diff": float(pixels.mean())}
    return differences


def worst(parity: Sequence[dict[str, Any]]) -> float:
    """Return the largest relative difference."""
    return max((row["max_rel_diff"] for row in parity), default=0.0)


def worst_rows(parity: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the worst comparison of each item."""
    found: dict[int, dict[str, Any]] = {}
    for row in parity:
        known = found.setdefault(row["item"], row)
        if known["max_rel_diff"] < row["max_rel_diff"]:
            found[row["item"]] = row
    return [found[item] for item in sorted(found)]


def _of(item: int, name: str, references: Sequence[References]) -> TensorFile:
    if not 0 <= item < len(references):
        raise ValueError(f"no item {item}; the request has {len(references)}")
    if name not in references[item]:
        raise ValueError(f"no output {name!r}; the model has {', '.join(references[item])}")
    return references[item][name]


def _rows(tensor: WrittenTensor, files: Sequence[TensorFile]) -> Sequence[NDArray[Any]]:
    """Return the tensor's elements by item."""
    count = len(tensor.items)
    shape = (count, *files[0].shape[1:]) if count > 1 else files[0].shape
    if tensor.shape != shape:
        raise ValueError(f"{tensor.name} has shape {list(tensor.shape)}; the reference has {list(shape)}")
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{tensor.name} has dtype {tensor.dtype!r} (known: {', '.join(_DTYPES)})")
    most = _SPARE_BYTES + _LARGEST_ELEMENT * sum(os.path.getsize(file.path) for file in files)  # noqa: PTH202 (as above)
    values = decode(untrusted.read_file(tensor.path, most), tensor.dtype)
    if values.size != math.prod(shape):
        raise ValueError(f"{tensor.name} has {values.size} elements in its file; shape {list(shape)}")
    return list(values.reshape(count, -1)) if values.size else [values] * count
