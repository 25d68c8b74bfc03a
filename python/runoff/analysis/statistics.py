"""Estimates with honest intervals.

A process is the unit that repeats: two processes of one program differ for their whole life (memory layout),
so thousands of iterations in one process say nothing about the next. Intervals are about processes first.

Sources: the hierarchical bootstrap is Davison and Hinkley, *Bootstrap Methods and their Application* (1997),
3.8; percentile bounds are order statistics, David and Nagaraja, *Order Statistics* (2003), 7.1; the smallest
numbers of samples are the early-stopping rule of MLPerf's LoadGen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
BOUND_CONFIDENCE = 0.99
RESAMPLES = 2000
FEWEST_TO_RESAMPLE = 6
"""Below this the widest interval that resampling can give (smallest to largest) covers a median with less
than 95 %: ``1 - 2 ** (1 - n)``."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; `low` and `high` are NaN where there is none."""

    value: float
    low: float
    high: float
    n: int
    """How many independent things it rests on: processes, blocks, or samples for a percentile."""


def median(processes: Sequence[NDArray[np.float64]], seed: int) -> Estimate:
    """Return the median of the processes' medians with a 95 % interval.

    Six processes or more are resampled, then the iterations of each one drawn. Two to five give Student's
    interval on the logarithms of their medians. One gives no interval.

    Parameters
    ----------
    processes
        One float64 array of iterations for each process, shape ``(iterations,)``, none of them empty.
    seed
        Makes the interval repeatable.
    """
    medians = np.array([np.median(iterations) for iterations in processes])
    n = len(medians)
    if n < FEWEST_TO_RESAMPLE:
        return Estimate(float(np.median(medians)), *_student(medians), n)
    picks = _picks(n, seed)
    if all(len(iterations) == 1 for iterations in processes):
        draws = medians[picks]
    else:
        rng = np.random.default_rng([seed, 1])  # a stream that the picks did not use
        draws = np.empty(picks.shape)
        for process, iterations in enumerate(processes):
            chosen = picks == process
            draws[chosen] = _resampled_medians(iterations, int(chosen.sum()), rng)
    return Estimate(float(np.median(medians)), *_interval(draws), n)


@cache
def _picks(n: int, seed: int) -> NDArray[np.int64]:
    """Return which of n processes each resample holds, shape ``(RESAMPLES, n)``."""
    return np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))


def _interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentile interval of the medians of `draws`, shape ``(RESAMPLES, n)``."""
    low, high = np.quantile(np.median(draws, axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _resampled_medians(values: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `size` medians of `values` drawn with replacement, without drawing the values.

    The k-th smallest of m uniform draws is Beta(k, m + 1 - k), and the next one, given it, fills the share
    Beta(1, m - k) of what is left; cut into m equal steps they are the ranks of the values drawn.
    """
    m = len(values)
    if m == 1:
        return np.full(size, values[0])
    ordered = np.sort(values)
    k = (m + 1) // 2
    lower = rng.beta(k, m + 1 - k, size)
    upper = lower if m % 2 else lower + (1 - lower) * rng.beta(1, m - k, size)
    ranks = np.minimum((np.stack([lower, upper]) * m).astype(np.int64), m - 1)
    drawn: NDArray[np.float64] = ordered[ranks].mean(axis=0)
    return drawn


def _student(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return Student's interval, on logarithms where all values are positive; NaN for a single value."""
    n = len(values)
    if n == 1:
        return nan, nan
    logarithmic = bool((values > 0).all())
    x = np.log(values) if logarithmic else values
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * x.std(ddof=1) / np.sqrt(n)
    low, high = x.mean() - reach, x.mean() + reach
    return (float(np.exp(low)), float(np.exp(high))) if logarithmic else (max(0.0, float(low)), float(high))


def paired_ratio(baseline: NDArray[np.float64], case: NDArray[np.float64], seed: int) -> Estimate:
    """Return baseline / case with a 95 % interval: how many times less the case takes.

    It is the exponential of the median of the blocks' log ratios. Both arrays are float64 of shape
    ``(blocks,)``, the same block at the same place; all values must be positive. Blocks are resampled from
    six on; two to five give Student's interval on the log ratios; one gives none.
    """
    ratios = baseline / case
    logs, n = np.log(ratios), len(ratios)
    low, high = _student(ratios) if n < FEWEST_TO_RESAMPLE else np.exp(_interval(logs[_picks(n, seed)]))
    return Estimate(float(np.exp(np.median(logs))), float(low), float(high), n)


@cache
def fewest_samples(q: float) -> int:
    """Return how many samples the quantile `q` needs: 64, 662 and 6,636 for 0.9, 0.99 and 0.999.

    That is the smallest n for which at least two of n samples lie above the quantile with 99 % confidence, so
    that its upper bound is not the largest sample.
    """
    n = 2
    while stats.binom.cdf(1, 2 * n, 1 - q) > 1 - BOUND_CONFIDENCE:
        n *= 2
    candidates = np.arange(n, 2 * n + 1)
    enough = stats.binom.cdf(1, candidates, 1 - q) <= 1 - BOUND_CONFIDENCE
    return int(candidates[np.argmax(enough)])


def percentile(values: NDArray[np.float64], q: float) -> Estimate | None:
    """Return the quantile `q` of `values` with its lower and upper 99 % bounds.

    `values` is float64 of shape ``(samples,)``. Each bound holds on its own with 99 %
    confidence. Returns None when there are too few samples.
    """
    n = len(values)
    if n < fewest_samples(q):
        return None
    ordered = np.sort(values)
    below = max(int(stats.binom.ppf(1 - BOUND_CONFIDENCE, n, q)), 1)
    above = int(stats.binom.ppf(BOUND_CONFIDENCE, n, q)) + 1
    return Estimate(float(np.quantile(ordered, q)), float(ordered[below - 1]), float(ordered[above - 1]), n)
