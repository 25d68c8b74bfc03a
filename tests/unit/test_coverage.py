"""How often the intervals of `runoff.statistics` cover the true value; ``tools/coverage`` simulates many more kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from runoff.statistics import mean, median, paired, percentile, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from runoff.statistics import Estimate, Ratio

    Units = list[NDArray[np.float64]]

RUNS = 600
SLACK = 0.025
"""Three standard errors of a share of 0.95 in so many runs, and a little."""
BETWEEN, WITHIN, ITERATIONS = 0.01, 0.03, 20
"""Standard deviations of logarithms, of processes and of iterations in each, and the number of each."""


def processes(rng: np.random.Generator, units: int) -> Units:
    """Return logarithms of times around 0, of processes that differ for their whole duration."""
    return [rng.normal(rng.normal(0, BETWEEN), WITHIN, ITERATIONS) for _ in range(units)]


def coverage(estimate: Callable[[np.random.Generator], Estimate | Ratio], truth: float) -> float:
    """Return the share of `RUNS` intervals that cover `truth`."""
    rng = np.random.default_rng(1)
    found = [estimate(rng) for _ in range(RUNS)]
    return sum(one.low <= truth <= one.high for one in found) / RUNS


def covers(share: float) -> bool:
    return 0.93 - SLACK <= share <= 0.97 + SLACK


@pytest.mark.parametrize("units", [3, 6, 12])
def test_intervals_of_paired_ratios(units: int) -> None:
    def estimate(rng: np.random.Generator) -> Ratio:
        both = zip(processes(rng, units), processes(rng, units), strict=True)
        return paired([one - other - np.log(1.02) for one, other in both])

    assert covers(coverage(estimate, 1 / 1.02))


@pytest.mark.parametrize("units", [3, 12])
def test_intervals_of_unpaired_ratios(units: int) -> None:
    def estimate(rng: np.random.Generator) -> Ratio:
        one, other = ([np.exp(unit) for unit in processes(rng, count)] for count in (units, units + 3))
        return unpaired(one, other)

    assert covers(coverage(estimate, 1))


@pytest.mark.parametrize("units", [3, 12])
def test_intervals_of_medians(units: int) -> None:
    assert covers(coverage(lambda rng: median([np.exp(unit) for unit in processes(rng, units)]), 1))


def test_intervals_of_means() -> None:
    truth = float(np.exp((BETWEEN**2 + WITHIN**2) / 2))
    assert covers(coverage(lambda rng: mean([np.exp(unit) for unit in processes(rng, 8)]), truth))


def test_bounds_of_percentiles() -> None:
    truth = float(np.exp(stats.norm.ppf(0.9) * np.hypot(BETWEEN, WITHIN)))
    rng, low, high = np.random.default_rng(1), 0, 0
    for _ in range(RUNS):
        found = percentile([np.exp(unit) for unit in processes(rng, 30)], 0.9)
        if found is not None:
            low += found.low > truth
            high += found.high < truth
    assert max(low, high) / RUNS <= 0.02
