"""Core ML, through coremltools: its cases run on a Mac; elsewhere, the report lists them with the reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from runoff import paths
from runoff.records.reason import Reason
from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def coreml() -> Target:
    """Return the target."""
    target = python_target("coreml")
    if not _is_macos():
        hint = f"run: {'nox -s bench' if paths.in_checkout() else 'runoff bench'}, on a Mac"
        reason = Reason("needs-macos", "execution not run: needs macOS", hint)
        target = msgspec.structs.replace(target, missing=reason, environments=())
    return msgspec.structs.replace(target, packages=True)


def _is_macos() -> bool:
    return sys.platform == "darwin"
