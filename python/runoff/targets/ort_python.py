"""ONNX Runtime in Python, from its wheel."""

from __future__ import annotations

from runoff.targets.base import Target, python_target


def ort_python() -> Target:
    """Return the target."""
    return python_target("ort-python", "ort_python_runner")
