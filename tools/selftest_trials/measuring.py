"""Measuring the trials: runs of minutes with one core kept busy. `readings` evaluates them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff import paths
from runoff.bench import bench
from runoff.plan.baselines import control_name
from runoff.plan.suite import CustomTarget
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run
from runoff.selftest.suites import SAME, SHORT_SETS, UNMODIFIED, Plan, built, pick_model, runner, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from runoff.records.schema import Run

LATENCY, PROCESS = "latency", "process"
CONTROL = control_name(UNMODIFIED)
"""The A/A control, which every comparison of live processes contains."""

_PARTS = (1, 3, 6)


class Trial(Struct, frozen=True, kw_only=True):
    """A repeated measurement."""

    probe: str
    injected: Mapping[str, float]
    """Injected share by target, except the unmodified one; 0 is the unmodified program again."""
    time: str
    """Sampling time of a run."""
    runs: int
    parts: tuple[int, ...]
    """Numbers of parts that a run is split into; 1 is the whole run."""


TRIALS = {
    "latency": Trial(
        probe=LATENCY, injected={CONTROL: 0.0, "slow-1": 0.01, "slow-2": 0.02}, time="3m", runs=10, parts=_PARTS
    ),
    "process": Trial(probe=PROCESS, injected={SAME: 0.0, "slow-5": 0.05}, time="3m", runs=10, parts=_PARTS),
}
_BUSY = "while True: pass"


def plan_trial(trial: Trial, seed: int) -> Plan:
    """Return the suite of one run."""
    measure: dict[str, Any] = {"time": trial.time, "seed": seed}
    shares = {UNMODIFIED: 0.0, **{name: share for name, share in trial.injected.items() if name != CONTROL}}
    if trial.probe == LATENCY:
        targets = {name: runner("slow", share) for name, share in shares.items()}
        measure["latency"] = SHORT_SETS
        return Plan(name="trial-latency", model=pick_model(), targets=targets, probe=LATENCY, measure=measure)
    targets = {name: burning(share) for name, share in shares.items()}
    cold = {"profile": "cold"}
    return Plan(
        name="trial-process", model=pick_model(), targets=targets, probe=PROCESS, settings=cold, measure=measure
    )


def burning(share: float) -> CustomTarget:
    """Return ``ort-rust`` inside the program that burns CPU for `share` of its time.

    Raises
    ------
    RunoffError
        If the Rust programs are not built.
    """
    rust, burner = built("ort-rust"), paths.binaries() / "runoff-burn"
    if not burner.exists():
        raise RunoffError(f"program not found: {burner}", "run: nox -s build", ExitCode.NOTHING_RUNS_HERE)
    return CustomTarget(command=(str(burner), str(share), *rust.command), env=rust.env)


def measure_trial(name: str, out: Path, console: Console) -> None:
    """Measure until `out` has all finished runs of the trial `name`, with one core kept busy.

    A run with a failed case is kept and counts as not found.
    """
    trial, folder = TRIALS[name], out / name
    with busy_core():
        for number in range(len(finished_runs(folder)), trial.runs):
            console.print(f"{name}: run {number + 1} of {trial.runs}, {trial.time}, one core kept busy")
            with workspace() as (_, scratch):
                bench(write(plan_trial(trial, seed=number + 1), scratch), folder, console)


def finished_runs(folder: Path) -> list[Run]:
    """Return the finished runs below `folder`."""
    runs = [read_run(path) for path in sorted(folder.glob("*/"))]
    return [run for run in runs if run.info.finished]


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with a separate process that is not pinned."""
    with workspace() as (spawner, _):
        spawner.start((sys.executable, "-I", "-S", "-c", _BUSY), {})
        yield
