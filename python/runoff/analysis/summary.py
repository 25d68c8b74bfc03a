"""From samples to ``summary.csv``: an estimate with its interval for every metric, and how it compares.

`ratio` is the baseline's value divided by the case's own, for times, memory and counts: how many times
faster, smaller or fewer. Above 1 is better than the baseline. Null runners get estimates, no ratio.
`floor` and `p_adjusted` decide the verdict; `stability` is filled in by `analyse`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from runoff.analysis.comparisons import run_verdicts
from runoff.analysis.measurements import measured
from runoff.analysis.metric_samples import Key, MetricSamples
from runoff.analysis.samples import tidy
from runoff.analysis.validity import State, computes, excluded, state
from runoff.analysis.verdict import Verdict
from runoff.analysis.wording import words
from runoff.probes import PROBES
from runoff.probes.base import DISTRIBUTED, Probe
from runoff.records.protocol import Once
from runoff.statistics import Estimate, effective_samples, fewest_samples, mean, median, outliers, percentile, share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from runoff.probes.base import Aggregate, Shortfall
    from runoff.records.schema import Case, Run

COLUMNS = [
    *("case", "target", "model", "workload", "profile", "probe", "metric", "unit"),
    *("n", "estimate", "low", "high"),
    *("baseline", "ratio", "ratio_low", "ratio_high", "verdict", "status", "reason"),
    *("p_adjusted", "floor", "stability", "verdict_kind", "verdict_reason"),
]
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_AGGREGATES: dict[Aggregate, Callable[[NDArray[np.float64]], float]] = {"min": np.min, "mean": np.mean, "max": np.max}
_NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


class _Line(NamedTuple):
    """A row before any comparison."""

    probe: Probe
    metric: str
    unit: str
    estimate: Estimate
    state: State
    cell: MetricSamples | None = None


def summarise(run: Run, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of `run` with the columns `COLUMNS`.

    A row for each case, metric and baseline; metrics without one have a row with an empty `baseline`.
    Requested metrics without a value have a row with `n` 0, the `status` and the `reason`.
    `samples` are from `runoff.analysis.samples.tidy`.
    """
    return pd.DataFrame(_Summary(run, samples).rows(), columns=COLUMNS)


class _Summary:
    """The state that the rows share."""

    def __init__(self, run: Run, samples: pd.DataFrame) -> None:
        self.run = run
        data = measured(run, samples)
        self.cells = data.cells
        self.wrong = excluded(run)
        self.records = run.by_case()
        self.keys: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in self.cells:
            self.keys[key.case, key.probe].append(key)
        self.verdicts = run_verdicts(data)

    def rows(self) -> Iterator[tuple[object, ...]]:
        for case in self.run.info.cases:
            for name in case.probes:
                # a run of a newer runoff may have a probe that this version does not know
                probe = PROBES.get(name) or Probe(name=name, summary="", measure=Once())
                for line in self._lines(case, probe):
                    yield from self._compared(case, line)

    def _lines(self, case: Case, probe: Probe) -> Iterator[_Line]:
        found = state(case, self.records[case.id], self.wrong, probe.name)
        keys = self.keys[case.id, probe.name]
        meters = self.run.info.meters
        notes: Mapping[str, str] = {}
        shortfalls: list[Shortfall] = []
        if found.status == "ok":
            records = [record for record in self.records[case.id] if record.probe == probe.name]
            notes, shortfalls = probe.notes(records, meters), list(probe.shortfalls(records, meters))
            if not keys and not shortfalls and computes(self.run, case.target):
                found = State("not-measured", f"the {probe.name} records contain no known value")
        if found.status != "ok" and not keys:
            metric, unit = probe.headline
            yield _Line(probe, metric, unit, _NOTHING, found)
        for key in keys:
            note = notes.get(key.metric)
            yield from self._metric_lines(probe, key, State(found.status, note) if note else found, found)
        for shortfall in shortfalls:
            yield _Line(probe, shortfall.metric, shortfall.unit, _NOTHING, State("not-measured", shortfall.reason))

    def _metric_lines(self, probe: Probe, key: Key, noted: State, found: State) -> Iterator[_Line]:
        """Yield the estimate of a metric in state `noted`, and the other statistics of its samples."""
        cell, metric = self.cells[key], key.metric
        yield _Line(probe, metric, cell.unit, _estimate(probe, metric, cell), noted, cell)
        many = metric.endswith(DISTRIBUTED)
        if many:
            yield _Line(probe, f"{metric}.mean", cell.unit, mean(cell.processes), found)
            yield from _percentiles(probe, metric, cell, found)
        if many or (probe.timed and metric == probe.headline[0]):
            yield from _outliers(probe, metric, cell, found)

    def _compared(self, case: Case, line: _Line) -> Iterator[tuple[object, ...]]:
        head = (case.id, case.target, case.model, case.workload, case.settings.profile)
        estimate = line.estimate
        found = self.verdicts.get(Key(case.id, line.probe.name, line.metric)) if line.cell else None
        for name, verdict in (found or {"": Verdict()}).items():
            yield (
                *head,
                *(line.probe.name, line.metric, line.unit),
                *(estimate.n, estimate.value, estimate.low, estimate.high),
                *(name, verdict.ratio, verdict.low, verdict.high, words(verdict)),
                *(line.state.status, line.state.reason),
                *(verdict.p_adjusted, verdict.floor, "", verdict.kind, verdict.reason),
            )


