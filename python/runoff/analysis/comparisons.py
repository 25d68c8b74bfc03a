"""Comparison of two cases on one metric: paired if they were interleaved, by process if not."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from math import nan
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from runoff.analysis.metric_samples import Metric, pair
from runoff.analysis.verdict import BETTER_WORSE, Verdict, decide, floor_of, not_comparable
from runoff.probes import PROBES, is_interleaved
from runoff.statistics import Estimate, Ratio, adjust, mean, median, paired, percentile, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from runoff.analysis.measurements import Measurements, Member
    from runoff.analysis.metric_samples import Key, MetricSamples

    Logs = list[NDArray[np.float64]]

Side = tuple["Measurements", "Member"]
"""A case and the measurements it belongs to."""
RAW = ""
"""Not relative to any target: the values themselves."""
NOTHING = Estimate(nan, nan, nan, 0)
_NO_PAIRS = "no block has values above zero of both"
_NO_RATIO = Ratio(nan, nan, nan, 0, nan)


class MetricComparison(Struct, frozen=True, kw_only=True):
    """One line of a comparison: `second` compared with `first`, on one metric."""

    label: str
    metric: str
    unit: str = ""
    first: Estimate = NOTHING
    second: Estimate = NOTHING
    relative_to: str = RAW
    """The target that both are relative to; empty if raw values were compared."""
    paired: bool = False
    """Whether both were measured in the same blocks of one run."""
    ratio: Ratio = _NO_RATIO
    """First / second: above 1 is better than the first."""
    floor: float | None = None
    family: str = ""
    """Comparisons of one metric and one family are corrected together."""
    counts: bool = True
    """Whether it is in the family; an A/A control is corrected as if it were, and does not change the others."""
    cases: tuple[str, ...] = ()
    """The two cases, sorted, if both are of one run: in either order they are one hypothesis."""
    p_adjusted: float = nan
    reason: str = ""
    """Reason why the two cannot be compared; empty if they can."""

    @property
    def verdict(self) -> Verdict:
        """The verdict, as in every report."""
        if self.reason:
            return not_comparable(self.reason, self.unit)
        return decide(self.ratio, self.p_adjusted, self.floor, self.unit)

    @property
    def change(self) -> tuple[float, float, float]:
        """Relative change from first to second, with its interval: 0.05 is 5% more."""
        return 1 / self.ratio.value - 1, 1 / self.ratio.high - 1, 1 / self.ratio.low - 1


def run_verdicts(data: Measurements) -> dict[Key, dict[str, Verdict]]:
    """Return the verdicts on each metric of each case of a run, by the target of the baseline.

    Metrics without a meaningful ratio have none, nor do the null runners and cases without a baseline.
    """

    @cache
    def floor(comparison: str, metric: Metric) -> float | None:
        return noise_floor(data, comparison, metric)

    members = {member.case: member for member in data.members if member.computes}
    verdicts: defaultdict[Key, dict[str, Verdict]] = defaultdict(dict)
    lines: dict[tuple[Key, str], MetricComparison] = {}
    for key, cell in data.cells.items():
        member = members.get(key.case)
        if member is None or cell.unit not in BETTER_WORSE:
            continue
        metric = Metric(key.probe, key.metric)
        for base in data.compared_with(member.comparison):
            verdicts[key][base.target] = Verdict("baseline", unit=cell.unit)
            if base is not member or key.probe in member.failures:
                line = _compared(data, base, member, metric, floor(member.comparison, metric))
                why = line.reason or ("" if line.paired else _NO_PAIRS)
                lines[key, base.target] = msgspec.structs.replace(line, reason=why)
    for (key, baseline), line in zip(lines, adjusted(lines.values()), strict=True):
        verdicts[key][baseline] = line.verdict
    return verdicts


def adjusted(lines: Iterable[MetricComparison]) -> list[MetricComparison]:
    """Return `lines` with p-values corrected for many comparisons; those of one metric and family together.

    A pair of cases counts once, in whichever order it was compared.
    """
    lines = list(lines)
    families: defaultdict[tuple[str, str], dict[object, float]] = defaultdict(dict)
    for place, line in enumerate(lines):
        if line.counts and not line.reason:
            families[line.metric, line.family].setdefault(line.cases or place, line.ratio.p)
    corrected = {name: dict(zip(ps, adjust(list(ps.values())), strict=True)) for name, ps in families.items()}

    def p_of(place: int, line: MetricComparison) -> float:
        name = line.metric, line.family
        if line.counts and not line.reason:
            return corrected[name][line.cases or place]
        return adjust([*families[name].values(), line.ratio.p])[-1]

    return [msgspec.structs.replace(line, p_adjusted=p_of(place, line)) for place, line in enumerate(lines)]


def in_run(data: Measurements, wanted: Sequence[tuple[Member, Member, Metric, str]]) -> list[MetricComparison]:
    """Return a comparison within one run for each of `wanted`: first case, second case, metric and label.

    They are corrected as in the report of the run: with all others of their families, whichever are wanted.
    """
    lines = [within(data, *one) for one in wanted]
    others = [
        _compared(data, base, member, metric, None)
        for metric in dict.fromkeys(metric for _, _, metric, _ in wanted)
        for member in data.members
        if member.computes and member.control_of is None
        for base in data.compared_with(member.comparison)
        if base is not member
    ]
    return adjusted([*lines, *(line for line in others if line.paired)])[: len(lines)]


def _family(data: Measurements, first: Member, second: Member) -> str:
    """Return the family of a comparison within a run: its baseline, the later one if both cases are baselines."""
    targets = [base.target for base in data.compared_with(first.comparison) if base in (first, second)]
    return targets[-1] if targets else first.target


def estimate(cell: MetricSamples, metric: Metric) -> Estimate:
    """Return the estimate of `metric` over all processes of `cell`."""
    if metric.quantile is not None:
        return percentile(cell.processes, metric.quantile) or NOTHING
    return mean(cell.processes) if metric.statistic == "mean" else median(cell.processes)


def paired_logs(first: Side, second: Side, metric: Metric) -> Logs:
    """Return ln(first / second) by block of one run, each of shape ``(pairs,)``, for the blocks that both have.

    Interleaved live processes give a pair for each iteration; others give one for each block.
    """
    (data, one), (_, other) = first, second
    theirs, mine = data.cell(one, metric), data.cell(other, metric)
    if theirs is None or mine is None:
        return []
    together = data.together(one) & data.together(other) if is_interleaved(metric.probe) else frozenset()
    return pair(metric.condensed(mine), metric.condensed(theirs), together)


def by_process(cell: MetricSamples, metric: Metric) -> Logs:
    """Return the samples above zero of each process, or the metric's statistic of each."""
    condensed = metric.condensed(cell).processes
    return [positive for samples in condensed if len(positive := samples[samples > 0])]


