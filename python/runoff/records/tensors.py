"""Tensors on disk, as ``protocol/README.md`` defines them, and the difference between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runoff.records.protocol import TensorFile

SMALLEST_SCALE = 1e-3
"""Differences are relative to at least this: float32 sums of terms around 1 are not more exact than 1e-7."""
_LENGTH_BYTES = 4
"""Size of the length in front of each string."""


def read(file: TensorFile) -> NDArray[Any]:
    """Return the elements of a stored tensor, flat."""
    with open(file.path, "rb") as stored:  # noqa: PTH123 (the paths of a request are text)
        return decode(stored.read(), file.dtype)


def decode(data: bytes, dtype: str) -> NDArray[Any]:
    """Return the elements of a tensor's file; bfloat16 as float32, strings as bytes."""
    if dtype == "str":
        return _strings(data)
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))


def _strings(data: bytes) -> NDArray[Any]:
    texts, place = [], 0
    while place < len(data):
        end = place + _LENGTH_BYTES + int.from_bytes(data[place : place + _LENGTH_BYTES], "little")
        if end > len(data):
            raise ValueError("a string ends after the end of its file")
        texts.append(data[place + _LENGTH_BYTES : end])
        place = end
    return np.array(texts, dtype=object)


def encode(array: NDArray[Any]) -> bytes:
    """Return the content of a tensor's file; an array of objects has strings."""
    if array.dtype != object:
        # bfloat16 is an extension of NumPy, which knows no byte order of it
        little = array if array.dtype.name == "bfloat16" else array.astype(array.dtype.newbyteorder("<"))
        return little.tobytes()
    texts = [str(text).encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in texts)


def difference(row: NDArray[Any], reference: NDArray[Any]) -> dict[str, Any]:
    """Return the differences between two flat tensors.

    They are ``max_abs_diff``; ``max_rel_diff``, which is that over the largest absolute reference (over 0.001 if that
    is smaller); ``cosine`` of the angle between both; ``top1_agrees``. Strings differ by 0 or 1.

    Raises
    ------
    ValueError
        If their sizes differ, or a value is not finite where the reference is.
    """
    if row.shape != reference.shape:
        raise ValueError(f"an output has {row.size} elements where the reference has {reference.size}")
    if object in (row.dtype, reference.dtype):
        differ = float(not np.array_equal(row, reference))
        return {"max_abs_diff": differ, "max_rel_diff": differ, "cosine": 1 - differ, "top1_agrees": None}
    a, b = row.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(b)
    # infinity and NaN must be where the reference has them
    if not np.isfinite(a[finite]).all() or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        raise ValueError("an output contains infinity or NaN")
    top1 = bool(a.argmax() == b.argmax()) if b.size else None
    a, b = a[finite], b[finite]
    absolute, largest = float(np.abs(a - b).max(initial=0)), float(np.abs(b).max(initial=SMALLEST_SCALE))
    return {
        "max_abs_diff": absolute,
        "max_rel_diff": absolute / largest,
        "cosine": _cosine(a, b),
        "top1_agrees": top1,
    }


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest difference between two tensors, relative to the largest of `other`.

    It is 1 if they have different shapes, different strings, or infinity or NaN in different places.
    """
    try:
        return float(difference(one.ravel(), other.ravel())["max_rel_diff"]) if one.shape == other.shape else 1.0
    except ValueError:
        return 1.0


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the cosine of the angle between `a` and `b`; 0 if one of them is zero."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
