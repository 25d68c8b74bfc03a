"""From samples to ``summary.csv``: an estimate with its interval for every metric, and how it compares.

`ratio` is the baseline's value divided by the case's own, for times, memory and counts: how many times
faster, smaller or fewer, so that above 1 is better than the baseline. Null runners get estimates, no ratio.
`floor` and `p_adjusted` are what the verdict was held against; `stability` is filled in by `analyse`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from runoff.analysis import counters, energy
from runoff.analysis.comparisons import comparisons
from runoff.analysis.metric_samples import Key, MetricSamples, cells
from runoff.analysis.samples import DEVICE_PEAK
from runoff.analysis.validity import State, computes, disagreements, state
from runoff.analysis.verdict import Comparison
from runoff.statistics import Estimate, effective_samples, fewest_samples, mean, median, outliers, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from runoff.records.schema import Case, Record, Run

COLUMNS = [
    *("case", "target", "model", "workload", "profile", "probe", "metric", "unit"),
    *("n", "estimate", "low", "high"),
    *("baseline", "ratio", "ratio_low", "ratio_high", "verdict", "status", "reason"),
    *("p_adjusted", "floor", "stability"),
]
HEADLINE = {
    "process": ("wall", "ns"),
    "life": ("whole", "ns"),
    "latency": ("inference.warm", "ns"),
    "counters": ("instructions", "count"),
    "memory": ("peak_memory", "bytes"),
    "energy": ("inference", "J"),
    "accuracy": ("max_rel_diff", "ratio"),
}
"""The metric, with its unit, that stands for a probe that gave nothing."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
WITH_OUTLIERS = ("wall", "whole", ".warm")
"""Ends of the metrics whose outliers are counted."""
_WORST: dict[str, Callable[[NDArray[np.float64]], float]] = {"cosine": np.min, "top1_agrees": np.mean}
_NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


class _Line(NamedTuple):
    """A row before it is compared with anything."""

    probe: str
    metric: str
    unit: str
    estimate: Estimate
    state: State
    cell: MetricSamples | None = None


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
        self.cells = cells(samples)
        self.wrong = disagreements(run)
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        for record in run.records:
            self.records[record.case].append(record)
        self.states: dict[tuple[str, str], State] = {}
        self.keys: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in self.cells:
            self.keys[key.case, key.probe].append(key)
        self.comparisons = comparisons(run, self.cells, self._state)

    def _state(self, case: Case, probe: str) -> State:
        name = (case.id, probe)
        if name not in self.states:
            self.states[name] = state(case, self.records[case.id], self.wrong, probe)
        return self.states[name]

    def rows(self) -> Iterator[tuple[object, ...]]:
        for case in self.run.info.cases:
            for probe in case.probes:
                for line in self._lines(case, probe):
                    yield from self._compared(case, line)

    def _lines(self, case: Case, probe: str) -> Iterator[_Line]:
        found = self._state(case, probe)
        keys = self.keys[case.id, probe]
        lacks, notes = self._beside(case, found, probe)
        if not keys:
            silent = probe == "counters" or bool(lacks) or not computes(self.run, case.target)
            if found.status == "ok" and not silent:
                found = State("not-measured", f"the {probe} records hold no value that runoff knows")
            if found.status != "ok":
                metric, unit = HEADLINE.get(probe, ("", ""))
                yield _Line(probe, metric, unit, _NOTHING, found)
        for key in keys:
            cell = self.cells[key]
            its = State(found.status, notes[key.metric]) if key.metric in notes and found.status == "ok" else found
            yield _Line(probe, key.metric, cell.unit, _estimate(key, cell), its, cell)
            if key.metric.endswith(".warm"):
                yield _Line(probe, f"{key.metric}.mean", cell.unit, mean(cell.processes), found)
                yield from _percentiles(probe, key.metric, cell, found)
            if key.metric.endswith(WITH_OUTLIERS):
                yield from _outliers(probe, key.metric, cell, found)
        if found.status == "ok" and probe == "counters":
            yield from _uncounted(self.records[case.id], {key.metric for key in keys})
        for metric, why in lacks.items():
            unit = energy.unit_of(metric) if probe == "energy" else "bytes"
            yield _Line(probe, metric, unit, _NOTHING, State("not-measured", why))

    def _beside(self, case: Case, found: State, probe: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return, by metric of ``energy`` and ``memory``, why a case has no figure, and what stands beside one."""
        own = [record for record in self.records[case.id] if record.probe == probe]
        if found.status != "ok" or probe not in ("energy", "memory"):
            return {}, {}
        if probe == "memory":
            return _device_memory(own)
        live = computes(self.run, case.target)
        return energy.shortfalls(own, self.run.info, live=live), energy.notes(own, self.run.info)

    def _compared(self, case: Case, line: _Line) -> Iterator[tuple[object, ...]]:
        head = (case.id, case.target, case.model, case.workload, case.settings.profile)
        estimate = line.estimate
        found = self.comparisons.get(Key(case.id, line.probe, line.metric)) if line.cell else None
        for name, comparison in (found or {"": Comparison("")}).items():
            yield (
                *head,
                *(line.probe, line.metric, line.unit),
                *(estimate.n, estimate.value, estimate.low, estimate.high),
                *(name, comparison.ratio, comparison.low, comparison.high, comparison.verdict),
                *(line.state.status, line.state.reason),
                *(comparison.p_adjusted, comparison.floor, ""),
            )


def _device_memory(records: list[Record]) -> tuple[dict[str, str], dict[str, str]]:
    """Return why the peak of the GPU's memory is not known of any process, or what was counted of those that are."""
    seen = [record.device_memory for record in records if record.device_memory]
    told = {memory.how: None for memory in seen if memory.peak_bytes is not None}
    if told:
        return {}, {DEVICE_PEAK: f"NVML: {'; '.join(told)}"}
    return ({DEVICE_PEAK: seen[0].reason}, {}) if seen else ({}, {})


def _estimate(key: Key, cell: MetricSamples) -> Estimate:
    if key.probe != "accuracy":
        return median(cell.processes)
    values = cell.pooled()
    worst = _WORST.get(key.metric, np.max)
    return Estimate(float(worst(values)), np.nan, np.nan, len(values))


def _outliers(probe: str, metric: str, cell: MetricSamples, found: State) -> Iterator[_Line]:
    """Yield how many samples are mild and severe outliers.

    Samples of one process are held against each other; single ones against those of the other processes.
    """
    single = all(len(samples) == 1 for samples in cell.processes)
    counts = [outliers(samples) for samples in ([cell.pooled()] if single else cell.processes)]
    n = sum(count.n for count in counts)
    for name in ("mild", "severe"):
        number = sum(getattr(count, name) for count in counts)
        yield _Line(probe, f"{metric}.{name}_outliers", "count", Estimate(number, np.nan, np.nan, n), found)


def _percentiles(probe: str, metric: str, cell: MetricSamples, found: State) -> Iterator[_Line]:
    total, count = sum(map(len, cell.processes)), len(cell.processes)
    for name, q in QUANTILES.items():
        bound = percentile(cell.processes, q)
        needed = f"{fewest_samples(q):,} samples at 99 % confidence"
        its = found
        if bound is None:
            bound = Estimate(np.nan, np.nan, np.nan, total)
            its = State("not-measured", f"{name} needs {needed}")
        elif np.isnan(bound.low) and found.status == "ok":
            worth = f"these {total:,} of {count} processes are worth {effective_samples(cell.processes, q):,}"
            its = State("ok", f"bounds need {needed}; {worth}")
        yield _Line(probe, f"{metric}.{name}", cell.unit, bound, its)


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
