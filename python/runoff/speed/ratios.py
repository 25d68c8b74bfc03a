"""From samples to ratios: pure functions.

A *unit* is what repeats independently: a block of one process each (`process`, `memory`), a set of processes that live
side by side (`warm`), or one process that holds both libraries (the rest). A unit holds the values of its
candidates; those at the same place were taken in the same short block and are paired.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from runoff import statistics
from runoff.records.reason import Reason
from runoff.speed.rows import Row  # noqa: TC001 (msgspec evaluates the annotations)

Unit = dict[str, list[float]]
"""By candidate: its values."""


class Group(Struct, kw_only=True):
    """All samples of what is measured together."""

    unit: str
    """``ns`` or ``bytes``."""
    units: list[Unit] = []
    reasons: dict[str, Reason] = {}
    """By candidate: why it is not measured."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a row: a ratio, or the reason why there is none."""

    row: Row
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """The 95 % interval; None when there is only one unit."""
    units: int = 0
    blocks: int = 0
    reason: Reason | None = None

    @property
    def verdict(self) -> str:
        """``met``, ``missed`` or ``not measured``: the estimate decides; an interval that holds the bar is named."""
        if self.value is None:
            return "not measured"
        word = "met" if self.row.meets(self.value) else "missed"
        if self.low is None or self.high is None:
            return f"{word}, no interval"
        return f"{word}, within the interval" if self.low <= self.row.bar <= self.high else word


def outcome(row: Row, group: Group) -> Outcome:
    """Return the ratio of `row` with its 95 % interval.

    It is that of `runoff.statistics.paired`: the trimmed mean over units of the median paired ratio.
    """
    for name in (*row.over, *row.under):
        if name in group.reasons:
            return Outcome(row=row, reason=Reason("not-measured", f"{name}: {group.reasons[name]}"))
    paired = [_paired(row, unit) for unit in group.units if unit.keys() >= {*row.over, *row.under}]
    if not paired:
        return Outcome(row=row, reason=Reason("not-measured", "the run ended before its turn"))
    estimate = statistics.paired(paired)
    bounded = bool(np.isfinite(estimate.low))
    return Outcome(
        row=row,
        value=estimate.value,
        low=estimate.low if bounded else None,
        high=estimate.high if bounded else None,
        units=len(paired),
        blocks=sum(map(len, paired)),
    )


def _paired(row: Row, unit: Unit) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the logarithm of the ratio in each block of a unit."""
    over = np.sum(np.log([unit[name] for name in row.over]), axis=0)
    under = np.sum(np.log([unit[name] for name in row.under]), axis=0)
    logs: np.ndarray[tuple[int], np.dtype[np.float64]] = over - under
    return logs


def medians(group: Group) -> dict[str, statistics.Estimate]:
    """Return the median of each candidate with its interval, in the group's unit."""
    names = dict.fromkeys(name for unit in group.units for name in unit)
    return {
        name: statistics.median([np.array(unit[name], np.float64) for unit in group.units if name in unit])
        for name in names
    }
