"""How precisely the ratios and times of a case are known, and whether that is enough for a verdict.

Noise on the machine matters only as far as it leaves a verdict open. Ratios are paired, so much of it cancels.
"""

from __future__ import annotations

from collections import defaultdict
from math import isfinite, log
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.analysis.verdict import read_verdict
from runoff.analysis.wording import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

OPEN_RATIO = 0.05
"""Half width of a ratio's interval, relative, that leaves it open unless the ratio is twice as far from 1."""
OPEN_TIME = 0.10
"""Half width of the interval of a time that nothing is compared with, relative."""
FEWEST_UNITS = 3
"""Processes or blocks: with two, an interval is wide because they are few, whatever the machine did."""


class Certainty(Struct, frozen=True):
    """A ratio of a case, or its time if it has no ratio."""

    what: str
    """``ratio to ort-python``, or ``time``."""
    half_width: float
    """Half width of its 95% interval, relative: 0.05 is 5%."""
    units: int
    """Processes or blocks that it is based on."""
    open: bool
    """Whether the interval is too wide for a verdict."""

    @property
    def text(self) -> str:
        """The precision as text."""
        few = f", from {self.units} processes" if self.units < FEWEST_UNITS else ""
        return f"{self.what} known {'only ' if self.open else ''}to \N{PLUS-MINUS SIGN}{percent(self.half_width)}{few}"


def least_certain(summary: pd.DataFrame, headlines: Mapping[str, str]) -> dict[str, dict[str, Certainty]]:
    """Return, by case and probe, the least certain number, an open one if there is one; none without an interval.

    `summary` is from `runoff.analysis.summary.summarise`; `headlines` has the metric that verdicts are about, by probe.
    """
    lines = summary[(summary["metric"] == summary["probe"].map(headlines)) & (summary["status"] == "ok")]
    least: defaultdict[str, dict[str, Certainty]] = defaultdict(dict)
    for (case, probe), own in lines.groupby(["case", "probe"], sort=False):
        known = _certainties(own.to_dict("records"))
        if known:
            least[str(case)][str(probe)] = max(known, key=lambda one: (one.open, one.half_width))
    return least


def _certainties(lines: Iterable[Mapping[Any, Any]]) -> list[Certainty]:
    lines = list(lines)
    ratios = []
    for line in lines:
        verdict = read_verdict(line)
        if isfinite(verdict.low):
            half = log(verdict.high / verdict.low) / 2
            is_open = half > max(OPEN_RATIO, abs(log(verdict.ratio)) / 2)
            ratios.append(Certainty(f"ratio to {line['baseline']}", half, int(line["n"]), is_open))
    half = (lines[0]["high"] - lines[0]["low"]) / 2 / lines[0]["estimate"]
    if ratios or not isfinite(half):
        return ratios
    return [Certainty("time", half, int(lines[0]["n"]), half > OPEN_TIME)]
