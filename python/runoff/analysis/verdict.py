"""The verdict of a comparison as a value: its kind, and the numbers it rests on.

`runoff.analysis.wording` turns a verdict into text. Nothing reads the text back.
"""

from __future__ import annotations

from math import expm1, isfinite, isnan, log, log1p, nan
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from runoff.statistics import Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["", "baseline", "A/A", "better", "worse", "no difference", "undecided", "not comparable"]
"""``undecided``: not distinguishable, though a difference of 10% is not ruled out. Empty: nothing to compare with."""
BETTER_WORSE = {
    "ns": ("faster", "slower"),
    "bytes": ("smaller", "larger"),
    "count": ("fewer", "more"),
    "J": ("less", "more"),
}
"""Units in which less is better, with the words for a ratio above and below 1."""
LEVEL = 0.05
"""Largest corrected p-value of a difference."""
ALIKE = 1.1
"""Intervals within this factor of 1 rule out a difference of 10%. Differences below it are printed in percent."""

_NUMBERS = ("ratio", "ratio_low", "ratio_high", "p_adjusted", "floor")
"""Columns of ``summary.csv`` that a verdict rests on."""


class Verdict(Struct, frozen=True):
    """The comparison of a case with a baseline."""

    kind: Kind = ""
    ratio: float = nan
    """Baseline / case: above 1 is better. NaN if there is none; the same holds for the other numbers."""
    low: float = nan
    high: float = nan
    p_adjusted: float = nan
    floor: float = nan
    """Noise floor, relative: 0.021 is 2.1%."""
    unit: str = ""
    """``ns``, ``bytes``, ``count`` or ``J``."""
    reason: str = ""
    """Reason why the two are not comparable."""

    @property
    def differs(self) -> bool:
        """Whether it claims a difference, in either direction."""
        return self.kind in ("better", "worse")

    @property
    def tied(self) -> bool:
        """Whether the two are not distinguishable."""
        return self.kind in ("no difference", "undecided")


def not_comparable(reason: str, unit: str = "") -> Verdict:
    """Return the verdict on a comparison that was not possible because of `reason`."""
    return Verdict("not comparable", unit=unit, reason=reason)


def floor_of(ratio: Ratio | None) -> float | None:
    """Return the noise floor that an A/A ratio gives, relative (0.021 is 2.1%).

    It is half the width of the A/A interval, or the distance of its estimate from 1 if that is larger: an A/A that
    shows a difference has a bias that every comparison next to it may share. None without an A/A or an interval.
    """
    if ratio is None or not isfinite(ratio.low):
        return None
    return expm1(max(log(ratio.high / ratio.low) / 2, abs(log(ratio.value))))


def decide(ratio: Ratio, p_adjusted: float, floor: float | None, unit: str) -> Verdict:
    """Return the verdict on a ratio.

    It is a difference if all three hold: the 95% interval excludes 1, the p-value corrected for many comparisons is at
    most 0.05, and the estimate lies beyond the noise floor, if there is one.

    Parameters
    ----------
    ratio
        Baseline / case.
    p_adjusted
        Its p-value from `runoff.statistics.adjust`, over all ratios of the same metric.
    floor
        From `floor_of`; None without an A/A control.
    unit
        A key of `BETTER_WORSE`.
    """
    numbers = ratio.value, ratio.low, ratio.high, p_adjusted, nan if floor is None else floor, unit
    if not isfinite(ratio.low):
        return Verdict("not comparable", *numbers, reason=f"{ratio.n} block gives no interval (2 are needed)")
    distance, noise = abs(log(ratio.value)), log1p(floor or 0.0)
    if not ratio.low <= 1 <= ratio.high and p_adjusted <= LEVEL and distance > noise:
        return Verdict("better" if ratio.value > 1 else "worse", *numbers)
    alike = ratio.low >= 1 / ALIKE and ratio.high <= ALIKE
    within_noise = floor is not None and distance <= noise
    return Verdict("no difference" if alike or within_noise else "undecided", *numbers)


def read_verdict(line: Mapping[Any, Any]) -> Verdict:
    """Return the verdict in a row of ``summary.csv``, as columns by name.

    Rows written before the column ``verdict_kind`` existed get the kind that their numbers give.
    """
    value, low, high, p, floor = (_number(line[name]) for name in _NUMBERS)
    kind: Kind = line.get("verdict_kind") or ""
    if kind or not line["baseline"]:
        return Verdict(kind, value, low, high, p, floor, line["unit"], line.get("verdict_reason") or "")
    if line["baseline"] == line["target"]:
        return Verdict("baseline", unit=line["unit"])
    if isnan(low):
        return not_comparable(line["reason"], line["unit"])
    p = 0.0 if isnan(p) else p  # the oldest rows have no p-value: only their intervals decide
    return decide(Ratio(value, low, high, 0, p), p, None if isnan(floor) else floor, line["unit"])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else nan
