"""Helpers for tests of CoreML packages: subjects, small programs, and faults injected into saved files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import coremltools as ct
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    Array = NDArray[Any]

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
PROGRAM = "Data/com.apple.CoreML/model.mlmodel"
_FLOATS = {1: np.float16, 2: np.float32}
"""Types of elements, by their number in a weight file."""


class Subject(NamedTuple):
    """A network, photos as float32 [8, 3, 224, 224], and PyTorch's outputs, float32 [8, 1000]."""

    network: torch.nn.Module
    photos: NDArray[np.float32]
    references: NDArray[np.float32]


def change_weights(package: Path, change: Callable[[Array], None]) -> None:
    """Let `change` write into the largest entry of the package's weight file."""
    path = package / WEIGHTS
    data = bytearray(path.read_bytes())
    kind, length, begin = max(entries(bytes(data)), key=lambda entry: entry[1])
    array = np.frombuffer(data, _FLOATS[kind], length // np.dtype(_FLOATS[kind]).itemsize, begin)
    change(array)
    path.write_bytes(data)


def entries(data: bytes) -> list[tuple[int, int, int]]:
    """Return type, size in bytes and offset of each entry of a weight file."""
    count, _ = struct.unpack_from("<II", data)
    found, place = [], 64
    for _ in range(count):
        _, kind, length, begin = struct.unpack_from("<IIQQ", data, place)
        found.append((kind, length, begin))
        place = -(-(begin + length) // 64) * 64
    return found


def change_program(package: Path, change: Callable[[Any], None]) -> None:
    """Let `change` alter the operations of the package's program."""
    path = package / PROGRAM
    spec = ct.proto.Model_pb2.Model()
    spec.ParseFromString(path.read_bytes())
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    change(block.operations)
    path.write_bytes(spec.SerializeToString())
