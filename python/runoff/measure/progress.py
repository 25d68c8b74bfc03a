"""What a person sees while the measuring goes on. Nothing is drawn while a process runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from runoff.measure.job import Job
    from runoff.measure.stopping import Sampling
    from runoff.records.schema import Record

_ENOUGH = 60
_WIDEST = 60
"""Characters of a description: the bar and the time have to fit beside it."""


class Estimate:
    """Time left, from how long each case took before: in the same probe, else in any, else on average."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left = [(_key(job), job.probe.name) for job in jobs]
        self._known: dict[tuple[str, str], float] = {}
        self._by_case: dict[str, float] = {}

    def passed(self, case: str, probe: str, seconds: float) -> None:
        """Take note that `probe` of `case` (or of the cases side by side) took `seconds`, and count it as done."""
        self._known[case, probe] = self._by_case[case] = seconds
        if (case, probe) in self._left:
            self._left.remove((case, probe))

    def dropped(self, case: str) -> None:
        """Take note that `case` will not be started again."""
        self._left = [job for job in self._left if job[0] != case]

    def seconds_left(self) -> float | None:
        """Return the estimate, or ``None`` before anything was measured."""
        if not self._by_case:
            return None
        average = sum(self._by_case.values()) / len(self._by_case)
        return sum(self._known.get(job, self._by_case.get(job[0], average)) for job in self._left)


def quiet_progress(console: Console) -> Progress:
    """Return a bar that is drawn only when it is told to; its tasks have the field ``left``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[left]}"),
        console=console,
        auto_refresh=False,  # a refreshing thread would disturb what is being timed
        transient=True,
    )


def _key(job: Job) -> str:
    return " ".join(case.id for case in job.cases)


class Bar:
    """A progress bar with the time left; a `runoff.measure.execute.Listener`."""

    def __init__(self, jobs: list[Job], sampling: Sampling, console: Console) -> None:
        self._sampling = sampling
        self._estimate = Estimate(jobs)
        self._console = console
        self._progress = quiet_progress(console)
        self._task = self._progress.add_task("", total=len(jobs), left="")
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def starting(self, job: Job) -> None:
        """Show what runs now."""
        self._began = time.monotonic()
        left, until = self._estimate.seconds_left(), self._sampling.until
        told = duration_left(left) if until is None else f"{job.probe.name}: {duration_left(until - self._began)}"
        self._progress.update(self._task, description=escape(_shortened(job.name)), left=told)
        self._progress.refresh()

    def finished(self, job: Job, records: Sequence[Record]) -> None:
        """Count it, and say at once what failed."""
        self._estimate.passed(_key(job), job.probe.name, time.monotonic() - self._began)
        task = self._progress.tasks[self._task]
        # a pass that goes on until it is enough has more jobs than could be counted before
        self._progress.update(self._task, advance=1, total=max(task.total or 0, task.completed + 1))
        for record in records:
            if record.status in ("error", "unsupported"):
                self._estimate.dropped(record.case)
                text = f"[red]{record.status}[/] {record.case}, {record.probe}: {escape(str(record.reason))}"
                self._console.print(text, highlight=False, soft_wrap=True)


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def duration_left(seconds: float | None) -> str:
    """Return the time left in words."""
    if seconds is None:
        return ""
    return f"about {seconds / _ENOUGH:.0f} min left" if seconds >= 2 * _ENOUGH else f"about {seconds:.0f} s left"
