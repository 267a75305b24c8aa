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


def test_the_interval_of_three_seeds_is_their_range() -> None:
    # α'/2 = Φ(−√(3/2)·4.303) = 7e-8, while all resamples equal the least value with P = (1/3)³
    assert intervals.interval(np.array([0.0, 1.0, 5.0])) == Interval(2.0, 0.0, 5.0, 3)


def test_the_interval_of_a_coin_is_the_binomial_quantile() -> None:
    # Ten 0 and ten 1: a resample's sum is binomial(20, ½). α'/2 = Φ(−√(20/19)·2.0930) = 0.0159.
    # P(sum ≤ 4) = 0.0059 < 0.0159 < P(sum ≤ 5) = 0.0207, so that low = 5/20; high by symmetry.
    coin = np.array([0.0, 1.0] * 10)
    assert intervals.interval(coin) == Interval(0.5, 0.25, 0.75, 20)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_give_no_interval(n: int) -> None:
    found = intervals.interval(np.arange(1.0, n + 1))
    assert found.n == n
    assert np.isfinite(found.estimate)
    assert np.isnan(found.low) and np.isnan(found.high)
    assert not found.excludes_zero


def test_no_values_give_nan() -> None:
    found = intervals.interval(np.array([np.nan]))
    assert found.n == 0 and np.isnan(found.estimate)


def test_intervals_are_the_same_at_every_call() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40))
    first, second = intervals.curve_interval(values), intervals.curve_interval(values)
    np.testing.assert_array_equal(first, second)


def test_curve_intervals_are_computed_over_the_seeds_that_are_there() -> None:
    values = np.array([[0.0, 0.0], [1.0, np.nan], [5.0, 5.0]])
    centre, low, high = intervals.curve_interval(values)
    assert centre.tolist() == [2.0, 2.5]
    np.testing.assert_array_equal(low, [0.0, np.nan])
    np.testing.assert_array_equal(high, [5.0, np.nan])


@pytest.mark.parametrize(("n", "least", "most"), [(3, 0.72, 0.78), (5, 0.90, 0.94), (10, 0.93, 0.97)])
def test_intervals_cover_as_often_as_the_documentation_says(n: int, least: float, most: float) -> None:
    values = np.random.default_rng(7).normal(size=(n, 4000))
    _, low, high = intervals.curve_interval(values, statistic=intervals.mean)
    assert least < np.mean((low < 0) & (high > 0)) < most


def test_a_paired_difference_removes_what_seeds_share() -> None:
    # Seeds differ by 100, the arms by 1, 2 and 3: mean 2, and the range 1 to 3 at three seeds.
    shared = np.array([0.0, 100.0, 200.0])
    found = intervals.paired_difference(shared + np.array([1.0, 2.0, 3.0]), shared)
    assert found == Interval(2.0, 1.0, 3.0, 3)


def test_a_pair_with_nan_is_left_out() -> None:
    found = intervals.paired_difference(np.array([1.0, 2, 3, 4]), np.array([0.0, 0, 0, np.nan]))
    assert found == Interval(2.0, 1.0, 3.0, 3)


def test_arms_of_different_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="needs the same seeds in both arms, got 3 and 2"):
        intervals.paired_difference(np.zeros(3), np.zeros(2))


def test_probability_of_improvement_counts_all_pairs_of_runs() -> None:
    # 2 > 1, 2 < 3, 4 > 1, 4 > 3: three of four;   ties count ½
    assert intervals.probability_of_improvement(np.array([2.0, 4]), np.array([1.0, 3])).estimate == 0.75
    assert intervals.probability_of_improvement(np.ones(3), np.ones(3)) == Interval(0.5, 0.5, 0.5, 3)


def test_sign_flips_are_counted_exactly() -> None:
    # 1 + 2 + 3 = 6 is reached by +++ and −−− alone: 2/8
    assert intervals.sign_flip_p(np.array([1.0, 2, 3])) == 0.25
    # 3 − 1 + 2 = 4; ±(3+1+2) = ±6 and ±(3−1+2) = ±4 are as far from zero: 4/8
    assert intervals.sign_flip_p(np.array([3.0, -1, 2])) == 0.5
    # equal sums count as equal although 0.1 + 0.2 ≠ 0.3 in floating point: all but ±(0.3−0.2+0.1)…
    assert intervals.sign_flip_p(np.array([0.1, 0.2, 0.3])) == 0.25
    assert intervals.sign_flip_p(np.zeros(4)) == 1.0


@pytest.mark.parametrize("n", [3, 5, 6, 12])
def test_no_sign_flip_p_is_below_its_floor(n: int) -> None:
    assert intervals.sign_flip_p(np.full(n, 2.0)) == intervals.smallest_p(n) == 2 / 2**n


def test_many_seeds_are_flipped_at_random_close_to_the_exact_p() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1.0, 13)
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 13)).reshape(13, -1).T
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12))
    # 20,000 draws: four standard errors of a share near 0.05 are 0.006
    assert abs(intervals.sign_flip_p(differences) - exact) < 4 * np.sqrt(exact / 20_000)


def test_holm_multiplies_by_the_hypotheses_left_and_never_falls() -> None:
    # sorted 0.01, 0.03, 0.04 → 0.03, 0.06, max(0.06, 0.04); NaN do not count
    found = intervals.holm(np.array([0.01, 0.04, np.nan, 0.03]))
    np.testing.assert_allclose(found, [0.03, 0.06, np.nan, 0.06], rtol=1e-12)
    assert intervals.holm(np.array([0.7, 0.8])).tolist() == [1.0, 1.0]


def test_the_detectable_difference_is_found_in_four_studies_of_five() -> None:
    rng = np.random.default_rng(5)
    unit = rng.normal(size=8)
    unit = (unit - unit.mean()) / unit.std(ddof=1)
    shift = intervals.detectable_difference(unit)  # in standard deviations
    studies = rng.normal(shift, 1.0, (20_000, 8))
    t = studies.mean(1) / (studies.std(1, ddof=1) / np.sqrt(8))
    # four standard errors of 0.8 at 20,000 draws are 0.011
    assert abs(np.mean(t > stats.t.ppf(0.975, 7)) - 0.8) < 0.011


def test_two_seeds_have_no_detectable_difference() -> None:
    assert np.isnan(intervals.detectable_difference(np.array([1.0, 2.0])))
