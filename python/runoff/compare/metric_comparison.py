"""How one case stands to another on one metric: paired where they ran side by side, by process where not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from runoff.analysis.metric_samples import pair
from runoff.analysis.verdict import BETTER_WORSE, differs, floor_of, words
from runoff.statistics import Estimate, Ratio, adjust, mean, median, paired, percentile, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from runoff.analysis.metric_samples import MetricSamples
    from runoff.compare.measurements import Measurements, Member
    from runoff.compare.metrics import Metric

    Logs = list[NDArray[np.float64]]

Side = tuple["Measurements", "Member"]
"""A case and what it is a case of."""
RAW = ""
"""Not relative to anything: the values themselves."""
NOTHING = Estimate(nan, nan, nan, 0)
_NO_RATIO = Ratio(nan, nan, nan, 0, nan)


class MetricComparison(Struct, frozen=True, kw_only=True):
    """One line of a comparison: `second` held against `first`, on one metric."""

    label: str
    metric: str
    unit: str = ""
    first: Estimate = NOTHING
    second: Estimate = NOTHING
    relative_to: str = RAW
    """The target in whose ratios both were compared; empty when the values themselves were."""
    paired: bool = False
    """Whether both were measured side by side."""
    ratio: Ratio = _NO_RATIO
    """First by second: above 1 is better than the first."""
    floor: float | None = None
    p_adjusted: float = nan
    reason: str = ""
    """Why the two cannot be compared; empty when they can."""

    @property
    def verdict(self) -> str:
        """The verdict in the words of every report."""
        if self.reason:
            return f"not comparable: {self.reason}"
        return words(self.ratio, self.p_adjusted, self.floor, self.unit)

    @property
    def differs(self) -> bool:
        """Whether there is a difference: beyond the noise floor, and not by chance."""
        return not self.reason and differs(self.ratio, self.p_adjusted, self.floor)

    @property
    def change(self) -> tuple[float, float, float]:
        """How much larger the second is, with its interval: 0.05 is 5 % more."""
        return 1 / self.ratio.value - 1, 1 / self.ratio.high - 1, 1 / self.ratio.low - 1


def adjusted(lines: Iterable[MetricComparison]) -> list[MetricComparison]:
    """Return `lines` with p-values corrected for the many comparisons of each metric."""
    lines = list(lines)
    families: defaultdict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        families[line.metric].append(place)
    for places in families.values():
        ps = adjust(np.array([lines[place].ratio.p for place in places], dtype=np.float64))
        for place, p in zip(places, ps, strict=True):
            lines[place] = msgspec.structs.replace(lines[place], p_adjusted=float(p))
    return lines


def estimate(cell: MetricSamples, metric: Metric) -> Estimate:
    """Return the estimate of `metric` over all processes of `cell`."""
    if metric.quantile is not None:
        return percentile(cell.processes, metric.quantile) or NOTHING
    return mean(cell.processes) if metric.statistic == "mean" else median(cell.processes)


def paired_logs(first: Side, second: Side, metric: Metric) -> Logs:
    """Return ln(first / second) by block of one run, each of shape ``(pairs,)``; blocks that only one has are left out.

    Live processes that took turns give a pair for each iteration; others give one for each block.
    """
    (data, one), (_, other) = first, second
    theirs, mine = data.cell(one, metric), data.cell(other, metric)
    if theirs is None or mine is None:
        return []
    together = data.together(one) & data.together(other) if metric.probe == "latency" else frozenset()
    return pair(_condensed(mine, metric), _condensed(theirs, metric), together)


def _condensed(cell: MetricSamples, metric: Metric) -> MetricSamples:
    """Return `cell` with one value for each process, where the metric is not the median."""
    if metric.statistic == "median":
        return cell
    values = tuple(np.array([metric.of(samples)]) for samples in cell.processes)
    return replace(cell, processes=values)


def by_process(cell: MetricSamples, metric: Metric) -> Logs:
    """Return the samples above zero of each process, or the metric's statistic of each."""
    condensed = _condensed(cell, metric).processes
    return [positive for samples in condensed if len(positive := samples[samples > 0])]


