"""Golden choices of the slot selection."""

from dataclasses import replace
from math import inf

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_rollout
from workbench.trick import Selection
from workbench.tricks.selection.best_of_group import BestOfGroup
from workbench.tricks.selection.drop_short import DropShort
from workbench.tricks.selection.drop_truncated import DropTruncated
from workbench.tricks.selection.dynamic_filtering import DynamicFiltering
from workbench.tricks.selection.extremes_of_group import ExtremesOfGroup
from workbench.tricks.selection.score_range_filter import ScoreRangeFilter
from workbench.types import Rollout


def scored(scores: list[float], group: list[int], dtype: torch.dtype = torch.float64) -> Rollout:
    """Return responses of one token with these scores."""
    given_scores = torch.tensor(scores, dtype=dtype)
    return make_rollout([1] * len(scores), score=given_scores, group=torch.tensor(group))


def kept(trick: Selection, rollout: Rollout) -> list[int]:
    """Return the numbers of the rows that are kept."""
    return trick(rollout).nonzero()[:, 0].tolist()


PAIRS = [0, 0, 1, 1, 2, 2]


def test_dynamic_filtering_keeps_the_groups_that_dapo_keeps() -> None:
    # 0 < number of right answers < G: only the first of (1, 0), (1, 1), (0, 0)
    assert kept(DynamicFiltering(), scored([1, 0, 1, 1, 0, 0], PAIRS)) == [0, 1]


def test_dynamic_filtering_asks_for_more_than_the_threshold() -> None:
    # ranges 2, 0.5 and 1; τ = 1 is not more than 1
    assert kept(DynamicFiltering(threshold=1.0), scored([1, 3, 2, 2.5, 4, 5], PAIRS)) == [0, 1]


def test_dynamic_filtering_is_not_fooled_by_rounding() -> None:
    # three scores of 0.1 have a mean that is not 0.1 and so a deviation above 0; their range is 0
    for dtype in (torch.float32, torch.float64):
        assert kept(DynamicFiltering(), scored([0.1, 0.1, 0.1, 1, 2], [0, 0, 0, 1, 1], dtype)) == [3, 4]


def test_the_score_range_is_open_at_both_ends() -> None:
    # means 0, ½ and 1
    scores = [0, 0, 0, 1, 1, 1]
    assert kept(ScoreRangeFilter(), scored(scores, PAIRS)) == [2, 3]
    assert kept(ScoreRangeFilter(low=0.25, high=2.0), scored(scores, PAIRS)) == [2, 3, 4, 5]
    assert kept(ScoreRangeFilter(low=-inf, high=inf), scored(scores, PAIRS)) == [0, 1, 2, 3, 4, 5]


def test_on_scores_of_zero_and_one_both_filters_are_dapos() -> None:
    rollout = scored([1, 0, 1, 1, 0, 0], PAIRS)
    assert kept(DynamicFiltering(), rollout) == kept(ScoreRangeFilter(), rollout)


def test_equal_scores_inside_the_range_are_dropped_by_one_filter_only() -> None:
    # mean ½ of (½, ½): inside (0, 1), but without a range
    rollout = scored([0.5, 0.5], [0, 0])
    assert kept(DynamicFiltering(), rollout) == []
    assert kept(ScoreRangeFilter(), rollout) == [0, 1]


def test_drop_truncated_keeps_what_ended_by_itself() -> None:
    rollout = make_rollout([3, 2, 3], is_truncated=torch.tensor([True, False, False]))
    assert kept(DropTruncated(), rollout) == [1, 2]


def test_drop_short_drops_answers_of_one_token_as_deepspeed_does() -> None:
    rollout = make_rollout([3, 2, 1])
    short = replace(rollout, text_length=torch.tensor([3, 2, 1]))
    assert kept(DropShort(), short) == [0, 1]
    assert kept(DropShort(min_tokens=3), short) == [0]


def test_drop_short_counts_up_to_the_first_end_token() -> None:
    # sampled to a fixed length of 3; the second response ended with its first token
    rollout = make_rollout([3, 3], text_length=torch.tensor([3, 1]))
    assert kept(DropShort(), rollout) == [0]


def test_best_of_group_keeps_the_best_and_what_equals_it() -> None:
    # (1, 3, 2): 3;  (5, 5): both
    rollout = scored([1, 3, 2, 5, 5], [0, 0, 0, 1, 1])
    assert kept(BestOfGroup(), rollout) == [1, 3, 4]
    assert kept(BestOfGroup(kept=2), rollout) == [1, 2, 3, 4]


def test_extremes_of_group_are_the_best_and_the_worst() -> None:
    # (1, 3, 2): 1 and 3;  (5, 7, 7, 6): 5 and both 7
    rollout = scored([1, 3, 2, 5, 7, 7, 6], [0, 0, 0, 1, 1, 1, 1])
    assert kept(ExtremesOfGroup(), rollout) == [0, 1, 3, 4, 5]


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=6, unique=True))
def test_no_pair_has_more_variance_than_the_extremes(scores: list[int]) -> None:
    rollout = scored([float(score) for score in scores], [0] * len(scores))
    low, high = sorted(scores[i] for i in kept(ExtremesOfGroup(), rollout))
    assert all((a - b) ** 2 <= (high - low) ** 2 for a in scores for b in scores)


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_best_are_among_the_extremes(size: int, seed: int) -> None:
    rollout = make_rollout([1] * (2 * size), seed=seed, group=torch.arange(2 * size) % 2)
    assert set(kept(BestOfGroup(), rollout)) <= set(kept(ExtremesOfGroup(), rollout))
