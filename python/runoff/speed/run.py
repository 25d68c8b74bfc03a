"""A run: rounds, in each of which every meter measures its share, and what is kept of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from runoff import __version__
from runoff.measure.machine import describe_machine
from runoff.measure.progress import duration_left, quiet_progress
from runoff.speed.ratios import Group, Outcome, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from runoff.speed.meters import Meter
    from runoff.speed.rows import Row


class Run(Struct, kw_only=True):
    """``speed.json``: everything that a run has measured so far."""

    version: int = 1
    command: str
    started: str
    seconds: float = 0.0
    rounds: int = 0
    """Rounds that are complete."""
    planned: int
    machine: dict[str, Any]
    versions: dict[str, dict[str, str]]
    """By group: what was measured, by name."""
    outcomes: list[Outcome] = []
    groups: dict[str, Group]


def new_run(command: str, rounds: int, meters: Mapping[str, Meter]) -> Run:
    """Return a run that has measured nothing yet."""
    return Run(
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        planned=rounds,
        machine=describe_machine(),
        versions={"runoff": {"runoff": __version__}, **{name: meter.versions for name, meter in meters.items()}},
        groups={name: meter.group for name, meter in meters.items()},
    )


def measure(
    run: Run, rows: Sequence[Row], meters: Mapping[str, Meter], console: Console, keep: Callable[[Run], None]
) -> None:
    """Measure all rounds; `keep` is called after each of them, and at the end after Ctrl-C.

    Raises
    ------
    KeyboardInterrupt
        When the user pressed Ctrl-C; what was measured is in `run`.
    """
    began = time.monotonic()
    with _Bar(run.planned, meters, console) as bar:
        try:
            for turn in range(run.planned):
                for name, meter in meters.items():
                    bar.starting(name, turn)
                    meter.measure(turn)
                    bar.finished(name)
                run.rounds += 1
                _take_stock(run, rows, began)
                keep(run)
        except KeyboardInterrupt:
            _take_stock(run, rows, began)
            keep(run)
            raise


def _take_stock(run: Run, rows: Sequence[Row], began: float) -> None:
    run.seconds = round(time.monotonic() - began, 1)
    run.outcomes = [outcome(row, run.groups[row.group]) for row in rows]


class _Bar:
    """A progress bar with the time left, from how long each group took before."""

    def __init__(self, rounds: int, names: Mapping[str, object], console: Console) -> None:
        self._left = [name for _ in range(rounds) for name in names]
        self._took: dict[str, float] = {}
        self._began = 0.0
        self._progress = quiet_progress(console)
        self._task = self._progress.add_task("", total=len(self._left), left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def starting(self, name: str, turn: int) -> None:
        """Show what runs now."""
        self._began = time.monotonic()
        known = self._took.keys() >= set(self._left)  # from the second round on
        left = sum(self._took[group] for group in self._left) if known else None
        self._progress.update(self._task, description=f"round {turn + 1}  {name}", left=duration_left(left))
        self._progress.refresh()

    def finished(self, name: str) -> None:
        """Count it."""
        self._took[name] = time.monotonic() - self._began
        self._left.remove(name)
        self._progress.advance(self._task)
