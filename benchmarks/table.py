"""The runs of each case, cold, second and warm, from one run of runoff."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from runoff.analysis.comparisons import adjusted, within
from runoff.analysis.metric_samples import Key, Metric
from runoff.analysis.wording import headline, words
from runoff.pytest_plugin.measuring import ERROR, Measuring, PlannedCase
from runoff.report.terminal import titled_table
from runoff.report.text import estimated, full
from runoff.statistics import median

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from runoff.analysis.measurements import Measurements, Member

RUNS = {
    # from the model's file to the first output; a target has some of these phases
    "cold": ("compile", "convert", "load", "inference.first"),
    "run 2": ("inference.second",),
    "warm": ("inference.warm",),
}
"""By run: the parts that add up to it."""
_WARM = Metric("latency", "inference.warm")


class Table:
    """The measurements of `cases`, models and targets. They are made when first read."""

    def __init__(self, cases: Iterable[tuple[str, str]], folder: Path, results: Path | None, time: str) -> None:
        self._cases = {case: PlannedCase(case[0], None, case[1], None, "tensor", {}) for case in cases}
        self._measuring = Measuring(folder, results, time, save=False)

    @cached_property
    def _data(self) -> Measurements:
        return self._measuring.measure(list(self._cases.values()), _WARM, ERROR, "benchmarks")

    def member(self, model: str, target: str) -> Member:
        """Return a case as it was measured."""
        wanted = self._cases[model, target].id
        return next(member for member in self._data.members if member.case == wanted)

    def times_ns(self, member: Member, run: str) -> list[NDArray[np.float64]]:
        """Return the times of a run of `RUNS`, an array for each process."""
        keys = [Key(member.case, _WARM.probe, part) for part in RUNS[run]]
        parts = [self._data.cells[key].processes for key in keys if key in self._data.cells]
        return [np.sum(process, axis=0) for process in zip(*parts, strict=True)]

    def print(self, console: Console) -> None:
        """Print a table for each model, if anything was measured."""
        if "_data" not in self.__dict__:
            return
        for model in dict.fromkeys(model for model, _ in self._cases):
            table = titled_table(f"{model}, 1 thread, batch 1")
            for head in ("target", *RUNS, "warm, against the baseline"):
                table.add_column(head)
            for name, target in self._cases:
                if name == model:
                    table.add_row(target, *self._row(self.member(model, target)))
            console.print(table)
            console.print()

    def _row(self, member: Member) -> list[str]:
        if member.failures:
            return ["failed" if member.failed else "unavailable"]
        times = [full(estimated(median(self.times_ns(member, run)), "ns")) for run in RUNS]
        baseline = self._data.baseline(member.comparison)
        if baseline is None or baseline is member:
            return [*times, "baseline"]
        (line,) = adjusted([within(self._data, baseline, member, _WARM, member.case)])
        return [*times, headline(line.verdict) if line.reason else words(line.verdict)]
