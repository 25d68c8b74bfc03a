"""Tensors on disk: raw little-endian elements in C order, without a header."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH118, PTH123, PTH202

from __future__ import annotations

import math
import os

import numpy as np

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff_runners.interfaces import Array, Feed, Fields, TensorFile

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def read_tensor(file: TensorFile, where: str) -> Array:
    """Read the tensor of `file`; `where` names its field in the request.

    Raises
    ------
    RunnerError
        ``tensor-unreadable``: file not found, or its size does not match shape and dtype; ``bad-request``: no such
        dtype.
    """
    path = file["path"]
    try:
        dtype = np.dtype(file["dtype"]).newbyteorder("<")
    except TypeError:
        raise RunnerError("bad-request", f"{where}.dtype: NumPy knows no dtype {file['dtype']!r}") from None
    expected = math.prod(file["shape"]) * dtype.itemsize
    try:
        size = os.path.getsize(path)
        if size == expected:
            return np.fromfile(path, dtype).reshape(file["shape"])
    except OSError as error:
        raise RunnerError("tensor-unreadable", f"{where}.path: {path}: {error.strerror}") from error
    shape = f"{file['dtype']} {file['shape']}"
    message = f"{where}.path: {path} has {size} bytes, {shape} has {expected}"
    raise RunnerError("tensor-unreadable", message, "a tensor's file holds raw little-endian elements only")


def write_tensors(folder: str, items: Sequence[int], tensors: Feed, prefix: str = "") -> list[Fields]:
    """Write the `tensors` of a batch into `folder`; return a `WrittenTensor` for each.

    Parameters
    ----------
    folder
        The request's `outputs_dir`.
    items
        Index of each row's item in the request's `inputs`.
    tensors
        Tensors by name.
    prefix
        Prefix of the file names.
    """
    written: list[Fields] = []
    for name, tensor in tensors.items():
        plain = "".join(letter if letter in _PLAIN else "_" for letter in name)
        path = os.path.join(folder, f"{prefix}{plain}.{items[0]}.bin")
        # tofile() does not report a full disk
        with open(path, "wb") as file:
            file.write(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).data)
        written.append(
            {
                "items": list(items),
                "name": name,
                "dtype": tensor.dtype.name,
                "shape": list(tensor.shape),
                "path": path,
            }
        )
    return written
