"""Estimates with valid intervals.

A *unit* is an independent repetition: a process, or a set of interleaved processes. Two processes of one program
differ for their whole lifetime (memory layout), so thousands of iterations in one process say nothing about the next.
Every interval is therefore over units: the iterations of each are condensed into one value, and the spread of these
values includes the variation within and between processes.

One rule applies to any number of units: the mean of their middle two thirds, on logarithms, with Student's
distribution (Tukey and McLaughlin 1963, Yuen 1974). ``tools/coverage`` simulates how often such intervals cover the
true value, and how the rejected rules perform; docs/statistics.md has the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, exp, floor, isnan, nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special, stats

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
BOUND_CONFIDENCE = 0.99
TRIMMED = 6
"""One unit in so many is trimmed at each end: those that were disturbed, whatever the cause."""

_LARGEST = 700.0
"""Largest logarithm that is converted back."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; `low` and `high` are NaN if there is none."""

    value: float
    low: float
    high: float
    n: int
    """Number of independent values: processes, blocks, or samples for a percentile."""


@dataclass(frozen=True)
class Ratio:
    """The ratio baseline / case: above 1, the case takes less."""

    value: float
    low: float
    high: float
    """The 95% interval; NaN for a single unit."""
    n: int
    """Number of units; if unpaired, of the smaller side."""
    p: float
    """Two-sided p-value of "it is 1"; NaN without an interval, below 0.05 if the interval excludes 1."""


class Outliers(NamedTuple):
    """Number of values, of `n`, beyond Tukey's fences. They are counted, never dropped."""

    mild: int
    """Beyond 1.5 interquartile ranges from the quartiles, not beyond 3."""
    severe: int
    """Beyond 3 interquartile ranges."""
    n: int


@dataclass(frozen=True)
class Shift:
    """A mean or a difference of means, or a sum of such: its interval is Student's, on the middle two thirds."""

    value: float
    error: float
    """Standard error; NaN for a single unit."""
    freedom: float
    """Degrees of freedom."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95% interval."""
        return _bounds(self)

    @property
    def p(self) -> float:
        """Two-sided p-value of "it is 0"."""
        if not self.error:
            return float(self.value == 0)
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    def __mul__(self, factor: float) -> Shift:
        return Shift(factor * self.value, abs(factor) * self.error, self.freedom)

    def __add__(self, other: Shift) -> Shift:
        """Return the sum of two that were measured apart; its degrees of freedom are Welch's (1947)."""
        squares = self.error**2, other.error**2
        spread = sum(square**2 / one.freedom for square, one in zip(squares, (self, other), strict=True) if square)
        freedom = sum(squares) ** 2 / spread if spread else min(self.freedom, other.freedom)
        return Shift(self.value + other.value, float(np.sqrt(sum(squares))), freedom)


def median(processes: Sequence[NDArray[np.float64]]) -> Estimate:
    """Return the typical median of a process with its 95% interval.

    It is the trimmed mean of the processes' medians, on logarithms if all are positive.

    Parameters
    ----------
    processes
        One float64 array of iterations for each process, shape ``(iterations,)``, none of them empty. One
        process gives no interval.
    """
    medians = _condensed(processes)
    if len(medians) == 1 or not (medians > 0).all():
        return _plain(medians, trim=True)
    centre = _centre(np.log(medians))
    low, high = _bounds(centre)
    return Estimate(exp(centre.value), _exp(low), _exp(high), len(medians))


def mean(processes: Sequence[NDArray[np.float64]]) -> Estimate:
    """Return the mean of the processes' means with Student's 95% interval; nothing is trimmed.

    `processes` is as for `median`.
    """
    return _plain(np.array([iterations.mean() for iterations in processes]), trim=False)


def paired(logs: Sequence[NDArray[np.float64]], confidence: float = CONFIDENCE) -> Ratio:
    """Return the ratio baseline / case with its interval, by default of 95%.

    It is the exponential of the trimmed mean of the units' median log ratios. A disturbance that slows both sides of
    a pair alike cancels out.

    Parameters
    ----------
    logs
        For each unit (a set of live processes, or a block of one process each) the logarithms of baseline /
        case, float64 of shape ``(pairs,)``, none of them empty. One unit gives no interval.
    """
    return _ratio(_centre(_condensed(logs)), len(logs), confidence)


def shift(differences: Sequence[NDArray[np.float64]]) -> Shift:
    """Return the typical difference of two cases, from the differences of each unit, shape ``(pairs,)``."""
    return _centre(_condensed(differences))


