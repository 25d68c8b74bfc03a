"""Statistics against scipy, brute force and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from runoff.analysis.statistics import Estimate, fewest_samples, median, paired_ratio, percentile

POSITIVE = st.floats(1e-3, 1e6)


def test_median_of_one_value_per_process_agrees_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).lognormal(0, 0.2, 25)
    mine = median([np.array([value]) for value in values], seed=1)
    theirs = stats.bootstrap((values,), np.median, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert mine.value == np.median(values)
    assert mine.low == pytest.approx(theirs.low, rel=0.02)
    assert mine.high == pytest.approx(theirs.high, rel=0.02)


@pytest.mark.parametrize("iterations", [40, 41])
def test_two_level_interval_agrees_with_drawing_every_iteration(iterations: int) -> None:
    rng = np.random.default_rng(5)
    processes = [rng.lognormal(0, 0.05, iterations) * factor for factor in rng.lognormal(0, 0.1, 8)]
    drawn = []
    for _ in range(4000):
        picks = rng.integers(0, 8, 8)
        drawn.append(np.median([np.median(rng.choice(processes[pick], iterations)) for pick in picks]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    mine = median(processes, seed=1)
    assert mine.low == pytest.approx(low, rel=0.02)
    assert mine.high == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize("count", [3, 10])
def test_interval_covers_the_truth_about_as_often_as_it_says(count: int) -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(300):
        processes = [rng.lognormal(0, 0.03, 20) * factor for factor in rng.lognormal(0, 0.05, count)]
        estimate = median(processes, seed=1)
        hits += estimate.low <= 1.0 <= estimate.high
    assert 0.88 <= hits / 300 <= 0.995


@pytest.mark.parametrize("count", [4, 12])
def test_equal_programs_are_rarely_told_apart(count: int) -> None:
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(300):
        drift = rng.lognormal(0, 0.5, count)
        ratio = paired_ratio(drift * rng.lognormal(0, 0.02, count), drift * rng.lognormal(0, 0.02, count), seed=1)
        found += not ratio.low <= 1 <= ratio.high
    assert found / 300 <= 0.12


def test_pairing_finds_a_small_difference_under_large_drift() -> None:
    rng = np.random.default_rng(13)
    drift = rng.lognormal(0, 0.5, 15)
    ratio = paired_ratio(1.05 * drift * rng.lognormal(0, 0.01, 15), drift * rng.lognormal(0, 0.01, 15), seed=1)
    assert 1.02 < ratio.low < 1.05 < ratio.high < 1.08


def test_student_interval_of_few_processes_agrees_with_scipy() -> None:
    values = np.array([10.0, 11.0, 9.5, 10.2])
    logs = np.log(values)
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    mine = median([np.array([value]) for value in values], seed=1)
    assert (mine.low, mine.high) == pytest.approx((np.exp(low), np.exp(high)))


def test_one_process_has_no_interval() -> None:
    estimate = median([np.arange(1.0, 101.0)], seed=1)
    assert estimate.value == 50.5
    assert np.isnan(estimate.low)
    assert np.isnan(estimate.high)
    assert estimate.n == 1


def test_zeros_are_no_obstacle() -> None:
    assert median([np.zeros(1)] * 3, seed=1) == Estimate(0.0, 0.0, 0.0, 3)


@given(arrays(np.float64, st.integers(1, 12), elements=POSITIVE), st.floats(0.1, 10))
def test_median_interval_surrounds_the_estimate_and_scales(values: np.ndarray, factor: float) -> None:
    one = median([np.array([value]) for value in values], seed=1)
    scaled = median([np.array([value * factor]) for value in values], seed=1)
    assert scaled.value == pytest.approx(one.value * factor)
    if len(values) > 1:
        assert one.low <= one.value * (1 + 1e-9)
        assert one.high >= one.value * (1 - 1e-9)
        assert scaled.high == pytest.approx(one.high * factor)


@given(st.integers(2, 12).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=POSITIVE)] * 2)))
def test_ratio_of_the_other_way_round_is_the_inverse(pair: tuple[np.ndarray, np.ndarray]) -> None:
    forth, back = paired_ratio(*pair, seed=1), paired_ratio(pair[1], pair[0], seed=1)
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high, rel=1e-6)
    assert forth.low <= forth.value * (1 + 1e-9)
    assert forth.high >= forth.value * (1 - 1e-9)


def test_ratio_of_a_constant_factor_is_that_factor() -> None:
    base = np.array([3.0, 4.0, 5.0, 9.0, 2.0, 7.0, 1.0])
    ratio = paired_ratio(base * 4, base, seed=1)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((4, 4, 4))


def test_same_seed_gives_the_same_interval() -> None:
    values = [np.random.default_rng(i).lognormal(0, 0.1, 30) for i in range(9)]
    assert median(values, seed=7) == median(values, seed=7)
    assert median(values, seed=7) != median(values, seed=8)


@pytest.mark.parametrize(("q", "fewest"), [(0.9, 64), (0.99, 662), (0.999, 6636)])
def test_fewest_samples_are_those_of_mlperf(q: float, fewest: int) -> None:
    assert fewest_samples(q) == fewest
    assert percentile(np.arange(fewest - 1, dtype=np.float64), q) is None
    assert percentile(np.arange(fewest, dtype=np.float64), q) is not None


@pytest.mark.parametrize(("n", "q"), [(64, 0.9), (500, 0.9), (700, 0.99)])
def test_percentile_bounds_are_those_of_scipys_quantile_test(n: int, q: float) -> None:
    values = np.random.default_rng(n).lognormal(0, 0.3, n)
    bound = percentile(values, q)
    theirs = stats.quantile_test(values, p=q).confidence_interval(0.98)
    assert bound is not None
    assert (bound.low, bound.high) == (theirs.low, theirs.high)
    assert bound.low <= bound.value <= bound.high
    assert bound.high < values.max()
