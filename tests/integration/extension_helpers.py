"""Helpers for the checks of the extension."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from onnx_files import FLOAT, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Failure = TypeVar("Failure", bound=BaseException)
_TEMPORARY = tempfile.TemporaryDirectory()
FOLDER = Path(_TEMPORARY.name)


def noise(batch: int, seed: int = 0) -> NDArray[np.float32]:
    """Return the same normally distributed numbers each time."""
    return np.random.default_rng(seed).standard_normal((batch, 3, 224, 224), dtype=np.float32)


def doubling(*sides: int | str) -> Path:
    """Write the model ``y = x + x``."""
    return write(FOLDER / "double.onnx", [("Add", ["x", "x"], ["y"])], {"x": sides}, {"y": (FLOAT, sides)})


def raises(kind: type[Failure], word: str, call: Callable[[], object]) -> Failure:
    """Check that `call` raises `kind` with `word` in its message; return the exception."""
    try:
        call()
    except kind as error:
        raised = error
    else:
        raise AssertionError(f"no {kind.__name__} that says {word!r}")
    assert word in str(raised), raised
    return raised