def noise_floor(data: Measurements, comparison: str, metric: Metric) -> float | None:
    """Return the noise floor of a comparison on `metric`, from its baseline against itself; None without a twin."""
    control, baseline = data.control(comparison), data.baseline(comparison)
    if control is None or baseline is None:
        return None
    logs = paired_logs((data, baseline), (data, control), metric)
    return floor_of(paired(logs)) if logs else None


def within(data: Measurements, first: Member, second: Member, metric: Metric, label: str) -> MetricComparison:
    """Return how `second` stands to `first`, two cases of one comparison of one run."""
    one, other, reason = _cells((data, first), (data, second), metric)
    if one is None or other is None or reason:
        return MetricComparison(label=label, metric=str(metric), reason=reason)
    logs = paired_logs((data, first), (data, second), metric)
    ratio = paired(logs) if logs else unpaired(by_process(one, metric), by_process(other, metric))
    return MetricComparison(
        label=label,
        metric=str(metric),
        unit=one.unit,
        first=estimate(one, metric),
        second=estimate(other, metric),
        paired=bool(logs),
        ratio=ratio,
        floor=noise_floor(data, first.comparison, metric),
    )


def across(first: Side, second: Side, metric: Metric, label: str, relative_to: str = RAW) -> MetricComparison:
    """Return how a case of one run stands to a case of another.

    With `relative_to`, the ratio of each to that target in its own run is compared, so that what made one
    whole run slower cancels; otherwise the values by process are.
    """
    one, other, reason = _cells(first, second, metric)
    if one is None or other is None or reason:
        return MetricComparison(label=label, metric=str(metric), reason=reason)
    samples = [by_process(one, metric), by_process(other, metric)]
    if relative_to:
        samples = [shares(side, metric, relative_to) for side in (first, second)]
    if not all(samples):
        return MetricComparison(
            label=label, metric=str(metric), reason=f"nothing above zero of {relative_to or label} to pair it with"
        )
    return MetricComparison(
        label=label,
        metric=str(metric),
        unit=one.unit,
        first=estimate(one, metric),
        second=estimate(other, metric),
        relative_to=relative_to,
        ratio=unpaired(*samples),
        floor=worse(*(noise_floor(data, member.comparison, metric) for data, member in (first, second))),
    )


def shares(side: Side, metric: Metric, relative_to: str) -> Logs:
    """Return a case's value as a part of the target `relative_to`'s, by block, each of shape ``(pairs,)``."""
    data, member = side
    base = next((peer for peer in data.peers(member.comparison) if peer.target == relative_to), None)
    return [np.exp(-logs) for logs in paired_logs((data, base), side, metric)] if base else []


def worse(one: float | None, other: float | None) -> float | None:
    """Return the larger of two floors; None when one is not known."""
    return None if one is None or other is None else max(one, other)


def _cells(first: Side, second: Side, metric: Metric) -> tuple[MetricSamples | None, MetricSamples | None, str]:
    sides = (first, second)
    found = [data.cell(member, metric) for data, member in sides]
    for (_, member), cell in zip(sides, found, strict=True):
        why = member.failures.get(metric.probe) or ("" if cell else f"no {metric} was measured")
        if why or cell is None:
            return None, None, f"{member.target}: {why}"
        if short := metric.lacks(cell):
            return None, None, f"{member.target}: {short}"
    if found[0] and found[0].unit not in BETTER_WORSE:
        return None, None, f"{metric} is neither better nor worse when it is more"
    if found[0] and found[1] and found[0].unit != found[1].unit:
        return None, None, f"{metric} is in {found[0].unit} and in {found[1].unit}"
    return found[0], found[1], ""
