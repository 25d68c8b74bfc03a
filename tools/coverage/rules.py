"""Rules for the interval of a ratio: the one in use, and rejected ones. All return bounds of logarithms."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from runoff.statistics import CONFIDENCE, paired

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rule = Callable[[NDArray[np.float64]], tuple[float, float]]
    """From log ratios, shape ``(units, pairs)``, to the bounds of their centre."""

RESAMPLES = 1000
SEED = 1


def trimmed(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return runoff's interval: Student's for the mean of the middle two thirds of the units."""
    ratio = paired(list(logs))
    return log(ratio.low), log(ratio.high)


def student(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return Student's interval for the mean of the units."""
    found = stats.ttest_1samp(np.median(logs, axis=1), 0).confidence_interval(CONFIDENCE)
    return float(found.low), float(found.high)


def wilcoxon(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the signed-rank interval around Hodges and Lehmann's estimate; below six units it covers less.

    Source: Hollander and Wolfe, *Nonparametric Statistical Methods*, 3.3.
    """
    units = np.median(logs, axis=1)
    n = len(units)
    first, second = np.triu_indices(n)
    walsh = np.sort((units[first] + units[second]) / 2)
    chances = np.array([1.0])
    for rank in range(1, n + 1):
        chances = (np.append(chances, np.zeros(rank)) + np.append(np.zeros(rank), chances)) / 2
    out = max(int(np.searchsorted(np.cumsum(chances), (1 - CONFIDENCE) / 2, side="right")), 1)
    return float(walsh[out - 1]), float(walsh[-out])


def two_levels(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentile bootstrap that draws units, then the pairs within them, and takes medians."""
    rng = np.random.default_rng(SEED)
    n, pairs = logs.shape
    units = rng.integers(0, n, (RESAMPLES, n, 1))
    drawn = np.median(logs[units, rng.integers(0, pairs, (RESAMPLES, n, pairs))], axis=2)
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def expanded(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bootstrap of the units' median with expanded percentiles (Hesterberg 2015, 3.4)."""
    units = np.median(logs, axis=1)
    n = len(units)
    share = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, n - 1)))
    drawn = np.median(units[np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))], axis=1)
    low, high = np.quantile(drawn, [share, 1 - share])
    return float(low), float(high)


def bootstrap_t(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bootstrap-t interval of the units (Efron and Tibshirani 1993, 12.5)."""
    units = np.median(logs, axis=1)
    n = len(units)
    drawn = units[np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))]
    spread = drawn.std(axis=1, ddof=1)
    varied = spread > 0
    t = (drawn.mean(axis=1)[varied] - units.mean()) / (spread[varied] / np.sqrt(n))
    low, high = np.quantile(t, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    error = units.std(ddof=1) / np.sqrt(n)
    return float(units.mean() - high * error), float(units.mean() - low * error)


RULES: dict[str, Rule] = {
    "trimmed mean, Student (taken)": trimmed,
    "mean, Student": student,
    "Hodges-Lehmann, signed ranks": wilcoxon,
    "bootstrap of both levels, percentiles": two_levels,
    "bootstrap of units, expanded percentiles": expanded,
    "bootstrap-t of units": bootstrap_t,
}
