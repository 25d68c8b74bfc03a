"""Changes from each point to the previous one: the same comparison of two runs that ``runoff compare`` makes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.analysis.comparisons import adjusted
from runoff.analysis.verdict import BETTER_WORSE
from runoff.compare import formats
from runoff.compare.pairing import compare_runs
from runoff.compare.show import how
from runoff.history.series import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from runoff.analysis.comparisons import MetricComparison
    from runoff.analysis.measurements import Measurements
    from runoff.compare.pairing import RunComparison
    from runoff.history.series import Series

_Place = tuple[int, int]
"""Number of a series, and of a point in it."""


def with_changes(
    all_series: Sequence[Series], folders: Mapping[str, Path], *, different_machines: bool
) -> tuple[list[Series], list[str]]:
    """Return the series with a change at each point that has a previous one, and notes on them.

    A point is compared with the last one before it that has a value on the same machine; with `different_machines`, on
    any. P-values are corrected over all changes of a metric that are shown. `folders` has the folder of each run.
    """
    comparing = _cached_comparison(folders, [one.metric for one in all_series], different_machines=different_machines)
    comparisons: dict[_Place, MetricComparison] = {}
    against: dict[_Place, str] = {}
    notes: dict[str, None] = {}
    for number, one in enumerate(all_series):
        for place, before in _previous_points(one, different_machines=different_machines):
            first, second = one.points[before].run, one.points[place].run
            comparison = comparing(first, second)
            line = next((x for x in comparison.lines if (x.label, x.metric) == (one.case, one.metric)), None)
            if line is not None:
                comparisons[number, place], against[number, place] = line, first
                notes |= dict.fromkeys(() if line.relative_to else comparison.notes)
    judged = zip(comparisons, adjusted(comparisons.values()), strict=True)
    changes = {key: Change(against=against[key], verdict=line.verdict, how=how(line)) for key, line in judged}
    changed = [
        replace(
            one,
            points=[replace(point, change=changes.get((number, place))) for place, point in enumerate(one.points)],
        )
        for number, one in enumerate(all_series)
    ]
    return changed, list(notes)


def _cached_comparison(
    folders: Mapping[str, Path], metrics: Sequence[str], *, different_machines: bool
) -> Callable[[str, str], RunComparison]:
    """Return a function that compares two runs; it reads each run once and compares each pair once."""

    @cache
    def measurements(run: str) -> Measurements:
        return formats.read(folders[run])

    @cache
    def compared(first: str, second: str) -> RunComparison:
        sides = measurements(first), measurements(second)
        return compare_runs(*sides, metrics, None, different_machines=different_machines)

    return compared


def _previous_points(one: Series, *, different_machines: bool) -> Iterator[tuple[int, int]]:
    """Yield the place of each point with a value, and that of the point it is compared with."""
    last: dict[str, int] = {}
    for place, point in enumerate(one.points if one.computes else ()):
        if not point.measured or point.figure.unit not in BETTER_WORSE:
            continue
        machine = "" if different_machines else point.machine_key
        if machine in last:
            yield place, last[machine]
        last[machine] = place
