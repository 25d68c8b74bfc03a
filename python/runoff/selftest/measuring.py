"""Measuring the trials: runs of minutes with one core kept busy. What comes of them is read by `readings`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runoff.bench import bench, workspace
from runoff.selftest.suites import HONEST, SAME, SHORT_SETS, Plan, burning, pick_model, runner, write
from runoff.store import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from runoff.store import Run

LATENCY, PROCESS = "latency", "process"
PLANTED = {LATENCY: {"slow-1": 0.01, "slow-2": 0.02}, PROCESS: {SAME: 0.0, "slow-5": 0.05}}
"""By probe, the targets beside the honest one and what is planted in each."""
_BUSY = "while True: pass"


def plan_trial(probe: str, time: str, seed: int) -> Plan:
    """Return the suite of one trial."""
    measure: dict[str, Any] = {"time": time, "seed": seed}
    shares = {HONEST: 0.0, **PLANTED[probe]}
    if probe == LATENCY:
        targets = {name: runner("slow", share) for name, share in shares.items()}
        measure["latency"] = SHORT_SETS
        return Plan(name="trial-latency", model=pick_model(), targets=targets, probe=probe, measure=measure)
    targets = {name: burning(share) for name, share in shares.items()}
    cold = {"profile": "cold"}
    return Plan(name="trial-process", model=pick_model(), targets=targets, probe=probe, settings=cold, measure=measure)


def measure_trials(probe: str, runs: int, time: str, out: Path, console: Console) -> None:
    """Measure until `out` holds so many finished runs of `probe`, with one core kept busy.

    A run in which a case failed stays, and counts: nothing was found in it.
    """
    folder = out / probe
    with busy_core():
        for number in range(len(finished_runs(folder)), runs):
            console.print(f"trial {number + 1} of {runs}: {probe}, {time}, one core kept busy")
            with workspace() as (_, scratch):
                suite = write(plan_trial(probe, time, seed=number + 1), scratch)
                bench(suite, folder, console)


def finished_runs(folder: Path) -> list[Run]:
    """Return the runs below `folder` that came to their end."""
    runs = [read_run(path) for path in sorted(folder.glob("*/"))]
    return [run for run in runs if run.info.finished]


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with a process of its own, pinned to nothing."""
    with workspace() as (spawner, _):
        spawner.start((sys.executable, "-I", "-S", "-c", _BUSY), {})
        yield
