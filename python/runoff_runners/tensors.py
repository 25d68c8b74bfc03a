"""Tensors on disk: raw little-endian elements in C order, without a header; strings with their lengths."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH118, PTH123, PTH202

from __future__ import annotations

import math
import os

import numpy as np

from runoff_runners.model import BFLOAT16, NUMBERS, STRINGS, unsupported
from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff_runners.interfaces import Array, Feed, Fields, TensorFile

BITS = np.dtype("V2")
"""What stands for bfloat16, which NumPy has not: two bytes of anything."""
_NAMES = {BITS.name: BFLOAT16, "object": STRINGS}
"""Names on disk of dtypes that NumPy names otherwise."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LENGTH = 4
"""Bytes of a string's length."""


def read_tensor(file: TensorFile, name: str, where: str) -> Array:
    """Read the tensor of `file` for the input `name`; `where` names its field in the request.

    Strings are an array of objects, bfloat16 one of `BITS`.

    Raises
    ------
    RunnerError
        ``tensor-unreadable``: file not found, or its content does not match shape and dtype; ``type-unsupported``.
    """
    path, dtype, shape = file["path"], file["dtype"], file["shape"]
    try:
        if dtype == STRINGS:
            with open(path, "rb") as opened:
                return _strings(opened.read(), shape, f"{where}.path: {path}")
        if dtype not in NUMBERS and dtype != BFLOAT16:
            raise unsupported("input", name, dtype)
        of = BITS if dtype == BFLOAT16 else np.dtype(dtype).newbyteorder("<")
        expected, size = math.prod(shape) * of.itemsize, os.path.getsize(path)
        if size == expected:
            array = np.fromfile(path, of).reshape(shape)
            if dtype == "bool" and array.view(np.uint8).max(initial=0) > 1:
                raise _unreadable(f"{where}.path: {path}: a bool is 0 or 1")
            return array
    except OSError as error:
        raise RunnerError("tensor-unreadable", f"{where}.path: {path}: {error.strerror}") from error
    raise _unreadable(f"{where}.path: {path} has {size} bytes, {dtype} {shape} has {expected}")


def joined(feeds: Sequence[Feed]) -> Feed:
    """Return the tensors of a batch: those of its items, joined along the first axis."""
    return feeds[0] if len(feeds) == 1 else {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def write_tensors(folder: str, items: Sequence[int], tensors: Feed, prefix: str = "") -> list[Fields]:
    """Write the `tensors` of a batch into `folder`; return a `WrittenTensor` for each.

    Parameters
    ----------
    folder
        The request's `outputs_dir`.
    items
        Index of each row's item in the request's `inputs`; of one item, the whole tensor's.
    tensors
        Tensors by name.
    prefix
        Prefix of the file names.
    """
    written: dict[str, Fields] = {}
    for name, tensor in tensors.items():
        plain = "".join(letter if letter in _PLAIN else "_" for letter in name)
        while (path := os.path.join(folder, f"{prefix}{plain}.{items[0]}.bin")) in written:
            plain += "_"
        # tofile() does not report a full disk
        with open(path, "wb") as file:
            file.write(_content(tensor))
        dtype = _NAMES.get(tensor.dtype.name, tensor.dtype.name)
        written[path] = {"items": list(items), "name": name, "dtype": dtype, "shape": [*tensor.shape], "path": path}
    return [*written.values()]


def _content(tensor: Array) -> bytes | memoryview:
    """Return the elements of a tensor as they are on disk."""
    if tensor.dtype != object:
        return np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).data
    texts = [text.encode() for text in tensor.ravel().tolist()]
    return b"".join(len(text).to_bytes(_LENGTH, "little") + text for text in texts)


def _strings(content: bytes, shape: Sequence[int], where: str) -> Array:
    """Return the strings in the `content` of a file."""
    texts, place = [], 0
    while place + _LENGTH <= len(content):
        begin = place + _LENGTH
        place = begin + int.from_bytes(content[place:begin], "little")
        try:
            texts.append(content[begin:place].decode())
        except UnicodeDecodeError:
            raise _unreadable(f"{where}: string {len(texts)} is not UTF-8") from None
    if place != len(content) or len(texts) != math.prod(shape):
        raise _unreadable(f"{where} is not {math.prod(shape)} strings with their lengths, as str {shape} has")
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)


def _unreadable(message: str) -> RunnerError:
    return RunnerError("tensor-unreadable", message, "see 'Tensors on disk' in protocol/README.md")
