"""Golden numbers of the slots score and reward."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_rollout
from workbench.recipe import Recipe
from workbench.tricks.reward.return_scaling import ReturnScaling
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.score.reward_clip import RewardClip
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.score.reward_scaling import RewardScaling
from workbench.types import Rollout


def scored(*scores: float) -> Rollout:
    """Make a rollout of two-token responses with these scores."""
    return make_rollout([2] * len(scores), score=torch.tensor(scores, dtype=torch.float64))


def applied(trick: RewardScaling | RewardNorm, *scores: float) -> list[float]:
    rollout = scored(*scores)
    trick.observe(rollout)
    return [float(score) for score in trick(rollout.score, rollout)]


def test_reward_scaling_divides_by_the_deviation_of_all_scores_so_far() -> None:
    trick = RewardScaling()
    # scores 1, 3: mean 2, unbiased variance (1 + 1)/1 = 2
    assert applied(trick, 1.0, 3.0) == pytest.approx([1 / 2**0.5, 3 / 2**0.5])
    # then 5: mean 3, variance (4 + 0 + 4)/2 = 4, deviation 2
    assert applied(trick, 5.0) == pytest.approx([2.5])


def test_reward_norm_also_removes_the_mean_of_all_scores_so_far() -> None:
    trick = RewardNorm()
    # 1, 3: (1 − 2)/√2, (3 − 2)/√2
    assert applied(trick, 1.0, 3.0) == pytest.approx([-(0.5**0.5), 0.5**0.5])
    # then 5: (5 − 3)/2
    assert applied(trick, 5.0) == pytest.approx([1.0])


def test_a_single_score_has_deviation_one() -> None:
    assert applied(RewardScaling(), 7.0) == pytest.approx([7.0])
    assert applied(RewardNorm(), 7.0) == pytest.approx([0.0])


def test_equal_scores_stay_finite() -> None:
    # σ = 0, so that only ε = 0.5 is left: 2/0.5 and 0/0.5
    assert applied(RewardScaling(epsilon=0.5), 2.0, 2.0) == pytest.approx([4.0, 4.0])
    assert applied(RewardNorm(epsilon=0.5), 2.0, 2.0) == pytest.approx([0.0, 0.0])


def test_reward_clip_bounds_both_sides() -> None:
    rollout = scored(-3.0, -0.2, 0.3, 9.0)
    assert RewardClip(max_abs=0.3)(rollout.score, rollout).tolist() == [-0.3, -0.2, 0.3, 0.3]


def test_a_score_is_normalised_before_it_is_clipped() -> None:
    rollout = scored(1.0, 3.0)
    recipe = Recipe("both", (RewardClip(max_abs=0.5), RewardNorm()))
    recipe.observe(rollout)
    # ∓1/√2 = ∓0.707, cut at ∓0.5; clipped first it would be (0.5, 0.5), normalised (−2.1, −2.1)
    assert recipe.score(rollout.score, rollout).tolist() == pytest.approx([-0.5, 0.5])


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_token_kl_penalty_is_k1_signed_on_every_response_token() -> None:
    rollout = make_rollout([3], log_prob=row(-1, -2, -3), ref_log_prob=row(-1.5, -1, -3))
    # log-ratio d = (0.5, −1, 0); r − 0.1 d = (−0.05, 0.1, 1)
    found = TokenKlPenalty(weight=0.1)(row(0, 0, 1), rollout)
    assert_close(found, row(-0.05, 0.1, 1), rtol=1e-12, atol=0)


def test_token_kl_penalty_is_zero_at_the_sft_policy() -> None:
    rollout = make_rollout([3], log_prob=row(-1, -2, -3), ref_log_prob=row(-1, -2, -3))
    assert torch.equal(TokenKlPenalty(weight=9.0)(row(0, 0, 1), rollout), row(0, 0, 1))


def test_return_scaling_divides_by_the_deviation_of_rolling_sums_over_tokens() -> None:
    rollout = make_rollout([2, 1], score=torch.tensor([3.0, 6.0], dtype=torch.float64))
    trick = ReturnScaling()
    trick.observe(rollout)
    # sums per token: 0, 3 and 6; mean 3, unbiased variance (9 + 0 + 9)/2 = 9, deviation 3
    reward = torch.tensor([[0.0, 3.0], [6.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    assert_close(trick(reward, rollout), expected, rtol=1e-7, atol=0)


def test_the_kl_penalty_is_charged_after_return_scaling() -> None:
    rollout = make_rollout(
        [2, 1],
        score=torch.tensor([3.0, 6.0], dtype=torch.float64),
        log_prob=torch.tensor([[-1.0, -1.0], [-1.0, 0.0]], dtype=torch.float64),
        ref_log_prob=torch.tensor([[-2.0, -1.0], [-1.0, 0.0]], dtype=torch.float64),
    )
    recipe = Recipe("both", (TokenKlPenalty(weight=0.3), ReturnScaling()))
    recipe.observe(rollout)
    reward = torch.tensor([[0.0, 3.0], [6.0, 0.0]], dtype=torch.float64)
    # 0/3 − 0.3·1 = −0.3: the penalty itself is not divided by 3
    expected = torch.tensor([[-0.3, 1.0], [2.0, 0.0]], dtype=torch.float64)
    assert_close(recipe.reward(reward, rollout), expected, rtol=1e-7, atol=0)
