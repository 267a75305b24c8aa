import numpy as np
import pytest
from scipy import stats

from analysis import significance


def flip_p(*differences: float) -> float:
    return float(significance.sign_flip_p(np.array(differences)[:, None])[0])


def test_sign_flips_are_counted_exactly() -> None:
    # 1 + 2 + 3 = 6 is reached by +++ and −−− alone: 2/8
    assert flip_p(1, 2, 3) == 0.25
    # 3 − 1 + 2 = 4; ±(3+1+2) = ±6 and ±(3−1+2) = ±4 are as far from zero: 4/8
    assert flip_p(3, -1, 2) == 0.5
    # equal sums count as equal although 0.1 + 0.2 ≠ 0.3 in floating point: all but ±(0.3−0.2+0.1)…
    assert flip_p(0.1, 0.2, 0.3) == 0.25
    assert flip_p(0, 0, 0, 0) == 1.0
    assert np.isnan(flip_p(np.nan))


def test_sign_flips_leave_out_nan_column_by_column() -> None:
    differences = np.array([[3.0, np.nan], [np.nan, 1.0], [-1.0, 2.0], [2.0, 3.0]])
    assert significance.sign_flip_p(differences).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("n", [3, 5, 6, 12])
def test_no_sign_flip_p_is_below_its_floor(n: int) -> None:
    assert flip_p(*[2.0] * n) == significance.smallest_p(n) == 2 / 2**n


def test_many_seeds_are_flipped_at_random_close_to_the_exact_p() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1.0, 13)
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 13)).reshape(13, -1).T
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12))
    # 20,000 draws: four standard errors of a share near 0.05 are 0.006
    assert abs(flip_p(*differences) - exact) < 4 * np.sqrt(exact / 20_000)


def test_holm_multiplies_by_the_hypotheses_left_and_never_falls() -> None:
    # sorted 0.01, 0.03, 0.04 → 0.03, 0.06, max(0.06, 0.04); NaN do not count
    found = significance.holm(np.array([0.01, 0.04, np.nan, 0.03]))
    np.testing.assert_allclose(found, [0.03, 0.06, np.nan, 0.06], rtol=1e-12)
    assert significance.holm(np.array([0.7, 0.8])).tolist() == [1.0, 1.0]


def detectable(n: int) -> float:
    """Detectable difference of n paired seeds, in standard deviations."""
    return float(significance.detectable_difference(np.array([1 / np.sqrt(n)]), np.array([n - 1]))[0])


def test_the_detectable_difference_is_found_in_four_studies_of_five() -> None:
    studies = np.random.default_rng(5).normal(detectable(8), 1.0, (20_000, 8))
    t = studies.mean(1) / (studies.std(1, ddof=1) / np.sqrt(8))
    # four standard errors of 0.8 at 20,000 draws are 0.011
    assert abs(np.mean(t > stats.t.ppf(0.975, 7)) - 0.8) < 0.011


def test_two_seeds_have_no_detectable_difference() -> None:
    assert np.isnan(detectable(2))


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0, 20.0])
def test_the_seeds_that_are_needed_detect_and_one_fewer_do_not(ratio: float) -> None:
    n = significance.seeds_needed(sd=ratio, difference=-1.0)
    assert detectable(n) * ratio <= 1.0
    assert n == 3 or detectable(n - 1) * ratio > 1.0


def test_a_known_number_of_seeds_is_needed_for_a_difference_of_one_deviation() -> None:
    # The textbook's paired t test: effect 1 s, α = 0.05 two-sided, power 0.8: n = 10 (Cohen 1988).
    assert significance.seeds_needed(sd=2.0, difference=2.0) == 10


@pytest.mark.parametrize("half_width", [0.1, 0.5, 5.0])
def test_the_seeds_for_a_precision_reach_it_and_one_fewer_do_not(half_width: float) -> None:
    def half(n: int) -> float:
        return float(stats.t.ppf(0.975, n - 1) / np.sqrt(n))

    n = significance.seeds_for_precision(1.0, half_width)
    assert half(n) <= half_width
    assert n == 3 or half(n - 1) > half_width


def test_no_seeds_find_a_difference_of_zero_or_give_a_width_of_zero() -> None:
    with pytest.raises(ValueError, match="no number of seeds finds a difference of zero"):
        significance.seeds_needed(1.0, 0.0)
    with pytest.raises(ValueError, match="half_width must be positive, got 0"):
        significance.seeds_for_precision(1.0, 0.0)
