"""Statistics against scipy, independent formulas and known true values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from runoff.statistics import (
    Estimate,
    Outliers,
    adjust,
    effective_samples,
    fewest_samples,
    mean,
    median,
    outliers,
    paired,
    percentile,
    unpaired,
)

POSITIVE = st.floats(1e-3, 1e6)
RNG = np.random.default_rng


def singles(values: np.ndarray) -> list[np.ndarray]:
    """Return units of one value each."""
    return [np.array([value]) for value in values]


@pytest.mark.parametrize("n", [6, 11, 12, 30])
def test_units_are_trimmed_and_winsorized_as_scipy_does(n: int) -> None:
    logs = RNG(n).normal(0.1, 0.05, n)
    cut, mine = n // 6, paired(singles(logs))
    centre = stats.trim_mean(logs, 1 / 6)
    winsorized = np.asarray(stats.mstats.winsorize(logs, (cut / n, cut / n)))
    kept = n - 2 * cut
    error = np.sqrt(((winsorized - winsorized.mean()) ** 2).sum() / (kept * (kept - 1)))
    assert mine.value == pytest.approx(np.exp(centre))
    low, high = stats.t.interval(0.95, kept - 1, centre, error)
    assert (mine.low, mine.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert mine.p == pytest.approx(2 * stats.t.sf(abs(centre / error), kept - 1))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_units_have_students_interval(n: int) -> None:
    logs = RNG(n).normal(0.1, 0.05, n)
    test = stats.ttest_1samp(logs, 0)
    mine = paired(singles(logs))
    assert (mine.low, mine.high) == pytest.approx(tuple(np.exp(test.confidence_interval(0.95))))
    assert mine.p == pytest.approx(test.pvalue)
    estimate = median(singles(np.exp(logs)))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((mine.value, mine.low, mine.high))


def test_iterations_are_condensed_before_units_are() -> None:
    units = [RNG(i).lognormal(0, 0.1, 30 + i) for i in range(9)]
    assert median(units) == median(singles(np.array([np.median(unit) for unit in units])))
    assert mean(units) == mean(singles(np.array([unit.mean() for unit in units])))


def test_mean_is_students_on_the_means() -> None:
    values = RNG(4).lognormal(0, 0.1, 9)
    low, high = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    mine = mean(singles(values))
    assert (mine.value, mine.low, mine.high) == pytest.approx((values.mean(), low, high))


@pytest.mark.parametrize("sizes", [(9, 14), (7, 30)])
def test_unpaired_ratios_are_yuens_test_of_scipy(sizes: tuple[int, int]) -> None:
    baseline, case = RNG(5).normal(0, 0.02, sizes[0]), RNG(6).normal(0.03, 0.1, sizes[1])
    mine = unpaired(singles(np.exp(baseline)), singles(np.exp(case)))
    theirs = stats.ttest_ind(baseline, case, equal_var=False, trim=1 / 6)
    assert mine.p == pytest.approx(theirs.pvalue)
    assert mine.value == pytest.approx(np.exp(stats.trim_mean(baseline, 1 / 6) - stats.trim_mean(case, 1 / 6)))
    assert (mine.low <= 1 <= mine.high) == (mine.p > 0.05)
    assert mine.n == min(sizes)


def test_unpaired_ratios_of_few_are_welchs_interval_of_scipy() -> None:
    baseline, case = RNG(5).normal(0, 0.02, 4), RNG(6).normal(0.03, 0.1, 5)
    mine = unpaired(singles(np.exp(baseline)), singles(np.exp(case)))
    interval = stats.ttest_ind(baseline, case, equal_var=False).confidence_interval(0.95)
    assert (mine.low, mine.high) == pytest.approx((np.exp(interval.low), np.exp(interval.high)))


def test_unpaired_ratio_with_one_process_on_a_side_has_no_interval() -> None:
    ratio = unpaired([np.array([2.0, 2.0])], singles(np.array([1.0, 1.1, 0.9])))
    assert ratio.value == pytest.approx(2, rel=0.01)
    assert np.isnan([ratio.low, ratio.high, ratio.p]).all()
    assert np.isnan(unpaired(singles(np.ones(3)), [np.ones(2)]).p)


@given(arrays(np.float64, st.integers(2, 20), elements=st.floats(-2, 2)))
def test_p_value_and_interval_agree(logs: np.ndarray) -> None:
    ratio = paired(singles(logs))
    clear = min(abs(np.log(ratio.low)), abs(np.log(ratio.high))) > 1e-9
    assert (ratio.p < 0.05) == (not ratio.low <= 1 <= ratio.high) or not clear


@given(arrays(np.float64, st.integers(2, 20), elements=st.floats(-2, 2)))
def test_ratio_of_the_other_way_round_is_the_inverse(logs: np.ndarray) -> None:
    forth, back = paired(singles(logs)), paired(singles(-logs))
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high)
    assert forth.p == pytest.approx(back.p)
    assert forth.low <= forth.value * (1 + 1e-9)
    assert forth.high >= forth.value * (1 - 1e-9)


@given(arrays(np.float64, st.integers(1, 20), elements=POSITIVE), st.floats(0.1, 10))
def test_median_interval_surrounds_the_estimate_and_scales(values: np.ndarray, factor: float) -> None:
    one, scaled = median(singles(values)), median(singles(values * factor))
    assert scaled.value == pytest.approx(one.value * factor)
    if len(values) > 1:
        assert one.low <= one.value * (1 + 1e-9)
        assert one.high >= one.value * (1 - 1e-9)
        assert np.log(scaled.high) == pytest.approx(np.log(one.high) + np.log(factor), abs=1e-6) or one.high > 1e300


@pytest.mark.parametrize("n", [6, 12, 30])
def test_one_wild_unit_hardly_moves_anything(n: int) -> None:
    logs = RNG(n).normal(0.1, 0.01, n)
    calm = paired(singles(logs))
    logs[3] = 5.0
    wild = paired(singles(logs))
    assert wild.value == pytest.approx(calm.value, rel=0.02)
    assert wild.high - wild.low < 2 * (calm.high - calm.low)


def test_two_wild_units_make_a_wide_interval_not_an_error() -> None:
    ratio = paired(singles(np.array([-300.0, 600.0])))
    assert 0 < ratio.low < ratio.value < ratio.high < np.inf


def test_ratio_of_a_constant_factor_is_that_factor() -> None:
    ratio = paired(singles(np.full(7, np.log(4))))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((4, 4, 4))
    assert ratio.p == pytest.approx(0, abs=1e-9)
    assert paired(singles(np.zeros(7))).p == 1


def test_one_process_has_no_interval() -> None:
    estimate, ratio = median([np.arange(1.0, 101.0)]), paired([np.array([0.1, 0.1])])
    assert (estimate.value, estimate.n) == (50.5, 1)
    assert np.isnan([estimate.low, estimate.high, ratio.low, ratio.high, ratio.p]).all()
    assert ratio.value == pytest.approx(np.exp(0.1))


def test_zeros_and_negative_values_are_no_obstacle() -> None:
    assert median(singles(np.zeros(3))) == Estimate(0.0, 0.0, 0.0, 3)
    assert median(singles(np.array([0.0, 0.0, 9.0]))).low == 0
    assert median(singles(np.array([-1.0, 0.0, 1.0]))).low < -1


def test_adjusted_p_values_are_benjamini_and_hochbergs() -> None:
    ps = [0.01, np.nan, 0.04, 0.03, 0.5]
    assert adjust(ps) == pytest.approx([0.04, np.nan, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5], nan_ok=True)
    assert np.isnan(adjust([np.nan, np.nan])).all()
    assert adjust([]) == []


def test_outliers_are_counted_by_tukeys_fences() -> None:
    values = np.array([*range(1, 10), 14.5, 30.0, -20.0], dtype=np.float64)
    spread = stats.iqr(values)
    first, third = np.quantile(values, [0.25, 0.75])
    beyond = np.maximum(first - values, values - third) / spread
    assert outliers(values) == Outliers(int(((beyond > 1.5) & (beyond <= 3)).sum()), int((beyond > 3).sum()), 12)
    assert outliers(values).severe == 2
    assert outliers(np.ones(5)) == (0, 0, 5)
    assert outliers(np.array([])) == (0, 0, 0)


@pytest.mark.parametrize(("q", "fewest"), [(0.9, 64), (0.99, 662), (0.999, 6636)])
def test_minimum_samples_equal_those_of_mlperf(q: float, fewest: int) -> None:
    assert fewest_samples(q) == fewest
    assert percentile([np.arange(fewest - 1, dtype=np.float64)], q) is None
    assert percentile([np.arange(fewest, dtype=np.float64)], q) is not None


@pytest.mark.parametrize(("n", "q"), [(64, 0.9), (500, 0.9), (700, 0.99), (31, 0.5)])
def test_percentile_bounds_equal_scipys_quantile_test(n: int, q: float) -> None:
    values = RNG(n).lognormal(0, 0.3, n)
    bound = percentile([values], q)
    theirs = stats.quantile_test(values, p=q).confidence_interval(0.98)
    assert bound is not None
    assert (bound.low, bound.high) == (theirs.low, theirs.high)
    assert bound.low <= bound.value <= bound.high
    assert bound.high < values.max()


def test_samples_of_processes_that_differ_are_worth_fewer() -> None:
    noise = RNG(1).normal(0, 0.01, (12, 200))
    similar, different = list(noise), list(noise + RNG(2).normal(0, 0.004, (12, 1)))
    assert 1000 < effective_samples(similar, 0.9) < 2400
    assert effective_samples(different, 0.9) < 500
    narrow, wide = percentile(similar, 0.9), percentile(different, 0.9)
    assert narrow is not None
    assert wide is not None
    assert narrow.n == wide.n == 2400
    assert narrow.high - narrow.low < (wide.high - wide.low) / 1.5
    assert effective_samples([np.concatenate(similar)], 0.9) == 2400


def test_percentile_of_too_few_processes_has_no_bounds() -> None:
    processes = [RNG(i).normal(10 + i, 0.1, 500) for i in range(3)]
    found = percentile(processes, 0.5)
    assert found is not None
    assert found.value == pytest.approx(np.quantile(np.concatenate(processes), 0.5))
    assert np.isnan([found.low, found.high]).all()
