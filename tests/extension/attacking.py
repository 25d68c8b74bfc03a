"""Helpers of the attacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 1024
FEEDS: Any = {"x": np.arange(COUNT, dtype=np.float64), "z": np.zeros(COUNT)}
HUGE = 2**60


def session(folder: Path, name: str, **settings: Any) -> Any:
    return runoff_ort.Session(folder / f"{name}.onnx", **settings)


def fails(call: Callable[[], object], *kinds: type[Exception], word: str = "") -> Exception:
    """Check that a call ends with an exception, not with a panic, and with one of `kinds` if some are given."""
    with pytest.raises(kinds or Exception, match=re.escape(word)) as raised:
        call()
    return raised.value


class Liar:
    """A tensor of another library that calls something while it is taken over."""

    def __init__(self, array: Any, act: Callable[[], object]) -> None:
        self.array, self.act = array, act

    def __dlpack__(self, **options: Any) -> Any:
        self.act()
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return tuple(self.array.__dlpack_device__())
