"""Coverage of the intervals of `runoff.statistics`, by simulation on noise of many kinds.

``python tools/coverage/tables.py`` prints the tables of docs/statistics.md.
"""

from __future__ import annotations

from functools import cache
from math import log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rules import RULES
from scipy import stats

from runoff.statistics import mean, median, paired, percentile, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Times = NDArray[np.float64]
    Shape = tuple[int, int, int]
    """Runs, units, iterations."""
    Noise = Callable[[np.random.Generator, Shape], Times]
    """Logarithms of times; the units are independent."""

SLOW_MODE = log(1.3)
LARGEST = 700.0
"""Largest logarithm that is exponentiated."""
LOT = 100
"""Runs simulated in one batch."""


def normal(rng: np.random.Generator, shape: Shape) -> Times:
    """Return normal noise of 3%."""
    return rng.normal(0, 0.03, shape)


def skewed(rng: np.random.Generator, shape: Shape) -> Times:
    """Return delays that are log-normal: 3% in the median, 5% in the mean, and at times 30%."""
    return np.log1p(rng.lognormal(-3.5, 1, shape))


def bimodal(rng: np.random.Generator, shape: Shape) -> Times:
    """Return iterations of which three in ten take 1.3 times as long."""
    return rng.normal(0, 0.01, shape) + SLOW_MODE * (rng.random(shape) < 0.3)  # noqa: PLR2004


def bimodal_processes(rng: np.random.Generator, shape: Shape) -> Times:
    """Return processes of which three in ten take 1.3 times as long for their whole duration."""
    return rng.normal(0, 0.01, shape) + SLOW_MODE * (rng.random((*shape[:2], 1)) < 0.3)  # noqa: PLR2004


def heavy(rng: np.random.Generator, shape: Shape) -> Times:
    """Return noise of 2% in which one iteration in fifty waits, for a Pareto time: its variance is infinite."""
    waits = rng.pareto(1.5, shape) * (rng.random(shape) < 0.02)  # noqa: PLR2004
    return rng.normal(0, 0.02, shape) + np.log1p(waits)


def disturbed(rng: np.random.Generator, shape: Shape) -> Times:
    """Return processes of which one in ten was disturbed throughout: 1.5 times as long."""
    return rng.normal(0, 0.02, shape) + log(1.5) * (rng.random((*shape[:2], 1)) < 0.1)  # noqa: PLR2004


def drift(rng: np.random.Generator, shape: Shape) -> tuple[Times, Times]:
    """Return the machine's speed for both of each pair: a random walk between 1x and 2x, reflected at its ends.

    The two values of a pair are taken in succession, in random order.
    """
    walk = np.cumsum(rng.normal(0, 0.02, (*shape, 2))).reshape(*shape, 2)
    speed = np.abs((walk + log(2)) % (2 * log(2)) - log(2))
    first = rng.integers(0, 2, shape)[..., None]
    pair = np.take_along_axis(speed, np.concatenate([first, 1 - first], axis=-1), axis=-1)
    return pair[..., 0], pair[..., 1]


NOISES: dict[str, Noise] = {
    "normal": normal,
    "skewed": skewed,
    "bimodal iterations": bimodal,
    "bimodal processes": bimodal_processes,
    "heavy tails": heavy,
    "disturbed processes": disturbed,
}
DRIFTING = "drifting machine"


class Tally(NamedTuple):
    """Results of a rule on many simulated runs."""

    held: float
    """Share of the intervals that cover the true value."""
    half_width: float
    """Median half width, relative."""
    found: float
    """Share of the intervals that exclude 1."""


def processes(rng: np.random.Generator, noise: Noise, shape: Shape, between: float) -> Times:
    """Return logarithms of times of processes that differ for their whole duration by `between`."""
    return rng.normal(0, between, (*shape[:2], 1)) + noise(rng, shape)


def logs_of_pairs(rng: np.random.Generator, noise: str, shape: Shape, between: float) -> Times:
    """Return log ratios of two equal programs, of the shape `shape`."""
    made = NOISES.get(noise, normal)
    one, other = (processes(rng, made, shape, between) for _ in range(2))
    if noise == DRIFTING:
        its, others = drift(rng, shape)
        return one + its - other - others
    return one - other


