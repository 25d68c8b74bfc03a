"""Fixtures: each runner, and the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from runners_under_test import COMPUTING, ENGINES, IMPLEMENTATIONS, MODEL, PROGRAMS, RUNNERS, Runner

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


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.name)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Return each runner."""
    chosen: Runner = request.param
    return chosen


@pytest.fixture(params=COMPUTING, ids=lambda runner: runner.name)
def computing(request: pytest.FixtureRequest) -> Runner:
    """Return each runner that computes."""
    chosen: Runner = request.param
    return chosen


@pytest.fixture(params=PROGRAMS, ids=lambda runner: runner.name)
def program(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of each program."""
    chosen: Runner = request.param
    return chosen


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda runner: runner.name)
def implementation(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of each implementation of the protocol."""
    chosen: Runner = request.param
    return chosen


@pytest.fixture(params=ENGINES, ids=lambda runner: runner.name)
def engine(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of each implementation of loading and running."""
    chosen: Runner = request.param
    return chosen


@pytest.fixture(params=[runner for runner in PROGRAMS if runner.computes], ids=lambda runner: runner.name)
def computing_program(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of each program that computes."""
    chosen: Runner = request.param
    return chosen
