"""Core ML, through coremltools: its cases run on a Mac, and stand in the report elsewhere with that reason."""

from __future__ import annotations

import sys

import msgspec

from runoff.reason import Reason
from runoff.targets.base import Target, python_target

_NEEDS_MACOS = Reason("needs-macos", "execution not run: needs macOS", "run: nox -s bench, on a Mac")


def coreml() -> Target:
    """Return the target."""
    target = python_target("coreml", "coreml_runner")
    missing = target.missing if _is_macos() else _NEEDS_MACOS
    return msgspec.structs.replace(target, packages=True, missing=missing)


def _is_macos() -> bool:
    return sys.platform == "darwin"
