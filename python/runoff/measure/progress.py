"""Progress while measuring: a bar on a terminal, else a line now and then. Nothing is drawn while a process runs."""

from __future__ import annotations

import time
from statistics import fmean
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from runoff.measure.job import Job
    from runoff.measure.stopping import Sampling
    from runoff.records.schema import Record

_WIDEST = 60
"""Characters of a description: the bar and the time have to fit next to it."""
_SILENCE_S = 30.0
"""Not on a terminal, a line is printed at least this often, unless a single job takes longer."""


class Estimate:
    """Time left, by durations so far: of the case in the probe, else of others in it, else of the case, else of any."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left = [(_key(job), job.probe.name) for job in jobs]
        self._known: dict[tuple[str, str], float] = {}
        """The latest duration in seconds, by case and probe."""
        self._by_case: dict[str, float] = {}
        self._by_probe: dict[str, float] = {}
        """The mean over cases."""

    def passed(self, case: str, probe: str, seconds: float) -> None:
        """Note that `probe` of `case` (or of interleaved cases) took `seconds`, and count it as done."""
        self._known[case, probe] = self._by_case[case] = seconds
        self._by_probe[probe] = fmean(took for (_, one), took in self._known.items() if one == probe)
        if (case, probe) in self._left:
            self._left.remove((case, probe))

    def dropped(self, case: str) -> None:
        """Note that `case` will not be started again."""
        self._left = [job for job in self._left if job[0] != case]

    def seconds_left(self) -> float | None:
        """Return the estimate, or ``None`` before anything was measured."""
        return sum(self.seconds(*job) for job in self._left) if self._known else None

    def seconds(self, case: str, probe: str) -> float:
        """Return the expected duration of `probe` of `case`; 0 before anything was measured."""
        for known in (self._known.get((case, probe)), self._by_probe.get(probe), self._by_case.get(case)):
            if known is not None:
                return known
        return fmean(self._by_case.values()) if self._by_case else 0.0


def _key(job: Job) -> str:
    return " ".join(case.id for case in job.cases)


class Bar:
    """A progress bar with the time left, or lines of it; a `runoff.measure.execute.Listener`."""

    def __init__(self, jobs: list[Job], sampling: Sampling, console: Console) -> None:
        self._sampling = sampling
        self._estimate = Estimate(jobs)
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[left]}"),
            console=console,
            auto_refresh=False,  # a refreshing thread would disturb what is being timed
            transient=True,
        )
        self._task = self._progress.add_task("", total=len(jobs), left="")
        self._began, self._printed = 0.0, -_SILENCE_S

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def starting(self, job: Job) -> None:
        """Show the job that runs now."""
        self._began = time.monotonic()
        until = self._sampling.until
        if until is None:
            left = duration_left(self._estimate.seconds_left())
        else:
            left = f"{job.probe.name}: {duration_left(until - self._began)}"
        self._progress.update(self._task, description=escape(_shortened(job.name)), left=left)
        if self._console.is_terminal:
            self._progress.refresh()
        elif self._began + self._estimate.seconds(_key(job), job.probe.name) >= self._printed + _SILENCE_S:
            self._print_line(job, left)

    def _print_line(self, job: Job, left: str) -> None:
        """Print a line in place of the bar, and flush it: the output may be a pipe."""
        self._printed, task = self._began, self._progress.tasks[self._task]
        parts = [f"{task.completed:.0f} of {task.total:.0f} done", left, f"now: {job.name}"]
        self._console.print(", ".join(filter(None, parts)), highlight=False, markup=False, soft_wrap=True)
        self._console.file.flush()

    def finished(self, job: Job, records: Sequence[Record]) -> None:
        """Count the job, and report failures immediately."""
        self._estimate.passed(_key(job), job.probe.name, time.monotonic() - self._began)
        task = self._progress.tasks[self._task]
        # a pass that continues until its precision is reached has more jobs than were counted in advance
        self._progress.update(self._task, advance=1, total=max(task.total or 0, task.completed + 1))
        for record in records:
            if record.status in ("error", "unsupported"):
                self._estimate.dropped(record.case)
                text = f"[red]{record.status}[/] {record.case}, {record.probe}: {escape(str(record.reason))}"
                self._console.print(text, highlight=False, soft_wrap=True)


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def duration_left(seconds: float | None) -> str:
    """Return the time left as text."""
    if seconds is None:
        return ""
    if seconds < 0:
        return "out of time, finishing the block"
    return f"about {seconds / 60:.0f} min left" if seconds >= 120 else f"about {seconds:.0f} s left"  # noqa: PLR2004
