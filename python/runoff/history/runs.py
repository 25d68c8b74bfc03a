"""Finding runs in folders; each is described by its own ``run.json`` and ``summary.csv``."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 (msgspec evaluates the annotations)
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.summary import COLUMNS
from runoff.records.errors import RunoffError
from runoff.records.files import RAW, RUN_FILE, SUMMARY, in_progress, read_info, to_resume
from runoff.records.machine import headline
from runoff.records.schema import RunInfo  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable

DEPTHS = ("", "*/", "*/*/")
"""Patterns of the folders of runs in a given one: itself, and up to two levels below."""
_READS = 1
"""The supported version of ``run.json``."""
_NEWER = COLUMNS[COLUMNS.index("p_adjusted") :]
"""Columns that may be missing from the summary of an older run."""


class FoundRun(Struct, frozen=True):
    """A run in a folder."""

    folder: Path
    info: RunInfo

    @property
    def suite(self) -> str:
        """The name of the run's suite."""
        return str(self.info.suite.get("suite", {}).get("name", ""))

    @property
    def summary(self) -> Path:
        """The file of the run's summary; an interrupted run has none."""
        return self.folder / SUMMARY

    @property
    def raw(self) -> bool:
        """Whether the raw results are in the folder; published runs have none."""
        return (self.folder / RAW).is_dir()

    @property
    def measuring(self) -> bool:
        """Whether a process on this machine is measuring it; for one machine of many, the run on all of them."""
        return in_progress(self.folder if self.info.finished else to_resume(self.folder))


def find(folders: Iterable[Path]) -> tuple[list[FoundRun], dict[str, str]]:
    """Return the runs at `folders` and up to two levels below, in order of time, and the skipped ones with reasons.

    A published copy of a run is omitted if the run with its raw results is among them.

    Raises
    ------
    RunoffError
        If one of `folders` is not a folder.
    """
    runs_found, skipped = [], {}
    for folder in _run_folders(folders):
        try:
            runs_found.append(_read(folder))
        except RunoffError as error:
            skipped[str(folder)] = error.message
    with_raw = {run.info.run_id for run in runs_found if run.raw}
    runs = [run for run in runs_found if run.raw or run.info.run_id not in with_raw]
    return sorted(runs, key=lambda run: (moment(run.info.started), run.info.run_id)), skipped


def _run_folders(folders: Iterable[Path]) -> list[Path]:
    run_folders: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RunoffError(f"{folder}: no such folder", "past runs: runoff list runs")
        files = [path for depth in DEPTHS for path in sorted(folder.glob(f"{depth}{RUN_FILE}"))]
        run_folders |= dict.fromkeys(path.parent for path in files)
    return list(run_folders)


def _read(folder: Path) -> FoundRun:
    info, file = read_info(folder), folder / RUN_FILE
    if info.version != _READS:
        raise RunoffError(f"{file} has version {info.version}; this version of runoff reads {_READS}")
    try:
        headline(info.machine)
    except KeyError as error:
        raise RunoffError(f"{file} has a different format: machine has no field {error}") from error
    moment(info.started)
    return FoundRun(folder, info)


def why_unreadable(run: FoundRun) -> str:
    """Return the reason why the summary of `run` cannot be read; empty if it can."""
    if not run.summary.is_file():
        return f"no {SUMMARY} (runoff report {run.folder})"
    with run.summary.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file), [])
    missing = [name for name in COLUMNS if name not in columns and name not in _NEWER]
    return f"{run.summary} has a different format: no column {missing[0]!r}" if missing else ""


def moment(text: str) -> datetime:
    """Return a time of ``run.json`` in UTC, without its zone.

    Raises
    ------
    RunoffError
        If it is not a time.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None, microsecond=0)
    except ValueError as error:
        raise RunoffError(f"{text!r} is not a time") from error
