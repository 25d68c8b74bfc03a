"""Comparing a case with its baseline, in numbers and in words."""

from __future__ import annotations

from math import floor, isfinite, log10, nan
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from runoff.analysis.statistics import Estimate, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runoff.analysis.cells import Cell

BASELINES = ("torch", "ort-python")
BETTER_WORSE = {"ns": ("faster", "slower"), "bytes": ("smaller", "larger"), "count": ("fewer", "more")}
"""Units whose ratio says something, and the words for it."""
BASELINE = "baseline"
NO_DIFFERENCE = "no difference"


class Comparison(Struct, frozen=True):
    """How a case stands to a baseline.

    `ratio` is the baseline's value divided by the case's: above 1 is better.
    """

    verdict: str
    ratio: float = nan
    low: float = nan
    high: float = nan


def not_comparable(reason: str) -> Comparison:
    """Return the comparison that was not possible because of `reason`."""
    return Comparison(f"not comparable: {reason}")


def compare(case: Cell, baseline: Cell, seed: int) -> Comparison:
    """Compare two cells of the same metric, block by block. Only blocks that both have count."""
    mine, theirs = case.by_block(), baseline.by_block()
    pairs = _pairs(mine, theirs)
    if not len(pairs):
        return not_comparable("no block has a value above zero of both")
    ratio = paired_ratio(pairs[:, 1], pairs[:, 0], seed)
    return Comparison(words(ratio, case.unit), ratio.value, ratio.low, ratio.high)


def _pairs(mine: Mapping[int, float], theirs: Mapping[int, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    shared = sorted(mine.keys() & theirs.keys())
    pairs = np.array([(mine[block], theirs[block]) for block in shared], dtype=np.float64).reshape(-1, 2)
    return pairs[(pairs > 0).all(axis=1)]


def words(ratio: Estimate, unit: str) -> str:
    """Return a verdict such as ``12.4x faster (11.9 to 12.9)``.

    It is ``no difference`` when the 95 % interval includes 1, and no verdict when there is no interval.
    """
    if not isfinite(ratio.low):
        return f"not comparable: {ratio.n} block gives no interval (2 are needed)"
    if ratio.low <= 1 <= ratio.high:
        return NO_DIFFERENCE
    better, worse = BETTER_WORSE[unit]
    if ratio.value > 1:
        return times(ratio.value, ratio.low, ratio.high, better)
    return times(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, worse)


def times(value: float, low: float, high: float, word: str) -> str:
    """Return ``value x word (low to high)`` with as many decimals as the interval supports."""
    places = decimals(value, low, high)
    if low < 1.05:  # noqa: PLR2004 - a bound next to 1 must not be printed as 1
        places = max(places, min(-floor(log10(low - 1)), 4)) if low > 1 else places
    return f"{value:.{places}f}x {word} ({low:.{places}f} to {high:.{places}f})"


def decimals(value: float, low: float, high: float) -> int:
    """Return how many decimals a number with this interval supports: half its width gets one digit.

    Never more than make three significant digits.
    """
    three = max(2 - floor(log10(abs(value))), 0) if value else 0
    half = (high - low) / 2
    return min(max(-floor(log10(half)), 0), three) if half > 0 else three
