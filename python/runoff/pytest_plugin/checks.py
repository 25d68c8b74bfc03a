"""The checks of a test, by the rules of ``runoff gate``: whether they pass, by how much and how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from runoff.analysis.comparisons import adjusted, estimate, within
from runoff.analysis.wording import against, decimals, words
from runoff.compare import saved
from runoff.compare.gate import INCLUDED, exceeds
from runoff.records.errors import RunoffError
from runoff.report.text import Figure, estimated, full

if TYPE_CHECKING:
    from runoff.analysis.comparisons import MetricComparison
    from runoff.analysis.measurements import Measurements, Member
    from runoff.analysis.metric_samples import Metric
    from runoff.compare.limits import Limit
    from runoff.compare.saved import Saved
    from runoff.pytest_plugin.measuring import PlannedCase


class Check(Struct, frozen=True):
    """The outcome of a check."""

    passed: bool
    text: str
    """What was measured, the limit, and the distance from it with its interval."""


def below(data: Measurements, case: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that a value is at most `limit`; the estimate decides."""
    (member, figure), wanted = measured(data, case, metric), limit.text.partition("> ")[2]
    if limit.relative:
        raise RunoffError(f"below takes a value, not a change: {wanted}", "for a change: not_slower_than")
    limit.check_unit(figure.unit)
    passed = figure.value is not None and not limit.beyond(figure.value)
    return Check(passed, f"{member.case}: {metric} {full(figure)}, limit {wanted}: {distance(figure, limit.value)}")


def faster(data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that `second` is faster than `first`: distinguishably, and by the share in `limit` or more."""
    line = _comparison(data, first, second, metric)
    passed = line.verdict.kind == "better" and line.ratio.value >= 1 + limit.value
    figure = Figure(line.ratio.value, line.ratio.low, line.ratio.high)
    wanted = f"at least {_wanted(limit)} faster required"
    return Check(passed, f"{_compared(line, _name(first, second))}, {wanted}: {distance(figure, 1 + limit.value)}")


def not_slower(data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that `second` is slower than `first` by at most the share in `limit`, as in ``runoff gate``."""
    return _within_margin(_comparison(data, first, second, metric), limit, _name(first, second))


def not_slower_than_saved(
    data: Measurements, earlier: tuple[Saved, str], case: PlannedCase, metric: Metric, limit: Limit
) -> Check:
    """Return the check that a case is slower than in a baseline file by at most the share in `limit`.

    `earlier` is the content of the file, and its name.
    """
    member, _ = measured(data, case, metric)
    (line,) = adjusted([saved.against(earlier[0], data, member, metric)])
    check = _within_margin(line, limit, earlier[1])
    basis = f"relative to {line.relative_to} in both runs" if line.relative_to else "raw values of two runs"
    return Check(check.passed, f"{check.text} ({basis})")


def saved_as(data: Measurements, case: PlannedCase, metric: Metric, file: str) -> Check:
    """Return the check of a case that was written to a baseline file: it was measured."""
    member, figure = measured(data, case, metric)
    return Check(passed=True, text=f"{member.case}: {metric} {full(figure)}, saved as the baseline in {file}")


def measured(data: Measurements, case: PlannedCase, metric: Metric) -> tuple[Member, Figure]:
    """Return a case of a run with its value.

    Raises
    ------
    RunoffError
        If it has none, or one that does not count.
    """
    member = next(member for member in data.members if member.case == case.id)
    cell = data.cell(member, metric)
    unfair = data.unfair.get(member.comparison, ())
    why = (
        member.failures.get(metric.probe)
        or member.failed
        or (f"the fairness audit failed: {unfair[0]}" if unfair else "")
    )
    if not why:
        why = metric.shortage(cell) if cell else f"no {metric} was measured"
    if why or cell is None:
        raise RunoffError(f"{case.id}: {why}", f"details: runoff report {data.name}")
    return member, estimated(estimate(cell, metric), cell.unit)


def _comparison(data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric) -> MetricComparison:
    """Return the comparison of `second` with `first`, in one run."""
    (one, _), (other, _) = (measured(data, case, metric) for case in (first, second))
    (line,) = adjusted([within(data, one, other, metric, other.case)])
    return line


def _within_margin(line: MetricComparison, limit: Limit, name: str) -> Check:
    if line.verdict.kind == "not comparable":
        raise RunoffError(f"{line.label}: {words(line.verdict)}", "measure longer: --runoff-time")
    value, low, high = (1 + change for change in line.change)
    text = f"{_compared(line, name)}, margin {_wanted(limit)}: {distance(Figure(value, low, high), 1 + limit.value)}"
    return Check(not exceeds(limit, line), text)


def _compared(line: MetricComparison, name: str) -> str:
    value = full(estimated(line.second, line.unit))
    return f"{line.label}: {line.metric} {value}, {against(line.verdict, name)}"


def _wanted(limit: Limit) -> str:
    return limit.text.partition("+")[2]


def _name(first: PlannedCase, second: PlannedCase) -> str:
    """Return what distinguishes the first of two cases."""
    return first.target if first.target != second.target else first.id


def distance(figure: Figure, limit: float) -> str:
    """Return how far a value is from its limit: ``16% over (12% to 20%)``; then, whether the interval includes it."""
    if figure.value is None or not limit:
        return "over" if (figure.value or 0) > limit else "within"
    sign = 1 if figure.value > limit else -1
    side: Literal["over", "under"] = "over" if sign > 0 else "under"
    bounds = [figure.low, figure.high][::sign]
    value = 100 * sign * (figure.value / limit - 1)
    if None in bounds:
        return f"{value:.{decimals(value, 0, 0)}f}% {side}"
    low, high = (100 * sign * (bound / limit - 1) for bound in bounds if bound is not None)
    places = decimals(value, low, high)
    note = f"; {INCLUDED}" if low <= 0 <= high else ""
    return f"{value:.{places}f}% {side} ({low:.{places}f}% to {high:.{places}f}%){note}"
