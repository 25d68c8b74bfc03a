"""Bitwise comparison of two outputs."""

from __future__ import annotations

from typing import Any

import numpy as np


def differences(own: Any, other: Any, where: str = "output") -> list[str]:
    """Return the difference of two values in type, dtype, shape or any bit; empty if none.

    Both APIs return: arrays, lists, dictionaries, Python's own numbers and strings, and None.
    """
    if isinstance(own, np.ndarray) and isinstance(other, np.ndarray):
        return _of_arrays(own, other, where)
    if type(own) is not type(other):
        return [f"{where}: {type(own).__name__} {own!r}, not {type(other).__name__} {other!r}"]
    if isinstance(own, dict):
        return _of_items([*own, *own.values()], [*other, *other.values()], where)
    if isinstance(own, list):
        return _of_items(own, other, where)
    if isinstance(own, float):
        return _of_arrays(np.array(own), np.array(other), where)
    return [] if own == other else [f"{where}: {own!r}, not {other!r}"]


def _of_items(own: list[Any], other: list[Any], where: str) -> list[str]:
    if len(own) != len(other):
        return [f"{where}: {own!r}, not {other!r}"]
    pairs = enumerate(zip(own, other, strict=True))
    return [one for index, (a, b) in pairs for one in differences(a, b, f"{where}[{index}]")]


def _of_arrays(own: Any, other: Any, where: str) -> list[str]:
    if own.dtype != other.dtype or own.shape != other.shape:
        return [f"{where}: {own.dtype}{list(own.shape)}, not {other.dtype}{list(other.shape)}"]
    if own.dtype == object:
        return differences(own.ravel().tolist(), other.ravel().tolist(), where)
    if own.tobytes() == other.tobytes():
        return []
    return [f"{where}: bits differ: {own!r}, not {other!r}"]