def unpaired(baseline: Sequence[NDArray[np.float64]], case: Sequence[NDArray[np.float64]]) -> Ratio:
    """Return the ratio baseline / case of samples that are not paired, with its 95% interval (Yuen 1974).

    Each side is a sequence of float64 arrays, one for each process, shape ``(iterations,)``, all values
    positive. One process on a side gives no interval.
    """
    theirs, mine = (_centre(np.log(_condensed(side))) for side in (baseline, case))
    return _ratio(theirs + mine * -1, min(len(baseline), len(case)))


def _condensed(units: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the median of each unit, shape ``(units,)``."""
    return np.array([unit[0] if len(unit) == 1 else np.median(unit) for unit in units], dtype=np.float64)


def _centre(values: NDArray[np.float64], *, trim: bool = True) -> Shift:
    """Return the trimmed mean of `values`, shape ``(n,)``; its error is NaN for n = 1.

    The error is that of Yuen (1974), of the values with each trimmed one replaced by the nearest that is kept.
    """
    n = len(values)
    cut = n // TRIMMED if trim else 0
    kept = n - 2 * cut
    ordered = np.sort(values)
    centre = float(ordered[cut : n - cut].mean())
    if n == 1:
        return Shift(centre, nan, nan)
    moved = np.clip(ordered, ordered[cut], ordered[n - cut - 1])
    error = float(np.sqrt(moved.var() * n / (kept * (kept - 1))))
    return Shift(centre, error, kept - 1)


def _bounds(centre: Shift, confidence: float = CONFIDENCE) -> tuple[float, float]:
    reach = _quantile((1 + confidence) / 2, centre.freedom) * centre.error
    return centre.value - reach, centre.value + reach


@cache
def _quantile(share: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, share))


def _ratio(centre: Shift, n: int, confidence: float = CONFIDENCE) -> Ratio:
    low, high = _bounds(centre, confidence)
    return Ratio(exp(centre.value), _exp(low), _exp(high), n, centre.p)


def _exp(value: float) -> float:
    """Return the exponential, above 0 and finite even if two units give an extremely wide interval."""
    return value if isnan(value) else exp(min(max(value, -_LARGEST), _LARGEST))


def _plain(values: NDArray[np.float64], *, trim: bool) -> Estimate:
    """Return the estimate of values that may be zero or less, shape ``(n,)``."""
    centre = _centre(values, trim=trim)
    low, high = _bounds(centre)
    if low < 0 <= values.min():
        low = 0.0
    return Estimate(centre.value, low, high, len(values))


def adjust(ps: Sequence[float], families: Sequence[Hashable] = ()) -> list[float]:
    """Return p-values corrected for multiple comparisons: at 0.05, one in twenty of the differences found is false.

    Those of one family are corrected together; without `families`, all are. NaN stays NaN. Source: Benjamini and
    Hochberg (1995).
    """
    names, adjusted = families or [""] * len(ps), np.array(ps, dtype=np.float64)
    for family in set(names):
        own = ~np.isnan(adjusted) & [name == family for name in names]
        if own.any():
            adjusted[own] = stats.false_discovery_control(adjusted[own])
    return [float(p) for p in adjusted]


def _freedom(n: int) -> int:
    """Return the degrees of freedom of an interval over `n` units."""
    return n - 2 * (n // TRIMMED) - 1


def interval_quantile(n: int) -> float:
    """Return how many standard errors half the 95% interval of `paired` for `n` units is, at least two."""
    return _quantile((1 + CONFIDENCE) / 2, _freedom(n))


def spread_bounds(n: int) -> tuple[float, float]:
    """Return between which multiples of an interval's width the true one lies, with 95% confidence: the chi interval.

    The width is that of `paired` for `n` units, at least two: for five 0.60 to 2.9 times, for thirty 0.76 to 1.5 times.
    """
    freedom = _freedom(n)
    low, high = stats.chi2.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], freedom)
    return float(np.sqrt(freedom / high)), float(np.sqrt(freedom / low))


def share(hits: NDArray[np.float64]) -> Estimate:
    """Return the mean of `hits`, 0 or 1 each, shape ``(n,)``, with its 95% interval (Wilson 1927)."""
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(float(hits.mean()), float(found.low), float(found.high), len(hits))


def share_difference(gained: int, lost: int, n: int) -> Estimate:
    """Return the difference of two shares of the same `n` items, with its 95% interval.

    Parameters
    ----------
    gained, lost
        Number of items that only the second share, and that only the first share counts. The difference is
        (`gained` - `lost`) / `n`; the interval is that of Bonett and Price (2012), which adds two items, one of each.
    n
        All items.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = _quantile((1 + CONFIDENCE) / 2, np.inf) * ((up + down - (up - down) ** 2) / (n + 2)) ** 0.5
    return Estimate((gained - lost) / n, max(up - down - reach, -1.0), min(up - down + reach, 1.0), n)


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of "both shares are equal", from the items that only one of them counts.

    It is the exact test of McNemar (1947): binomial with probability 1/2, 1 without such items.
    """
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def outliers(values: NDArray[np.float64]) -> Outliers:
    """Count the values, shape ``(n,)``, that lie beyond Tukey's fences (*Exploratory Data Analysis*, 1977)."""
    if not len(values):
        return Outliers(0, 0, 0)
    first, third = np.quantile(values, [0.25, 0.75])
    beyond = np.maximum(first - values, values - third)
    reach = third - first
    severe = int((beyond > 3 * reach).sum())
    return Outliers(int((beyond > 1.5 * reach).sum()) - severe, severe, len(values))


@cache
def fewest_samples(q: float) -> int:
    """Return the number of samples that the quantile `q` needs: 64, 662 and 6,636 for 0.9, 0.99 and 0.999.

    It is the smallest n for which at least two of n samples lie above the quantile with 99% confidence, so its upper
    bound is not the largest sample. Source: the early-stopping rule of MLPerf's LoadGen.
    """
    n = 2
    while stats.binom.cdf(1, 2 * n, 1 - q) > 1 - BOUND_CONFIDENCE:
        n *= 2
    candidates = np.arange(n, 2 * n + 1)
    enough = stats.binom.cdf(1, candidates, 1 - q) <= 1 - BOUND_CONFIDENCE
    return int(candidates[np.argmax(enough)])


def holds(above: int, n: int, q: float) -> bool:
    """Return whether the quantile `q` lies below a bound with 99% confidence, if `above` of `n` samples exceed it.

    459 samples show that for 0.99 if none is above, 662 if one is. Source: the early-stopping rule of MLPerf's LoadGen.
    """
    return bool(stats.binom.cdf(above, n, 1 - q) <= 1 - BOUND_CONFIDENCE)


def percentile(processes: Sequence[NDArray[np.float64]], q: float) -> Estimate | None:
    """Return the quantile `q` of all samples with its lower and upper bounds, each with 99% confidence.

    Samples of one process resemble each other, so the bounds count only their `effective_samples`. Returns None if
    there are fewer samples than `fewest_samples`; the bounds are NaN if there are fewer effective samples.

    Parameters
    ----------
    processes
        A float64 array of samples for each process, shape ``(samples,)``; the bounds for one process are valid for
        that process alone.
    q
        Between 0 and 1.
    """
    ordered = np.sort(np.concatenate(processes))
    n, fewest = len(ordered), fewest_samples(q)
    if n < fewest:
        return None
    value, worth = float(np.quantile(ordered, q)), effective_samples(processes, q)
    if worth < fewest:
        return Estimate(value, nan, nan, n)
    below = int(stats.binom.ppf(1 - BOUND_CONFIDENCE, worth, q)) / worth
    above = (int(stats.binom.ppf(BOUND_CONFIDENCE, worth, q)) + 1) / worth
    low, high = ordered[max(floor(below * n), 1) - 1], ordered[min(ceil(above * n), n) - 1]
    return Estimate(value, float(low), float(high), n)


def effective_samples(processes: Sequence[NDArray[np.float64]], q: float) -> int:
    """Return the number of independent samples that those of `processes` are worth for the quantile `q`, at most all.

    Their number is divided by the design effect: how much more the share of samples below the quantile varies between
    processes than it would by chance. Few processes estimate it poorly; Student's distribution compensates for that.
    Source: Korn and Graubard, *Survey Methodology* 24 (1998), for shares; Woodruff (1952) for quantiles.
    """
    n, count = sum(map(len, processes)), len(processes)
    if count == 1:
        return n
    pooled = np.concatenate(list(processes))
    ordered = np.sort(pooled)
    inner = (ordered[max(ceil(q * n), 1) - 1] + ordered[min(ceil(q * n), n - 1)]) / 2
    weights = np.array([len(samples) / n for samples in processes])
    shares = np.array([float((samples <= inner).mean()) for samples in processes])
    between = float((weights**2 * (shares - q) ** 2).sum()) * count / (count - 1)
    effect = max(1.0, between * n / (q * (1 - q)))
    caution = (_quantile(BOUND_CONFIDENCE, n - 1) / _quantile(BOUND_CONFIDENCE, count - 1)) ** 2
    return int(n / effect * caution)
