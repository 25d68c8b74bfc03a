"""Folders of runs over time: the same suite on different days, machines and runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compared import turns_run, write
from msgspec.structs import replace

from runoff.analysis.analyse import analyse
from runoff.records.files import read_run
from runoff.records.schema import Run

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.protocol import Result

OTHER = {"cpu": "Other CPU", "kernel": "6.9"}
"""Fields of a different machine."""


def day_run(
    folder: Path,
    day: int,
    speeds: dict[str, float],
    *,
    version: str = "1.32.0",
    machine: dict[str, Any] | None = None,
    finished: bool = True,
    **more: Any,
) -> Path:
    """Write a run of the November 2026's `day` below `folder`; `speeds` in ms by target, the baseline first."""
    run = turns_run(speeds, seed=day, **more)
    run.info.run_id = f"days-202611{day:02}-120000"
    run.info.suite = {"suite": {"name": "days"}}
    run.info.started = f"2026-11-{day:02}T12:00:00+00:00"
    run.info.finished = f"2026-11-{day:02}T12:10:00+00:00" if finished else None
    run.info.machine |= machine or {}
    known = run.info.capabilities.items()
    run.info.capabilities = {name: replace(can, version=version) for name, can in known}
    records = [replace(one, result=_with_version(one.result, version) if one.result else None) for one in run.records]
    made = write(Run(folder, run.info, tuple(records)), folder / run.info.run_id)
    if finished:
        summarised(made)
    return made


def summarised(folder: Path) -> None:
    """Write the summary of the run in `folder`, as a report does."""
    analyse(read_run(folder)).summary.to_csv(folder / "summary.csv", index=False)


def _with_version(result: Result, version: str) -> Result:
    return replace(result, effective=replace(result.effective, version=version)) if result.effective else result