def noise_floor(data: Measurements, comparison: str, metric: Metric) -> float | None:
    """Return the noise floor of a comparison on `metric`: that of its A/A control, at least the step of the metric.

    None without a control and without steps.
    """
    least = PROBES[metric.probe].resolution.get(metric.cell) if metric.probe in PROBES else None
    control, baseline = data.control(comparison), data.baseline(comparison)
    if control is None or baseline is None or any(metric.probe in one.failures for one in (control, baseline)):
        return least
    logs = paired_logs((data, baseline), (data, control), metric)
    found = floor_of(paired(logs)) if logs else None
    return found if least is None else max(least, found or 0.0)


def within(data: Measurements, first: Member, second: Member, metric: Metric, label: str) -> MetricComparison:
    """Return the comparison of `second` with `first`, two cases of one comparison of one run."""
    line = _compared(data, first, second, metric, noise_floor(data, first.comparison, metric))
    one, other = data.cell(first, metric), data.cell(second, metric)
    if line.reason or one is None or other is None:
        return msgspec.structs.replace(line, label=label)
    return msgspec.structs.replace(line, label=label, first=estimate(one, metric), second=estimate(other, metric))


def _compared(
    data: Measurements, first: Member, second: Member, metric: Metric, floor: float | None
) -> MetricComparison:
    """Return the comparison of two cases of one run, without their estimates."""
    one, other, reason = _cells((data, first), (data, second), metric)
    if one is None or other is None:
        return MetricComparison(label=second.case, metric=str(metric), reason=reason)
    logs = paired_logs((data, first), (data, second), metric)
    sides = [] if logs else [by_process(one, metric), by_process(other, metric)]
    if not all(sides):
        return MetricComparison(label=second.case, metric=str(metric), unit=one.unit, reason=_NO_PAIRS)
    return MetricComparison(
        label=second.case,
        metric=str(metric),
        unit=one.unit,
        paired=bool(logs),
        ratio=paired(logs) if logs else unpaired(*sides),
        floor=floor,
        family=_family(data, first, second),
        counts=first.control_of is None and second.control_of is None,
        cases=tuple(sorted((first.case, second.case))),
    )


def across(first: Side, second: Side, metric: Metric, label: str, relative_to: str = RAW) -> MetricComparison:
    """Return the comparison of a case of one run with a case of another.

    With `relative_to`, the ratios of both to that target in their own runs are compared, so a slowdown of an entire
    run cancels out. Without, the values by process are compared.
    """
    one, other, reason = _cells(first, second, metric)
    if one is None or other is None:
        return MetricComparison(label=label, metric=str(metric), reason=reason)
    samples = [by_process(one, metric), by_process(other, metric)]
    if relative_to:
        samples = [shares(side, metric, relative_to) for side in (first, second)]
    if not all(samples):
        both = f"no block has values above zero of both {label} and {relative_to}"
        why = both if relative_to else f"{label} has no value above zero"
        return MetricComparison(label=label, metric=str(metric), reason=why)
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
    """Return a case's value as a fraction of that of the target `relative_to`, by block, each of shape ``(pairs,)``."""
    data, member = side
    base = next((peer for peer in data.peers(member.comparison) if peer.target == relative_to), None)
    return [np.exp(-logs) for logs in paired_logs((data, base), side, metric)] if base else []


def worse(one: float | None, other: float | None) -> float | None:
    """Return the larger of two floors; None if one is unknown."""
    return None if one is None or other is None else max(one, other)


def _cells(first: Side, second: Side, metric: Metric) -> tuple[MetricSamples | None, MetricSamples | None, str]:
    sides = (first, second)
    cells = [data.cell(member, metric) for data, member in sides]
    for (_, member), cell in zip(sides, cells, strict=True):
        why = member.failures.get(metric.probe) or ("" if cell else f"{metric} was not measured")
        if why or cell is None:
            return None, None, f"{member.target}: {why}"
        if short := metric.shortage(cell):
            return None, None, f"{member.target}: {short}"
    if cells[0] and cells[0].unit not in BETTER_WORSE:
        return None, None, f"neither more nor less of {metric} is better"
    if cells[0] and cells[1] and cells[0].unit != cells[1].unit:
        return None, None, f"units of {metric} differ: {cells[0].unit} and {cells[1].unit}"
    return cells[0], cells[1], ""
