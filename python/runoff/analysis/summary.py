"""From samples to ``summary.csv``: an estimate with its interval for every metric, and how it compares.

`ratio` is the baseline's value divided by the case's own, for times, memory and counts: how many times
faster, smaller or fewer, so that above 1 is better than the baseline. Null runners get estimates, no ratio.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from runoff.analysis import counters
from runoff.analysis.cells import Cell, Key, cells
from runoff.analysis.statistics import Estimate, fewest_samples, median, percentile
from runoff.analysis.trust import State, computes, disagreements, state
from runoff.analysis.verdict import BASELINE, BASELINES, BETTER_WORSE, Comparison, compare, not_comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from runoff.plan import Case
    from runoff.store import Record, Run

COLUMNS = [
    *("case", "target", "model", "workload", "profile", "probe", "metric", "unit"),
    *("n", "estimate", "low", "high"),
    *("baseline", "ratio", "ratio_low", "ratio_high", "verdict", "status", "reason"),
]
HEADLINE = {
    "process": ("wall", "ns"),
    "life": ("whole", "ns"),
    "latency": ("inference.warm", "ns"),
    "counters": ("instructions", "count"),
    "memory": ("peak_memory", "bytes"),
    "accuracy": ("max_rel_diff", "ratio"),
}
"""The metric, with its unit, that stands for a probe that gave nothing."""
QUANTILES = {"p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_WORST: dict[str, Callable[[NDArray[np.float64]], float]] = {"cosine": np.min, "top1_agrees": np.mean}
_NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


class _Line(NamedTuple):
    """A row before it is compared with anything."""

    probe: str
    metric: str
    unit: str
    estimate: Estimate
    state: State
    cell: Cell | None = None


def summarise(run: Run, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of `run` with the columns `COLUMNS`.

    A row for each case, metric and baseline; metrics without one have a row with an empty `baseline`.
    What was asked for and not measured has a row with `n` 0, its `status` and the `reason`.

    Parameters
    ----------
    run
        The run.
    samples
        Its tidy samples, from `runoff.analysis.samples.tidy`.
    """
    return pd.DataFrame(_Summary(run, samples).rows(), columns=COLUMNS)


class _Summary:
    """The state that the rows share."""

    def __init__(self, run: Run, samples: pd.DataFrame) -> None:
        self.run = run
        self.seed = run.info.seed
        self.cells = cells(samples)
        self.wrong = disagreements(run)
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        for record in run.records:
            self.records[record.case].append(record)
        self.peers: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
        for case in run.info.cases:
            self.peers[case.comparison].append(case)
        self.keys: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in self.cells:
            self.keys[key.case, key.probe].append(key)

    def rows(self) -> Iterator[tuple[object, ...]]:
        for case in self.run.info.cases:
            for probe in case.probes:
                for line in self._lines(case, probe):
                    yield from self._compared(case, line)

    def _lines(self, case: Case, probe: str) -> Iterator[_Line]:
        records = self.records[case.id]
        found = state(case, records, self.wrong, probe)
        keys = self.keys[case.id, probe]
        if not keys:
            silent = probe == "counters" or not computes(self.run, case.target)
            if found.status == "ok" and not silent:
                found = State("not-measured", f"the {probe} records hold no value that runoff knows")
            if found.status != "ok":
                metric, unit = HEADLINE.get(probe, ("", ""))
                yield _Line(probe, metric, unit, _NOTHING, found)
        for key in keys:
            cell = self.cells[key]
            yield _Line(probe, key.metric, cell.unit, self._estimate(key, cell), found, cell)
            if key.metric.endswith(".warm"):
                yield from _percentiles(probe, key.metric, cell, found)
        if found.status == "ok" and probe == "counters":
            yield from _uncounted(records, {key.metric for key in keys})

    def _estimate(self, key: Key, cell: Cell) -> Estimate:
        if key.probe != "accuracy":
            return median(cell.processes, self.seed)
        values = cell.pooled()
        worst = _WORST.get(key.metric, np.max)
        return Estimate(float(worst(values)), np.nan, np.nan, len(values))

    def _compared(self, case: Case, line: _Line) -> Iterator[tuple[object, ...]]:
        head = (case.id, case.target, case.model, case.workload, case.settings.profile)
        estimate = line.estimate
        for name, comparison in self._comparisons(case, line):
            yield (
                *head,
                *(line.probe, line.metric, line.unit),
                *(estimate.n, estimate.value, estimate.low, estimate.high),
                *(name, comparison.ratio, comparison.low, comparison.high, comparison.verdict),
                *(line.state.status, line.state.reason),
            )

    def _comparisons(self, case: Case, line: _Line) -> list[tuple[str, Comparison]]:
        if line.cell is None or line.unit not in BETTER_WORSE or not computes(self.run, case.target):
            return [("", Comparison(""))]
        baselines = [(name, self._baseline(case, name)) for name in BASELINES]
        existing = [(name, baseline) for name, baseline in baselines if baseline is not None]
        return [(name, self._comparison(case, line, other)) for name, other in existing] or [("", Comparison(""))]

    def _baseline(self, case: Case, target: str) -> Case | None:
        """Return the case of the target `target` that `case` may be compared with."""
        return next((peer for peer in self.peers[case.comparison] if peer.target == target), None)

    def _comparison(self, case: Case, line: _Line, baseline: Case) -> Comparison:
        if line.cell is None or line.state.status != "ok":
            return not_comparable(line.state.reason)
        if baseline.id == case.id:
            return Comparison(BASELINE)
        theirs = state(baseline, self.records[baseline.id], self.wrong, line.probe)
        if theirs.status != "ok":
            return not_comparable(f"{baseline.target}: {theirs.reason}")
        other = self.cells.get(Key(baseline.id, line.probe, line.metric))
        if other is None:
            return not_comparable(f"{baseline.target} has no {line.metric}")
        return compare(line.cell, other, self.seed)


def _percentiles(probe: str, metric: str, cell: Cell, found: State) -> Iterator[_Line]:
    values = cell.pooled()
    for name, q in QUANTILES.items():
        bound = percentile(values, q)
        if bound is None:
            reason = f"{name} needs {fewest_samples(q):,} samples at 99 % confidence"
            few = State("not-measured", reason)
            yield _Line(probe, f"{metric}.{name}", cell.unit, Estimate(np.nan, np.nan, np.nan, len(values)), few)
        else:
            yield _Line(probe, f"{metric}.{name}", cell.unit, bound, found)


def _uncounted(records: list[Record], counted: set[str]) -> Iterator[_Line]:
    """Yield a row for each counter that the machine does not have; it is never printed as zero."""
    missing = {
        count.metric: count
        for record in records
        if record.probe == "counters"
        for count in counters.read_events(record.tool)
        if count.value is None and count.metric not in counted
    }
    for count in missing.values():
        yield _Line("counters", count.metric, count.unit, _NOTHING, State("not-measured", count.reason))
