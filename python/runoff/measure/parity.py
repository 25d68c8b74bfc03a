"""The outputs of a case, compared with those that PyTorch computed when the model was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runoff.records import untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.records.protocol import Preprocess, WrittenTensor

TOLERANCE = {"tensor": 1e-4, "classify": 5e-2}
"""Largest `max_rel_diff` that still counts as the same output. The same tensor leaves only the order of additions;
from an image, decoders and resizers may differ by 2/255 in a pixel, which the network amplifies."""
HALF_TOLERANCE = 1e-2
"""The same where the arithmetic is in fp16."""

_LARGEST_ELEMENT = 8
"""A file may be this many times larger than its references, which are float32: other elements have up to 8 bytes."""
_DTYPES = (
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip


def tolerance(workload: str, precision: str) -> float:
    """Return the largest `max_rel_diff` that still counts as the same output in the precision of the arithmetic."""
    usual = TOLERANCE[workload]
    return max(usual, HALF_TOLERANCE) if precision == "fp16" else usual


def compare_outputs(outputs: Sequence[WrittenTensor], references: Sequence[Path]) -> list[dict[str, Any]]:
    """Compare every row of `outputs` with the reference of its item.

    Parameters
    ----------
    outputs
        Tensors that a runner wrote; their first dimension runs over `items`.
    references
        For each item, the file of its reference: raw little-endian float32.

    Returns
    -------
    list of dict
        Per row: ``item``; ``max_abs_diff``; ``max_rel_diff``, which is `max_abs_diff` over the largest absolute
        reference (over 1 if that is 0); ``cosine`` of the angle between both; ``top1_agrees``.

    Raises
    ------
    OSError
        If an output's file cannot be read, is not a regular file, or is far larger than its references.
    ValueError
        If an output's file or shape does not fit its reference, or a value is not finite.
    """
    return [{"item": item, **difference(row, reference)} for item, row, reference in read_rows(outputs, references)]


def read_rows(
    tensors: Sequence[WrittenTensor], references: Sequence[Path]
) -> list[tuple[int, NDArray[np.float32], Path]]:
    """Return every row of `tensors`, flat, between its item and its reference; errors as of `compare_outputs`."""
    return [
        (item, row, _of(item, references))
        for tensor in tensors
        for item, row in zip(tensor.items, _rows(tensor, references), strict=True)
    ]


def compare_inputs(
    tensors: Sequence[WrittenTensor], references: Sequence[Path], preprocess: Preprocess
) -> dict[int, dict[str, float]]:
    """Return, by item, the difference between the input tensor and Pillow's, in pixel units (0 to 255)."""
    differences = {}
    scale = np.asarray(preprocess.std, dtype=np.float32)[:, None]
    for item, row, reference in read_rows(tensors, references):
        pillow = np.fromfile(reference, dtype="<f4").reshape(3, -1)
        pixels = np.abs(row.reshape(3, -1) - pillow) * scale
        differences[item] = {"input_max_diff": float(pixels.max()), "input_mean_diff": float(pixels.mean())}
    return differences


def worst(parity: Sequence[dict[str, Any]]) -> float:
    """Return the largest relative difference."""
    return max((row["max_rel_diff"] for row in parity), default=0.0)


def _of(item: int, references: Sequence[Path]) -> Path:
    if not 0 <= item < len(references):
        raise ValueError(f"no item {item}; the request has {len(references)}")
    return references[item]


def _rows(tensor: WrittenTensor, references: Sequence[Path]) -> NDArray[np.float32]:
    if not tensor.shape or tensor.shape[0] != len(tensor.items):
        raise ValueError(f"{tensor.name} has shape {list(tensor.shape)} for {len(tensor.items)} items")
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{tensor.name} has dtype {tensor.dtype!r} (known: {', '.join(_DTYPES)})")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    most = len(tensor.items) * _LARGEST_ELEMENT * max((path.stat().st_size for path in references), default=0)
    values = np.frombuffer(untrusted.read_file(tensor.path, most), dtype=dtype)
    return values.astype(np.float32, copy=False).reshape(len(tensor.items), -1)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the cosine of the angle between `a` and `b`; 0 if one of them is zero."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


def difference(row: NDArray[np.float32], path: Path) -> dict[str, Any]:
    """Compare one row of an output with the reference in the file `path`, as `compare_outputs` does."""
    reference = np.fromfile(path, dtype="<f4")
    if row.shape != reference.shape:
        raise ValueError(f"an output has {row.size} elements where the reference has {reference.size}")
    if not np.isfinite(row).all():
        raise ValueError("an output contains infinity or NaN")
    a, b = row.astype(np.float64), reference.astype(np.float64)
    absolute, largest = float(np.abs(a - b).max()), float(np.abs(b).max())
    return {
        "max_abs_diff": absolute,
        "max_rel_diff": absolute / (largest or 1.0),
        "cosine": _cosine(a, b),
        "top1_agrees": bool(a.argmax() == b.argmax()),
    }
