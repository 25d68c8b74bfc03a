"""Core ML, through coremltools: its cases run on a Mac; elsewhere, the report lists them with the reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from runoff.records.reason import Reason
from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target

_NEEDS_MACOS = Reason("needs-macos", "execution not run: needs macOS", "run: nox -s bench, on a Mac")


def coreml() -> Target:
    """Return the target."""
    target = python_target("coreml", "coreml_runner")
    missing = target.missing if _is_macos() else _NEEDS_MACOS
    return msgspec.structs.replace(target, packages=True, missing=missing)


def _is_macos() -> bool:
    return sys.platform == "darwin"
