"""Golden numbers of the slot reward_function."""

from math import inf

import pytest
import torch
from torch import Tensor

from tests.builders import make_rollout
from workbench.recipe import Recipe
from workbench.trick import RewardFunction, ScoreTransform
from workbench.tricks.reward_function.greedy_baseline import GreedyBaseline
from workbench.tricks.reward_function.length_penalty import LengthPenalty
from workbench.tricks.reward_function.missing_eos_penalty import MissingEosPenalty
from workbench.tricks.reward_function.overlong_penalty import OverlongPenalty
from workbench.tricks.reward_function.raw_reward_clip import RawRewardClip
from workbench.tricks.reward_function.reference_response_baseline import ReferenceResponseBaseline
from workbench.tricks.reward_function.stop_properly_penalty import StopProperlyPenalty
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.score.reward_reference_centring import RewardReferenceCentring
from workbench.types import Rollout


def exactly(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scored(*scores: float, lengths: tuple[int, ...] = (4, 2, 4), **given: Tensor) -> Rollout:
    """Make responses of these lengths and scores; those of four tokens are cut at the cap."""
    shown = {"text_length": torch.tensor(lengths), "is_truncated": torch.tensor(lengths) == 4}
    return make_rollout(lengths, score=exactly(*scores), **(shown | given))


def applied(trick: RewardFunction | ScoreTransform, rollout: Rollout) -> list[float]:
    return [float(score) for score in trick(rollout.score, rollout)]


def test_reference_response_baseline_subtracts_the_score_of_the_tasks_response() -> None:
    rollout = scored(1.0, 2.0, -3.0, reference_score=exactly(0.5, 3.0, -1.0))
    # 1 − 0.5, 2 − 3, −3 + 1
    assert applied(ReferenceResponseBaseline(), rollout) == [0.5, -1.0, -2.0]


def test_greedy_baseline_subtracts_the_score_of_the_greedy_response() -> None:
    rollout = scored(1.0, 2.0, -3.0, greedy_score=exactly(2.0, 2.0, -4.0))
    # 1 − 2, 2 − 2, −3 + 4
    assert applied(GreedyBaseline(), rollout) == [-1.0, 0.0, 1.0]


def test_missing_eos_penalty_is_subtracted_from_cut_responses_only() -> None:
    # the first and the third are cut: 1 − 0.7, 2, −3 − 0.7
    found = applied(MissingEosPenalty(penalty=0.7), scored(1.0, 2.0, -3.0))
    assert found == pytest.approx([0.3, 2.0, -3.7])


def test_missing_eos_score_replaces_the_score_of_cut_responses_only() -> None:
    assert applied(MissingEosScore(), scored(1.0, 2.0, -3.0)) == [-1.0, 2.0, -1.0]


def test_missing_eos_score_is_on_the_normalised_scale() -> None:
    # scores 1, 2, −3 have mean 0; centred they stay, and the cut ones are −1 whatever the mean is
    rollout = scored(11.0, 12.0, 7.0)
    recipe = Recipe("both", (MissingEosScore(), RewardReferenceCentring()))
    recipe.observe(rollout)
    assert recipe.score(rollout.score, rollout).tolist() == [-1.0, 2.0, -1.0]


def test_a_response_that_ends_at_the_very_cap_has_its_end_token() -> None:
    rollout = scored(1.0, 2.0, -3.0, is_truncated=torch.tensor([False, False, True]))
    assert applied(MissingEosScore(), rollout) == [1.0, 2.0, -1.0]
    assert applied(MissingEosPenalty(), rollout) == [1.0, 2.0, -4.0]


def test_stop_properly_penalty_shrinks_the_score_of_cut_responses() -> None:
    # 0.25·1, 2, 0.25·(−3): a bad response gains by being cut, as in OpenRLHF
    assert applied(StopProperlyPenalty(coefficient=0.25), scored(1.0, 2.0, -3.0)) == [0.25, 2.0, -0.75]


def test_openrlhfs_negative_coefficient_is_missing_eos_score() -> None:
    with pytest.raises(ValueError, match=r"stop_properly_penalty\.coefficient must be at least 0"):
        StopProperlyPenalty(coefficient=-0.5)
    assert applied(MissingEosScore(score=-0.5), scored(1.0, 2.0, -3.0)) == [-0.5, 2.0, -0.5]


def test_overlong_penalty_grows_over_the_buffer_and_stops_at_the_factor() -> None:
    trick = OverlongPenalty(max_tokens=20, buffer=8, factor=2.0)
    length = torch.tensor([12, 13, 16, 20, 30])
    rollout = scored(0, 0, 0, 0, 0, lengths=(1, 1, 1, 1, 1), text_length=length)
    # 20 − 8 = 12 are free; 2·(1/8), 2·(4/8), 2·(8/8), and no more
    assert applied(trick, rollout) == [0.0, -0.25, -1.0, -2.0, -2.0]


def test_length_penalty_charges_every_token_of_the_text() -> None:
    rollout = scored(1.0, 1.0, 1.0, text_length=torch.tensor([4, 2, 3]))
    # 1 − 0.1·(4, 2, 3): the third goes on for one token behind its text
    assert applied(LengthPenalty(weight=0.1), rollout) == pytest.approx([0.6, 0.8, 0.7])


def test_raw_reward_clip_bounds_both_sides() -> None:
    assert applied(RawRewardClip(max_abs=1.5), scored(1.0, 2.0, -3.0)) == [1.0, 1.5, -1.5]
    assert applied(RawRewardClip(max_abs=inf), scored(1.0, 2.0, -3.0)) == [1.0, 2.0, -3.0]


def test_length_is_charged_before_a_missing_end_and_the_baseline_and_the_clip_come_last() -> None:
    rollout = scored(1.0, 2.0, -3.0, reference_score=exactly(0.5, 0.5, 0.5))
    tricks = (
        RawRewardClip(max_abs=1.0),
        ReferenceResponseBaseline(),
        StopProperlyPenalty(coefficient=0.0),
        LengthPenalty(weight=0.1),
    )
    # 2 − 0.2 − 0.5 = 1.3, cut at 1; a cut response ends at 0 − 0.5, whatever its length
    found = Recipe("all", tricks).reward_function(rollout.score, rollout)
    assert found.tolist() == pytest.approx([-0.5, 1.0, -0.5])


@pytest.mark.parametrize("other", [MissingEosScore(), StopProperlyPenalty()])
def test_the_punishments_of_a_missing_end_are_alternatives(other: RewardFunction) -> None:
    names = [trick.name for trick in Recipe("two", (MissingEosPenalty(),)).plus(other).tricks]
    assert other.name in names and "missing_eos_penalty" not in names


def test_normalising_after_the_raw_clip_differs_from_the_other_order() -> None:
    rollout = scored(0.0, 1.0, 9.0)
    clipped = RawRewardClip(max_abs=2.0)(rollout.score, rollout)
    norm = RewardNorm()
    norm.observe(scored(*clipped.tolist()))
    # 0, 1, 2: mean 1, unbiased deviation 1; of the raw 0, 1, 9 the deviation would be 4.93
    assert norm(clipped, rollout).tolist() == pytest.approx([-1.0, 0.0, 1.0])
