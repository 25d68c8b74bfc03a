"""Fixtures: each runner, and the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from runners_under_test import COMPUTING, ENGINES, IMPLEMENTATIONS, MODEL, PROGRAMS, RUNNERS, one_of

from machine import skip_because
from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def models() -> Path:
    """Return the model store, which must contain the small real model."""
    store = paths.models()
    if not (store / MODEL / "manifest.json").exists():
        skip_because(f"{store / MODEL} is missing; run: runoff export {MODEL}")
    return store


runner = one_of(RUNNERS)
computing = one_of(COMPUTING)
program = one_of([runner for runner in PROGRAMS if runner.is_process])
"""In a browser runs the program that also runs in Node.js."""
computing_program = one_of([runner for runner in PROGRAMS if runner.computes])
implementation = one_of(IMPLEMENTATIONS)
"""A runner of each implementation of the protocol."""
overlapping = one_of([runner for runner in IMPLEMENTATIONS if runner.overlaps])
overlapping_program = one_of([runner for runner in PROGRAMS if runner.computes and runner.overlaps])
engine = one_of(ENGINES)
"""A runner of each implementation of loading and running."""
