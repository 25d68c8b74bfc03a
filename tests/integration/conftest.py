"""One real run of every target, with every tool of this machine, shared by several tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from running import MODEL, TARGETS, Whole, here, only_run, runoff

from machine import skip_because, unusable
from runoff import paths
from runoff.probes.counters import PERF
from runoff.probes.process import HYPERFINE
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended

PROBES = ("life", "latency", "memory")
TOOLS = {"process": HYPERFINE, "counters": PERF}
"""Probes that need a tool."""
SUITE = f"""
[suite]
name = "tiny"
models = ["{MODEL}"]
targets = {msgspec.json.encode(list(TARGETS)).decode()}
probes = {msgspec.json.encode([*PROBES, *(name for name, tool in TOOLS.items() if not unusable(tool))]).decode()}
[measure.blocks]
process = 2
life = 2
latency = 1
memory = 1
counters = 1
[measure.latency]
min_samples = 5
min_time_s = 0.1
warmup = 1
warmup_time_s = 1
"""


@pytest.fixture(scope="session")
def complete() -> None:
    """Skip the tests with a hint unless everything that they measure is installed."""
    missing = {name: make().missing for name, make in BUILT_IN.items() if name in (*TARGETS, "torch")}
    reasons = [f"{name}: {reason}" for name, reason in missing.items() if reason and reason.kind != "needs-macos"]
    if not (paths.models() / MODEL / "manifest.json").is_file():
        reasons.append(f"{MODEL} is not stored: runoff export {MODEL}")
    skip_because("\n".join(reasons))


@pytest.fixture(scope="module")
def start() -> Callable[..., Ended]:
    """Return a function that runs a command: the first of a file as users start it, the others in this process."""
    ways = iter([runoff])

    def run(*arguments: object, **more: Any) -> Ended:
        return next(ways, here)(*arguments, **more)

    return run


@pytest.fixture(scope="session")
def hyperfine() -> str:
    """Return the path of hyperfine, which the test needs."""
    skip_because(unusable(HYPERFINE))
    return str(HYPERFINE.find())


@pytest.fixture(scope="session")
def perf() -> str:
    """Return the path of perf, which the test needs."""
    skip_because(unusable(PERF))
    return str(PERF.find())


@pytest.fixture(scope="session")
def whole(complete: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:  # noqa: ARG001 (checked before)
    """Return the shared run."""
    folder: Path = tmp_path_factory.mktemp("whole")
    suite = folder / "tiny.toml"
    suite.write_text(SUITE)
    ended = runoff("bench", suite, "--results", folder / "results")
    return Whole(ended, only_run(folder / "results"))
