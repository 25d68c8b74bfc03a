"""What a person sees while the measuring goes on. Nothing is drawn while a process runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from runoff.execute import Job
    from runoff.store import Record

_ENOUGH = 60


class Estimate:
    """Time left, from how long each case took before: in the same probe, else in any, else on average."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left = [(job.case.id, job.probe.name) for job in jobs]
        self._known: dict[tuple[str, str], float] = {}
        self._by_case: dict[str, float] = {}

    def passed(self, case: str, probe: str, seconds: float) -> None:
        """Take note that `probe` of `case` took `seconds`, and count it as done."""
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


class Bar:
    """A progress bar with the time left; a `runoff.execute.Listener`."""

    def __init__(self, jobs: list[Job], console: Console) -> None:
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
        left = self._estimate.seconds_left()
        case = job.case
        text = f"{job.probe.name} {job.block + 1}  {case.model} {case.workload} {case.target} {case.settings.profile}"
        self._progress.update(self._task, description=escape(text), left=duration_left(left))
        self._progress.refresh()

    def finished(self, job: Job, record: Record) -> None:
        """Count it, and say at once what failed."""
        self._estimate.passed(job.case.id, job.probe.name, time.monotonic() - self._began)
        self._progress.advance(self._task)
        if record.status in ("error", "unsupported"):
            self._estimate.dropped(job.case.id)
            text = f"[red]{record.status}[/] {job.case.id}, {job.probe.name}: {escape(str(record.reason))}"
            self._console.print(text, highlight=False, soft_wrap=True)


def duration_left(seconds: float | None) -> str:
    """Return the time left in words."""
    if seconds is None:
        return ""
    return f"about {seconds / _ENOUGH:.0f} min left" if seconds >= 2 * _ENOUGH else f"about {seconds:.0f} s left"
