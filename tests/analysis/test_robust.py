import numpy as np
import pytest

from analysis import robust


def test_a_streak_begins_where_three_in_a_row_begin() -> None:
    assert robust.first_streak([False, True, True, False, True, True, True, True]) == 4
    assert robust.first_streak([True, True, False, True, True]) is None
    assert robust.first_streak([]) is None


def test_noise_is_measured_from_differences_so_that_a_trend_is_none() -> None:
    # A line has equal differences. Differences 1, 3, 1, 3, 1: median 1, deviations 0, 2, 0, 2, 0.
    assert robust.noise_scale(np.arange(10.0)) == 0.0
    assert robust.noise_scale(np.array([0.0, 1, 4, 5, 8])) == pytest.approx(1.4826 / np.sqrt(2))
    assert np.isnan(robust.noise_scale(np.array([1.0, 2.0])))


def test_drift_is_the_slope_of_the_second_half_per_hundred_iterations() -> None:
    steps = np.arange(0.0, 400.0, 5.0)
    # falls by 1 an iteration until 200, then rises by 0.02: 2 per 100 iterations
    bent = np.where(steps < 200, 200.0 - steps, 0.02 * (steps - 200))
    assert robust.drift(steps, np.stack([bent, -bent])) == pytest.approx([2.0, -2.0])
    assert np.isnan(robust.drift(steps[:3], bent[:3]))


def test_drift_is_not_moved_by_a_fifth_of_wild_points() -> None:
    rng = np.random.default_rng(0)
    steps = np.arange(100.0)
    line = 0.01 * steps
    line[rng.choice(100, 20, replace=False)] = 1e6
    assert robust.drift(steps, line) == pytest.approx(1.0, abs=1e-9)


def test_spikes_are_counted_whatever_the_trend_and_the_scale() -> None:
    rng = np.random.default_rng(0)
    curve = 0.5 * np.arange(200.0) + rng.normal(size=200)
    spiked = curve.copy()
    spiked[[30, 31, 90, 199]] += 40.0
    values = np.stack([curve, spiked, 1e-6 * spiked])
    assert robust.spikes(values).tolist() == [0, 4, 4]


def test_a_curve_that_stands_still_has_no_spikes_but_where_it_moves() -> None:
    still = np.full(60, 3.0)
    moved = still.copy()
    moved[20] = 3.001
    assert robust.spikes(np.stack([still, moved])).tolist() == [0, 1]
