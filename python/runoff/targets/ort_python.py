"""ONNX Runtime in Python, from its wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def ort_python() -> Target:
    """Return the target."""
    return python_target("ort-python", "ort_python_runner")
