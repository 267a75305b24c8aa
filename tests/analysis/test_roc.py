import numpy as np
import pytest

from analysis.warnings import roc

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(params=range(12))
def case(request: pytest.FixtureRequest) -> Cases:
    """Scores with ties [7, 12], and which moments are positive and negative."""
    rng = np.random.default_rng(request.param)
    kind = rng.integers(0, 3, (7, 12))
    kind[3] = 0  # a run without any moment
    return rng.integers(0, 6, (7, 12)).astype(float), kind == 1, kind == 2


def by_hand(case: Cases, first: int, second: int, *, at_one_time: bool = False) -> tuple[float, int]:
    """Count pairs of two runs one by one: share above, a tie a half, less a half; and how many."""
    score, positive, negative = case
    gain, count = 0.0, 0
    for early in np.flatnonzero(positive[first]):
        for late in np.flatnonzero(negative[second]):
            if early == late or not at_one_time:
                gain += 0.5 * np.sign(score[first, early] - score[second, late])
                count += 1
    return gain, count


@pytest.mark.parametrize("at_one_time", [False, True])
def test_pairs_are_those_that_are_counted_one_by_one(case: Cases, at_one_time: bool) -> None:
    score, positive, negative = case
    count = roc.pairs_of_one_time if at_one_time else roc.pairs_of
    found = count(roc.classes_of(score), positive, negative)
    for row, first in enumerate(found.rows):
        for second in range(7):
            expected = by_hand(case, int(first), second, at_one_time=at_one_time)
            assert (found.gain[row, second], found.count[row, second]) == expected


def test_more_values_than_classes_move_the_area_by_less_than_a_thousandth() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=(20, 1000))
    positive = np.arange(1000) > 700
    positive = np.tile(positive, (20, 1))
    score[positive] += 1.0
    found = roc.pairs_of(roc.classes_of(score), positive, ~positive)
    high, low = score[positive], np.sort(score[~positive])
    exact = np.searchsorted(low, high).mean() / len(low)
    assert 0.5 + found.gain.sum() / found.count.sum() == pytest.approx(exact, abs=1e-3)


def test_a_direction_is_learnt_without_either_run_of_the_pair(case: Cases) -> None:
    found = roc.pairs_of(roc.classes_of(case[0]), *case[1:])
    learnt = roc.directions(found)
    for row, first in enumerate(found.rows):
        for second in range(7):
            others = set(range(7)) - {int(first), second}
            left = sum(by_hand(case, one, other)[0] for one in others for other in others)
            assert learnt[row, second] == np.sign(left)


def test_the_direction_for_a_run_is_learnt_without_it(case: Cases) -> None:
    found = roc.directions_by_run(roc.pairs_of(roc.classes_of(case[0]), *case[1:]))
    for run in range(7):
        others = set(range(7)) - {run}
        left = sum(by_hand(case, one, other)[0] for one in others for other in others)
        assert found[run] == np.sign(left)


def test_a_monitor_that_falls_before_collapses_has_an_area_above_one_half() -> None:
    # Positive moments lower than negative ones in every run: the direction is learnt, the area 1.
    score = np.tile([5.0, 5, 5, 1, 1], (4, 1))
    positive = np.tile([False, False, False, True, True], (4, 1))
    pairs = roc.pairs_of(roc.classes_of(score), positive, ~positive)
    assert roc.held_out_area(pairs, roc.directions(pairs)) == 1.0
