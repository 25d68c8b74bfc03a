"""The checks of a test, by the rules of ``runoff gate``: whether they pass, by how much and how sure."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.comparisons import adjusted, estimate, within
from runoff.analysis.wording import against, decimals, words
from runoff.compare import saved
from runoff.compare.gate import INCLUDED, LimitResult, check_change, check_value
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
    """What was measured, the limit, the distance from it with its interval, and why that may be inconclusive."""


def below(data: Measurements, case: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that a value is at most `limit`."""
    (member, figure), wanted = measured(data, case, metric), limit.text.partition("> ")[2]
    if limit.relative:
        raise RunoffError(f"below takes a value, not a change: {wanted}", "for a change: not_slower_than")
    limit.check_unit(figure.unit)
    result = check_value(_unchecked(member, limit), limit, figure)
    text = f"{member.case}: {metric} {full(figure)}, limit {wanted}: {distance(figure, limit.value)}"
    return _concluded(text, result.note, passed=result.outcome == "passed")


def not_slower(data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that `second` is slower than `first` by at most the share in `limit`."""
    member, line = _comparison(data, first, second, metric)
    return _within_margin(member, line, limit, _name(first, second))


def not_slower_than_saved(
    data: Measurements, earlier: tuple[Saved, str], case: PlannedCase, metric: Metric, limit: Limit
) -> Check:
    """Return the check that a case is slower than in a baseline file by at most the share in `limit`.

    `earlier` is the content of the file, and its name.
    """
    member, _ = measured(data, case, metric)
    (line,) = adjusted([saved.against(earlier[0], data, member, metric)])
    basis = f"relative to {line.relative_to}" if line.relative_to else "in raw values"
    return _within_margin(member, line, limit, f"{earlier[1]} {basis}")


def faster(data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric, limit: Limit) -> Check:
    """Return the check that `second` is distinguishably faster than `first`, by the share in `limit` or more."""
    _, line = _comparison(data, first, second, metric)
    ratio, least = line.ratio, 1 + limit.value
    text = f"{_compared(line, _name(first, second))}, at least {_share(limit)} faster required"
    distant = distance(Figure(ratio.value, ratio.low, ratio.high), least)
    note = INCLUDED if ratio.low <= least <= ratio.high else ""
    return _concluded(f"{text}: {distant}", note, passed=line.verdict.kind == "better" and ratio.value >= least)


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
    why = data.failure(member, metric) or (metric.shortage(cell) if cell else f"no {metric} was measured")
    if why or cell is None:
        raise RunoffError(f"{case.id}: {why}", f"details: runoff report {data.name}")
    return member, estimated(estimate(cell, metric), cell.unit)


def distance(figure: Figure, limit: float) -> str:
    """Return how far a value is from its limit, such as ``16% over (12% to 20%)``."""
    over = figure.value is not None and figure.value > limit

    def share(value: float | None) -> float:
        return nan if value is None or not limit else 100 * (value / limit - 1) * (1 if over else -1)

    value, low, high = share(figure.value), *sorted((share(figure.low), share(figure.high)))
    places = decimals(value, low, high)
    interval = "" if figure.low is None else f" ({low:.{places}f}% to {high:.{places}f}%)"
    return f"{value:.{places}f}% {'over' if over else 'under'}{interval}"


def _comparison(
    data: Measurements, first: PlannedCase, second: PlannedCase, metric: Metric
) -> tuple[Member, MetricComparison]:
    """Return the case `second` and its comparison with `first`, in one run."""
    (one, _), (other, _) = (measured(data, case, metric) for case in (first, second))
    (line,) = adjusted([within(data, one, other, metric, other.case)])
    if line.verdict.kind == "not comparable":
        raise RunoffError(f"{line.label}: {words(line.verdict)}", "measure longer: --runoff-time")
    return other, line


def _within_margin(member: Member, line: MetricComparison, limit: Limit, name: str) -> Check:
    result = check_change(_unchecked(member, limit), limit, line)
    if result.outcome == "failed":
        raise RunoffError(f"{line.label}: {result.note}", "measure longer: --runoff-time")
    value, low, high = (1 + change for change in line.change)
    distant = distance(Figure(value, low, high), 1 + limit.value)
    text = f"{_compared(line, name)}, margin {_share(limit)}: {distant}"
    return _concluded(text, result.note, passed=result.outcome == "passed")


def _unchecked(member: Member, limit: Limit) -> LimitResult:
    return LimitResult(
        outcome="failed", case=member.case, target=member.target, comparison=member.comparison, limit=limit.text
    )


def _concluded(text: str, note: str, *, passed: bool) -> Check:
    return Check(passed, f"{text} [inconclusive: {note}]" if note else text)


def _compared(line: MetricComparison, name: str) -> str:
    return f"{line.label}: {line.metric} {full(estimated(line.second, line.unit))}, {against(line.verdict, name)}"


def _share(limit: Limit) -> str:
    return limit.text.partition("+")[2]


def _name(first: PlannedCase, second: PlannedCase) -> str:
    """Return what distinguishes the first of two cases."""
    return first.target if first.target != second.target else first.id
