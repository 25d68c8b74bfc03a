"""Null runners: a process in each language that does nothing, which measures interpreter and harness alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runoff.targets.base import runner_in, rust_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def null_python() -> Target:
    """Return the null runner on runoff's own interpreter."""
    return runner_in(sys.executable, "null-python", "null-python")


def null_rust() -> Target:
    """Return the null runner in Rust."""
    return rust_target("null-rust", "runoff-null", loads_onnxruntime=False)
