"""Comparing a case with its baseline, in numbers and in words."""

from __future__ import annotations

from math import expm1, floor, isfinite, log, log1p, log10, nan
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from runoff.statistics import Ratio

BETTER_WORSE = {
    "ns": ("faster", "slower"),
    "bytes": ("smaller", "larger"),
    "count": ("fewer", "more"),
    "J": ("less", "more"),
}
"""Units whose ratio says something, and the words for it."""
BASELINE = "baseline"
NO_DIFFERENCE = "no difference"
"""How the verdict of two that cannot be told apart begins; the floor follows."""
LEVEL = 0.05
"""Largest corrected p-value of a difference."""
IN_PERCENT = 1.1
"""Below this many times a difference is said in percent."""


class Comparison(Struct, frozen=True):
    """How a case stands to a baseline.

    `ratio` is the baseline's value divided by the case's: above 1 is better.
    """

    verdict: str
    ratio: float = nan
    low: float = nan
    high: float = nan
    p_adjusted: float = nan
    floor: float = nan
    """Relative: 0.021 is 2.1 %."""


def not_comparable(reason: str) -> Comparison:
    """Return the comparison that was not possible because of `reason`."""
    return Comparison(f"not comparable: {reason}")


def floor_of(ratio: Ratio | None) -> float | None:
    """Return the noise floor that an A/A gives, relative (0.021 is 2.1 %).

    It is half the width of the A/A's interval, or the distance of its estimate from 1 where that is larger: an A/A
    that shows a difference has a bias that no comparison beside it can be free of. None when there is no A/A, or none
    with an interval.
    """
    if ratio is None or not isfinite(ratio.low):
        return None
    return expm1(max(log(ratio.high / ratio.low) / 2, abs(log(ratio.value))))


def differs(ratio: Ratio, p_adjusted: float, floor: float | None) -> bool:
    """Return whether `ratio` is a difference.

    It is when all three hold: the 95 % interval leaves out 1, the p-value corrected for many comparisons is at
    most 0.05, and the estimate lies beyond the noise floor, where there is one.
    """
    if not isfinite(ratio.low) or ratio.low <= 1 <= ratio.high:
        return False
    return p_adjusted <= LEVEL and abs(log(ratio.value)) > log1p(floor or 0.0)


def words(ratio: Ratio, p_adjusted: float, floor: float | None, unit: str) -> str:
    """Return a verdict; there is none without an interval.

    ``12.4x faster (11.9 to 12.9)``, ``2.1 % slower (1.7 to 2.5)``, ``no difference (floor 2.1 %)`` or
    ``no difference (no floor)``; and ``no difference shown (ratio 0.21 to 1.9)`` where there may well be one, and too
    little was measured to tell.

    Parameters
    ----------
    ratio
        Baseline / case.
    p_adjusted
        Its p-value from `runoff.statistics.adjust`, over all ratios of the same probe and metric.
    floor
        From `floor_of`; None without a twin.
    unit
        ``ns``, ``bytes``, ``count`` or ``J``.
    """
    if not isfinite(ratio.low):
        return f"not comparable: {ratio.n} block gives no interval (2 are needed)"
    if not differs(ratio, p_adjusted, floor):
        return _no_difference(ratio, floor)
    better, worse = BETTER_WORSE[unit]
    if ratio.value > 1:
        return times(ratio.value, ratio.low, ratio.high, better)
    return times(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, worse)


def _no_difference(ratio: Ratio, floor: float | None) -> str:
    """Return the verdict of two that cannot be told apart: because they are alike, or because it cannot be seen."""
    # at least a difference of 10 % is ruled out, or what there seems to be is within the noise
    alike = ratio.low >= 1 / IN_PERCENT and ratio.high <= IN_PERCENT
    if alike or (floor is not None and abs(log(ratio.value)) <= log1p(floor)):
        return f"{NO_DIFFERENCE} ({'no floor' if floor is None else f'floor {percent(floor)}'})"
    places = decimals(ratio.value, ratio.low, ratio.high)
    return f"{NO_DIFFERENCE} shown (ratio {ratio.low:.{places}f} to {ratio.high:.{places}f})"


def percent(share: float) -> str:
    """Return a relative number with two digits: ``2.1 %``, ``0.34 %``, ``15 %``."""
    number = 100 * share
    places = max(1 - floor(log10(number)), 0) if number else 0
    return f"{number:.{min(places, 3)}f} %"


def times(value: float, low: float, high: float, word: str) -> str:
    """Return ``value x word (low to high)`` with as many decimals as the interval supports; all are above 1.

    Differences below 10 % are said in percent.
    """
    if value < IN_PERCENT:
        value, low, high, mark = 100 * (value - 1), 100 * (low - 1), 100 * (high - 1), " %"
        most = max(4, 1 - floor(log10(value)))
        places = max(decimals(value, low, high), min(-floor(log10(low)), most))  # a bound above 0 is not printed as 0
    else:
        mark, places = "x", decimals(value, low, high)
        if low < 1.05:  # noqa: PLR2004 - a bound next to 1 must not be printed as 1
            places = max(places, min(-floor(log10(low - 1)), 4))
    return f"{value:.{places}f}{mark} {word} ({low:.{places}f} to {high:.{places}f})"


def decimals(value: float, low: float, high: float) -> int:
    """Return how many decimals a number with this interval supports: half its width gets one digit.

    Never more than make three significant digits.
    """
    three = max(2 - floor(log10(abs(value))), 0) if value else 0
    half = (high - low) / 2
    return min(max(-floor(log10(half)), 0), three) if half > 0 else three
