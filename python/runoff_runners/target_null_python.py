"""A target that computes nothing."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Fields, Marks, Request

FORMATS: tuple[str, ...] = ()
MEASURES: tuple[str, ...] = ("once",)
SETTINGS: tuple[str, ...] = ("threads", "teardown")


def capabilities() -> Fields:
    """Return the capabilities of a runner without a runtime."""
    return {"version": ".".join(map(str, sys.version_info[:3])), "providers": ["cpu"], "computes": False}


def perform(request: Request, phases: Marks) -> Fields:  # noqa: ARG001 (the interface of a target)
    """Return an empty result that only names its runner."""
    return {"effective": {"runtime": "none", "version": "", "language": "python"}}