def ratios(noise: str, units: int, iterations: int, between: float, *, runs: int, injected: float = 0.0) -> Tally:
    """Return the results of `paired` on two programs, one slower by `injected`."""
    intervals = []
    for rng, shape in _lots(units, iterations, runs):
        logs = np.median(logs_of_pairs(rng, noise, shape, between), axis=2) - np.log1p(injected)
        found = [paired(_units(run)) for run in logs]
        intervals += [(ratio.low, ratio.high) for ratio in found]
    return _tally(intervals, 1 / (1 + injected))


def rule(name: str, noise: str, units: int, iterations: int, between: float, *, runs: int) -> Tally:
    """Return the results of a rule of `rules` on two equal programs."""
    bounds = []
    for rng, shape in _lots(units, iterations, runs):
        bounds += [RULES[name](run) for run in logs_of_pairs(rng, noise, shape, between)]
    low, high = np.exp(np.clip(bounds, -LARGEST, LARGEST)).T
    return _tally(list(zip(low.tolist(), high.tolist(), strict=True)), 1)


def estimates(noise: str, units: int, iterations: int, between: float, *, runs: int) -> Tally:
    """Return how often `median` covers the true median of the processes' medians, without drift."""
    intervals = []
    for rng, shape in _lots(units, iterations, runs):
        medians = np.exp(np.median(processes(rng, NOISES[noise], shape, between), axis=2))
        found = [median(_units(run)) for run in medians]
        intervals += [(estimate.low, estimate.high) for estimate in found]
    return _tally(intervals, _truth(noise, iterations, between)[0])


def means(noise: str, units: int, iterations: int, between: float, *, runs: int) -> Tally:
    """Return how often `mean` covers the true mean."""
    intervals = []
    for rng, shape in _lots(units, iterations, runs):
        averages = np.exp(processes(rng, NOISES[noise], shape, between)).mean(axis=2)
        found = [mean(_units(run)) for run in averages]
        intervals += [(estimate.low, estimate.high) for estimate in found]
    return _tally(intervals, _truth(noise, iterations, between)[1])


def apart(noise: str, units: int, iterations: int, between: float, *, runs: int) -> Tally:
    """Return the results of `unpaired` on two groups, the second with three more processes than the first."""
    intervals = []
    for rng, shape in _lots(units + 3, iterations, runs):
        sides = (np.exp(np.median(processes(rng, NOISES[noise], shape, between), axis=2)) for _ in range(2))
        found = [unpaired(_units(one[:units]), _units(other)) for one, other in zip(*sides, strict=True)]
        intervals += [(ratio.low, ratio.high) for ratio in found]
    return _tally(intervals, 1)


@cache
def _truth(noise: str, iterations: int, between: float) -> tuple[float, float]:
    """Return the median of the medians of very many processes, and the mean."""
    medians, averages = [], []
    for rng, shape in _lots(100, iterations, max(100, 2000 // iterations)):
        times = np.exp(processes(rng, NOISES[noise], shape, between))
        medians.append(np.median(times, axis=2).ravel())
        averages.append(times.mean(axis=2).ravel())
    return float(np.median(np.concatenate(medians))), float(np.mean(np.concatenate(averages)))


def _lots(units: int, iterations: int, runs: int) -> Iterator[tuple[np.random.Generator, Shape]]:
    """Yield shapes of `runs` in total, each small enough for memory, and their shared generator."""
    rng = np.random.default_rng([units, iterations, runs])
    for start in range(0, runs, LOT):
        yield rng, (min(LOT, runs - start), units, iterations)


def _units(values: Times) -> list[Times]:
    """Return units of one value each: iterations were condensed for all runs together."""
    return list(values[:, None])


def quantiles(q: float, units: int, iterations: int, between: float, *, runs: int) -> tuple[float, float, float]:
    """Return the coverage of the lower and the upper bound of `percentile`, and the share of runs without bounds.

    Runs without bounds count as covered: they claim nothing.
    """
    truth = float(np.exp(stats.norm.ppf(q) * np.hypot(between, 0.03)))
    low = high = none = 0
    for rng, shape in _lots(units, iterations, runs):
        for run in np.exp(processes(rng, normal, shape, between)):
            found = percentile(list(run), q)
            if found is None or np.isnan(found.low):
                none += 1
            else:
                low += found.low > truth
                high += found.high < truth
    return 1 - low / runs, 1 - high / runs, none / runs


def _tally(intervals: Sequence[tuple[float, float]], truth: float) -> Tally:
    low, high = np.array(intervals).T
    held = float(((low <= truth) & (truth <= high)).mean())
    return Tally(held, float(np.median(high - low) / 2), float(((low > 1) | (high < 1)).mean()))