def _estimate(probe: Probe, metric: str, cell: MetricSamples) -> Estimate:
    if metric not in probe.aggregates:
        return median(cell.processes)
    if probe.aggregates[metric] == "share":
        # further processes have the same items, so they add nothing
        return share(cell.processes[0])
    values = cell.pooled()
    return Estimate(float(_AGGREGATES[probe.aggregates[metric]](values)), np.nan, np.nan, len(values))


def _outliers(probe: Probe, metric: str, cell: MetricSamples, found: State) -> Iterator[_Line]:
    """Yield the numbers of mild and severe outliers.

    Samples of one process are compared with each other; single ones with those of the other processes.
    """
    single = all(len(samples) == 1 for samples in cell.processes)
    counts = [outliers(samples) for samples in ([cell.pooled()] if single else cell.processes)]
    n = sum(count.n for count in counts)
    for name in ("mild", "severe"):
        number = sum(getattr(count, name) for count in counts)
        yield _Line(probe, f"{metric}.{name}_outliers", "count", Estimate(number, np.nan, np.nan, n), found)


def _percentiles(probe: Probe, metric: str, cell: MetricSamples, found: State) -> Iterator[_Line]:
    total, count = sum(map(len, cell.processes)), len(cell.processes)
    for name, q in QUANTILES.items():
        bound = percentile(cell.processes, q)
        needed = f"{fewest_samples(q):,} samples at 99% confidence"
        its = found
        if bound is None:
            bound = Estimate(np.nan, np.nan, np.nan, total)
            its = State("not-measured", f"{name} needs {needed}")
        elif np.isnan(bound.low) and found.status == "ok":
            worth = f"these {total:,} of {count} processes are worth {effective_samples(cell.processes, q):,}"
            its = State("ok", f"bounds need {needed}; {worth}")
        yield _Line(probe, f"{metric}.{name}", cell.unit, bound, its)


def widest_interval(run: Run, probe: str) -> tuple[float, str] | None:
    """Return the widest interval of `probe`, half its width relative to the estimate, and its case.

    It is the interval of the ratio to the baseline, on which verdicts are based; of the estimate, if nothing can be
    compared. None without any interval yet.
    """
    lines = summarise(run, tidy(run)).to_dict("records")
    headline = PROBES[probe].headline[0]
    headline_lines = [
        line for line in lines if (line["probe"], line["metric"], line["status"]) == (probe, headline, "ok")
    ]
    ratios = [_relative_width(line, "ratio_low", "ratio_high", "ratio") for line in headline_lines]
    widths = [found for found in ratios if found] or [
        found for line in headline_lines if (found := _relative_width(line, "low", "high", "estimate"))
    ]
    return max(widths, default=None)


def _relative_width(line: dict[Any, Any], low: str, high: str, middle: str) -> tuple[float, str] | None:
    half = (line[high] - line[low]) / 2 / line[middle] if line[middle] else np.nan
    return (float(half), str(line["case"])) if np.isfinite(half) else None
