import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis import intervals
from analysis.intervals import Interval


def test_iqm_cuts_a_quarter_from_either_end() -> None:
    # n = 8: two are cut from either end, (1 + 2 + 3 + 100)/4 = 26.5
    assert intervals.iqm(np.array([100.0, 0, 1, 2, 3, 100, 100, 0])) == 26.5
    # n = 5: one from either end, (2 + 3 + 4)/3 = 3;   n = 3: none, (0 + 0 + 9)/3 = 3
    assert intervals.iqm(np.array([1.0, 2, 3, 4, 99])) == 3.0
    assert intervals.iqm(np.array([0.0, 0, 9])) == 3.0


def test_iqm_leaves_out_nan_column_by_column() -> None:
    values = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, 7.0], [np.nan, np.nan]])
    assert intervals.iqm(values).tolist() == [2.0, 6.0]
    assert np.isnan(intervals.iqm(np.array([np.nan, np.nan])))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_iqm_equals_the_trimmed_mean_of_scipy(values: list[float]) -> None:
    expected = stats.trim_mean(values, 0.25)
    np.testing.assert_allclose(intervals.iqm(np.array(values)), expected, rtol=1e-9, atol=1e-9)


def test_the_interval_of_a_mean_is_students() -> None:
    # mean 2, s² = (4 + 1 + 9)/2 = 7, t₀.₉₇₅,₂ = 4.302653: 2 ± 4.302653·√(7/3) = 2 ± 6.572411
    found = intervals.interval(np.array([0.0, 1.0, 5.0]))
    np.testing.assert_allclose(
        [found.estimate, found.low, found.high], [2.0, -4.572411, 8.572411], rtol=1e-6
    )
    assert found.n == 3


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=20, unique=True))
def test_the_interval_of_a_mean_is_the_one_that_scipys_t_test_gives(values: list[float]) -> None:
    found, expected = intervals.interval(np.array(values)), stats.ttest_1samp(values, 0.0)
    ends = expected.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [ends.low, ends.high], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_give_no_interval(n: int) -> None:
    found = intervals.interval(np.arange(1.0, n + 1))
    assert found.n == n
    assert np.isfinite(found.estimate)
    assert np.isnan(found.low) and np.isnan(found.high)


def test_no_values_give_nan() -> None:
    found = intervals.interval(np.array([np.nan]))
    assert found.n == 0 and np.isnan(found.estimate)


def test_a_column_with_a_nan_is_estimated_from_the_rest_of_it() -> None:
    values = np.array([[1.0, 1.0], [2.0, 2.0], [6.0, 6.0], [9.0, np.nan]])
    found = intervals.mean_intervals(values)
    alone = intervals.interval(np.array([1.0, 2.0, 6.0]))
    assert found.n.tolist() == [4, 3]
    assert Interval(found.estimate[1], found.low[1], found.high[1], 3) == alone


def test_three_and_four_seeds_have_students_width_around_the_iqm() -> None:
    # n = 4: iqm (1 + 5)/2 = 3, mean 4, s² = (16 + 9 + 1 + 36)/3: half 3.182446·√(62/12) = 7.233800
    centre, low, high = intervals.curve_interval(np.array([[0.0], [1.0], [5.0], [10.0]]))
    np.testing.assert_allclose([centre[0], low[0], high[0]], [3.0, -4.2338, 10.2338], rtol=1e-6)


def test_a_resample_of_all_values_once_has_the_iqm_of_the_values() -> None:
    ordered = np.sort(np.random.default_rng(1).normal(size=(7, 3)), axis=0)
    found = intervals.iqm_resamples(ordered, 400, seed=2)
    draws = np.random.default_rng(2).integers(0, 7, (400, 7))
    expected = np.stack([intervals.iqm(ordered[draw]) for draw in draws])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_bootstrap_interval_of_a_coin_is_the_quantile_of_its_resamples() -> None:
    # Ten 0 and ten 1. A resample with k ones keeps its middle ten: iqm = min(1, max(0, (k − 5)/10)).
    # α'/2 = Φ(−2.0930) = 0.0182; P(k ≤ 4) = 0.0059 < 0.0182 < P(k ≤ 5) = 0.0207: low = 0.
    # Of nine 0 and eleven 1, k is binomial(20, 0.55): P(k ≤ 5) = 0.0064, P(k ≤ 6) = 0.0214: low = 0.1.
    # The plain 2.5 % would give 0.1 and 0.2.
    coins = np.sort(np.stack([np.arange(20.0) >= 10, np.arange(20.0) >= 9], axis=1), axis=0)
    _, low, _ = intervals.curve_interval(coins.astype(float), resamples=20_000)
    np.testing.assert_allclose(low, [0.0, 0.1], atol=1e-12)


def test_intervals_are_the_same_at_every_call() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40))
    first, second = intervals.curve_interval(values), intervals.curve_interval(values)
    np.testing.assert_array_equal(first, second)


def test_curve_intervals_are_computed_over_the_seeds_that_are_there() -> None:
    values = np.array([[0.0, 0.0], [1.0, np.nan], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [7.0, 7.0]])
    centre, low, high = intervals.curve_interval(values)
    alone = intervals.curve_interval(values[[0, 2, 3, 4, 5], 1:])
    np.testing.assert_array_equal([centre[1], low[1], high[1]], np.concatenate(alone))
    assert low[0] != low[1]


def test_curves_of_fewer_than_three_seeds_have_no_band() -> None:
    centre, low, high = intervals.curve_interval(np.array([[1.0], [3.0]]))
    assert centre.tolist() == [2.0]
    assert np.isnan(low).all() and np.isnan(high).all()
