import numpy as np
import pytest
from scipy import stats

from analysis.warnings import forecast, roc

NAN = float("nan")


def test_the_score_is_the_latest_median_of_three_less_the_first() -> None:
    values = np.array([[1.0, 3, 2, 9, 4, 5], [NAN, 7.0, 7, 7, 8, 9]])
    # medians of three: 2, 3, 4, 5 in the first run; 7, 7, 8 in the second, which starts later
    expected = [[NAN, NAN, 0.0, 1, 2, 3], [NAN, NAN, NAN, 0, 0, 1]]
    np.testing.assert_array_equal(forecast.departure(values), expected)


def test_the_score_knows_nothing_of_the_future() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40))
    before = forecast.departure(values)
    values[:, 25:] = 1e6
    np.testing.assert_array_equal(forecast.departure(values)[:, :25], before[:, :25])


def test_two_points_are_too_few_for_a_score() -> None:
    assert np.isnan(forecast.departure(np.ones((2, 2)))).all()


def test_a_moment_is_labelled_by_what_comes_within_the_horizon() -> None:
    steps = np.arange(0.0, 60.0, 10.0)  # 0, 10, 20, 30, 40, 50
    # Collapse at 40, held to 50, still running at 30; horizon 20.
    last, collapse = np.array([50.0, 50, 30]), np.array([40.0, NAN, NAN])
    positive, negative = forecast.labels(steps, last, collapse, 20)
    assert positive.astype(int).tolist() == [[0, 0, 1, 1, 0, 0], [0] * 6, [0] * 6]
    # A run without a collapse is known to go on for 20 more up to 30, and up to 10 where it is at 30.
    expected = [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert negative.astype(int).tolist() == expected


def perfect(runs: int) -> roc.Pairs:
    """Pairs of studies in which half of the runs collapse and a score never errs."""
    score = np.zeros((2 * runs, 6))
    positive = np.zeros(score.shape, bool)
    positive[:runs, 3:] = True
    score[positive] = 1.0
    return roc.pairs_of(roc.classes_of(score), positive, ~positive)


def test_an_interval_of_a_faultless_score_is_no_point_and_narrows_with_runs() -> None:
    found = []
    for runs in (3, 5, 10, 40):
        pairs = perfect(runs)
        resampled = forecast.resampled_areas(pairs, 1.0, forecast.draw(2 * runs))
        found.append(forecast.interval_of(resampled, runs)[0])
    assert found == sorted(found) and found[0] <= 0.7 and 0.9 < found[-1] < 1


def test_resampling_without_the_made_up_run_is_the_weighted_share_of_pairs() -> None:
    pairs = perfect(3)
    pairs.gain[0] *= -1.0  # one run is told wrongly against every other
    weights = np.array([[2, 1, 0, 1, 1, 1, 0]], np.float32)
    # Positive moments 3 a run; negatives 3 in a run that collapsed, 6 in one that held.
    # Rows weigh 2, 1, 0; columns 3·(2 + 1 + 0) + 6·3 = 27: (−2·27 + 27)/(3·27) = −1/3
    assert forecast.resampled_areas(pairs, 1.0, weights) == pytest.approx([0.5 - 0.5 / 3])


def test_quantiles_are_expanded_for_the_smaller_group() -> None:
    values = np.linspace(0, 1, 100_001)
    tail = stats.norm.cdf(-np.sqrt(10 / 9) * stats.t.ppf(0.975, 9))
    assert forecast.interval_of(values, 10) == pytest.approx((tail, 1 - tail), abs=1e-4)
    assert np.isnan(forecast.interval_of(values, 1)).all()
