"""The text of a verdict and of its numbers: the only place that words verdicts."""

from __future__ import annotations

from math import floor, isnan, log10
from typing import TYPE_CHECKING, Literal

from runoff.analysis.verdict import ALIKE, BETTER_WORSE

if TYPE_CHECKING:
    from runoff.analysis.verdict import Verdict

NO_DIFFERENCE = "no difference"
_NEAR_ONE = 1.05
"""A bound below it gets the decimals that distinguish it from 1."""


def words(verdict: Verdict) -> str:
    """Return a verdict as text; empty if there was nothing to compare with.

    ``12.4x faster (11.9 to 12.9)``, ``2.1 % slower (1.7 to 2.5)``, ``no difference (floor 2.1 %)``,
    ``no difference (no floor)``, ``no difference shown (ratio 0.21 to 1.9)`` (too little was measured to rule one out),
    ``not comparable: REASON``, or ``A/A +0.3 % (-0.5 to +1.1)``: how much faster the A/A control seemed.
    """
    return headline(verdict) + ending(verdict)


def against(verdict: Verdict, name: str) -> str:
    """Return a verdict relative to the baseline `name`: ``4.6x faster than ort-python (4.2 to 5.1)``."""
    if verdict.kind == "not comparable":
        return f"{name}: {words(verdict)}"
    return f"{headline(verdict)} {'from' if verdict.tied else 'than'} {name}{ending(verdict)}"


def headline(verdict: Verdict) -> str:
    """Return the verdict without its interval or reason: ``4.6x faster``, ``no difference``, ``not comparable``."""
    if verdict.differs:
        value, _, _, mark, places = _shown(verdict)
        return f"{value:.{places}f}{mark} {BETTER_WORSE[verdict.unit][verdict.kind == 'worse']}"
    if verdict.kind == "undecided":
        return f"{NO_DIFFERENCE} shown"
    return f"A/A {_signed(verdict.ratio)} %" if verdict.kind == "A/A" else verdict.kind


def ending(verdict: Verdict) -> str:
    """Return the rest of `words` after the headline: `detail` in brackets, or a reason after a colon."""
    rest = detail(verdict)
    if not rest:
        return ""
    return f": {rest}" if verdict.kind == "not comparable" else f" ({rest})"


def detail(verdict: Verdict) -> str:
    """Return the interval, the noise floor or the reason of a verdict; empty for none."""
    if verdict.differs:
        _, low, high, _, places = _shown(verdict)
        return f"{low:.{places}f} to {high:.{places}f}"
    if verdict.kind == "no difference":
        # programs may parse verdicts, so these keep the space
        return "no floor" if isnan(verdict.floor) else f"floor {percent(verdict.floor).replace('%', ' %')}"
    if verdict.kind == "undecided":
        places = decimals(verdict.ratio, verdict.low, verdict.high)
        return f"ratio {verdict.low:.{places}f} to {verdict.high:.{places}f}"
    return f"{_signed(verdict.low)} to {_signed(verdict.high)}" if verdict.kind == "A/A" else verdict.reason


def tone(verdict: Verdict) -> Literal["good", "bad", "dim", ""]:
    """Return the tone of the verdict, which determines its colour in reports."""
    if verdict.differs:
        return "good" if verdict.kind == "better" else "bad"
    return "dim" if verdict.kind else ""


def _signed(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"


def _shown(verdict: Verdict) -> tuple[float, float, float, str, int]:
    """Return a difference and its bounds, all above 1 or in percent, the mark behind it and the decimals to print.

    There are as many decimals as the interval supports. Differences below 10% are in percent.
    """
    value, low, high = verdict.ratio, verdict.low, verdict.high
    if verdict.kind == "worse":
        value, low, high = 1 / value, 1 / high, 1 / low
    if value < ALIKE:
        value, low, high = 100 * (value - 1), 100 * (low - 1), 100 * (high - 1)
        most = max(4, 1 - floor(log10(value)))
        places = max(decimals(value, low, high), min(-floor(log10(low)), most))  # a bound above 0 is not printed as 0
        return value, low, high, " %", places
    places = decimals(value, low, high)
    if low < _NEAR_ONE:
        places = max(places, min(-floor(log10(low - 1)), 4))
    return value, low, high, "x", places


def percent(share: float) -> str:
    """Return a relative number with two digits: ``2.1%``, ``0.34%``, ``15%``."""
    number = 100 * share
    places = max(1 - floor(log10(number)), 0) if number else 0
    return f"{number:.{min(places, 3)}f}%"


def decimals(value: float, low: float, high: float) -> int:
    """Return the number of decimals that this interval supports: half its width gets one digit.

    Never more than make three significant digits.
    """
    three = max(2 - floor(log10(abs(value))), 0) if value else 0
    half = (high - low) / 2
    return min(max(-floor(log10(half)), 0), three) if half > 0 else three


def ratio_words(verdict: Verdict) -> str:
    """Return a ratio with its interval, such as ``2.87x (2.80 to 2.94)``; without the interval if it is exact."""
    if isnan(verdict.ratio):
        return ""
    between = f" ({verdict.low:.2f} to {verdict.high:.2f})" if verdict.low < verdict.high else ""
    return f"{verdict.ratio:.2f}x{between}"
