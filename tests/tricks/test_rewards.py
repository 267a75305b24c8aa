"""Golden numbers of the slots score and reward."""

from dataclasses import replace
from math import exp

import pytest
import torch
from torch.testing import assert_close

from tests.builders import make_rollout, row
from workbench.maths import at_last_token
from workbench.recipe import Recipe
from workbench.trick import RewardTransform, ScoreTransform
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.reward.adaptive_kl_penalty import AdaptiveKlPenalty
from workbench.tricks.reward.adaptive_kl_penalty_per_token import AdaptiveKlPenaltyPerToken
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.sequence_kl_penalty import SequenceKlPenalty
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.reward.token_reward_norm import TokenRewardNorm
from workbench.tricks.reward.token_reward_whitening import TokenRewardWhitening
from workbench.tricks.reward.truncation_bootstrap import TruncationBootstrap
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.return_scaling import ReturnScaling
from workbench.tricks.score.reward_batch_whitening import RewardBatchWhitening
from workbench.tricks.score.reward_clip import RewardClip
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.score.reward_reference_centring import RewardReferenceCentring
from workbench.tricks.score.reward_reference_norm import RewardReferenceNorm
from workbench.tricks.score.reward_reference_scaling import RewardReferenceScaling
from workbench.tricks.score.reward_scaling import RewardScaling
from workbench.types import Rollout


def scored(*scores: float) -> Rollout:
    """Make a rollout of two-token responses with these scores."""
    return make_rollout([2] * len(scores), score=torch.tensor(scores, dtype=torch.float64))


def applied(trick: ScoreTransform, *scores: float) -> list[float]:
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


def test_equal_scores_are_not_blown_up() -> None:
    # nothing to scale by yet, so σ counts as 1: 2/(1 + 0.5) and 0/(1 + 0.5)
    assert applied(RewardScaling(epsilon=0.5), 2.0, 2.0) == pytest.approx([4 / 3, 4 / 3])
    assert applied(RewardNorm(epsilon=0.5), 2.0, 2.0) == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # 1, 3, 5: mean 3, unbiased deviation 2, ε = ½: r/2.5, (r − 3)/2.5
        (RewardScaling(epsilon=0.5), [0.4, 1.2, 2.0]),
        (RewardReferenceScaling(epsilon=0.5), [0.4, 1.2, 2.0]),
        (RewardNorm(epsilon=0.5), [-0.8, 0.0, 0.8]),
        (RewardReferenceNorm(epsilon=0.5), [-0.8, 0.0, 0.8]),
        # ε = 2¼ on the variance of 4: (r − 3)/√6.25 + 3
        (RewardBatchWhitening(epsilon=2.25), [2.2, 3.0, 3.8]),
    ],
)
def test_epsilon_adds_to_the_spread_of_scores(trick: ScoreTransform, expected: list[float]) -> None:
    assert applied(trick, 1.0, 3.0, 5.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # score 6 on the second of two tokens: 0, 6, unbiased deviation √18, ε = 6 − √18: 3/6
        (ReturnScaling(epsilon=6 - 18**0.5), [0.5, 1.5]),
        # rewards 3, 9: mean 6, biased deviation 3, variance 9; (∓3)/(3 + 1), ∓3/√(9 + 7) + 6
        (TokenRewardNorm(epsilon=1.0), [-0.75, 0.75]),
        (TokenRewardWhitening(epsilon=7.0), [5.25, 6.75]),
    ],
)
def test_epsilon_adds_to_the_spread_of_rewards(trick: RewardTransform, expected: list[float]) -> None:
    rollout = make_rollout([2], score=torch.tensor([6.0], dtype=torch.float64))
    trick.observe(rollout)
    reward = torch.tensor([[3.0, 9.0]], dtype=torch.float64)
    assert trick(reward, rollout)[0].tolist() == pytest.approx(expected)


def test_reward_clip_bounds_both_sides() -> None:
    rollout = scored(-3.0, -0.2, 0.3, 9.0)
    assert RewardClip(max_abs=0.3)(rollout.score, rollout).tolist() == [-0.3, -0.2, 0.3, 0.3]


def test_a_score_is_normalised_before_it_is_clipped() -> None:
    rollout = scored(1.0, 3.0)
    recipe = Recipe("both", (RewardClip(max_abs=0.5), RewardNorm()))
    recipe.observe(rollout)
    # ∓1/√2 = ∓0.707, cut at ∓0.5; clipped first it would be (0.5, 0.5), normalised (−2.1, −2.1)
    assert recipe.score(rollout.score, rollout).tolist() == pytest.approx([-0.5, 0.5])


def test_reference_scaling_keeps_the_deviation_of_the_first_rollout() -> None:
    trick = RewardReferenceScaling(epsilon=0.0)
    # 1, 3, 5: unbiased deviation 2
    assert applied(trick, 1.0, 3.0, 5.0) == [0.5, 1.5, 2.5]
    assert applied(trick, 100.0, -7.0) == [50.0, -3.5]


def test_reference_norm_keeps_the_gain_and_bias_of_the_first_rollout() -> None:
    trick = RewardReferenceNorm(epsilon=0.0)
    # gain 1/2, bias −3/2
    assert applied(trick, 1.0, 3.0, 5.0) == [-1.0, 0.0, 1.0]
    assert applied(trick, 100.0, -7.0) == [48.5, -5.0]


def test_reference_centring_keeps_the_mean_of_the_first_rollout() -> None:
    trick = RewardReferenceCentring()
    assert applied(trick, 1.0, 3.0, 5.0) == [-2.0, 0.0, 2.0]
    assert applied(trick, 100.0, -7.0) == [97.0, -10.0]


def test_reference_norm_equals_reward_norm_on_the_first_rollout_only() -> None:
    running, frozen = RewardNorm(), RewardReferenceNorm()
    assert applied(running, 1.0, 3.0, 8.0) == applied(frozen, 1.0, 3.0, 8.0)
    assert applied(running, 2.0, 9.0) != applied(frozen, 2.0, 9.0)


def test_batch_whitening_keeps_the_mean_and_has_no_memory() -> None:
    trick = RewardBatchWhitening()
    # 1, 3, 5: mean 3, unbiased deviation 2: 3 ∓ 1
    assert applied(trick, 1.0, 3.0, 5.0) == pytest.approx([2.0, 3.0, 4.0])
    # 0, 10: mean 5, unbiased deviation √50: 5 ∓ 5/√50
    assert applied(trick, 0.0, 10.0) == pytest.approx([5 - 0.5**0.5, 5 + 0.5**0.5])


@pytest.mark.parametrize(
    "trick",
    [
        RewardScaling(),
        ReturnScaling(),
        RewardNorm(),
        RewardReferenceScaling(),
        RewardReferenceNorm(),
        RewardReferenceCentring(),
        RewardBatchWhitening(),
    ],
)
def test_the_clip_comes_after_every_normaliser(trick: ScoreTransform) -> None:
    tricks = Recipe("both", (RewardClip(), trick)).tricks
    assert [t.name for t in tricks if t.slot == "score"] == [trick.name, "reward_clip"]


def test_token_kl_penalty_is_k1_signed_on_every_response_token() -> None:
    rollout = make_rollout([3], log_prob=row(-1, -2, -3), ref_log_prob=row(-1.5, -1, -3))
    # log-ratio d = (0.5, −1, 0); r − 0.1 d = (−0.05, 0.1, 1)
    found = TokenKlPenalty(weight=0.1)(row(0, 0, 1), rollout)
    assert_close(found, row(-0.05, 0.1, 1), rtol=1e-12, atol=0)


def test_token_kl_penalty_is_zero_at_the_sft_policy() -> None:
    rollout = make_rollout([3], log_prob=row(-1, -2, -3), ref_log_prob=row(-1, -2, -3))
    assert torch.equal(TokenKlPenalty(weight=9.0)(row(0, 0, 1), rollout), row(0, 0, 1))


def two_and_one() -> Rollout:
    """Make responses of two tokens and one, scored 3 and 6, of which the second was cut."""
    return make_rollout(
        [2, 1],
        score=torch.tensor([3.0, 6.0], dtype=torch.float64),
        is_truncated=torch.tensor([False, True]),
        log_prob=torch.tensor([[-1.0, -1.0], [-1.0, 0.0]], dtype=torch.float64),
        ref_log_prob=torch.tensor([[-2.0, -1.0], [-1.0, 0.0]], dtype=torch.float64),
    )


def test_return_scaling_divides_by_the_deviation_of_rolling_sums_over_tokens() -> None:
    rollout, trick = two_and_one(), ReturnScaling()
    trick.observe(rollout)
    # sums per token: 0, 3 and 6; mean 3, unbiased variance (9 + 0 + 9)/2 = 9, deviation 3
    assert trick(rollout.score, rollout).tolist() == pytest.approx([1.0, 2.0])


def test_return_scaling_comes_before_the_clip_and_the_fixed_score() -> None:
    recipe = Recipe("all", (MissingEosScore(score=-1.0), RewardClip(max_abs=0.9), ReturnScaling()))
    rollout = two_and_one()
    recipe.observe(rollout)
    # 3/3 = 1 is cut at 0.9; neither 0.9 nor −1 is divided by 3
    assert recipe.score(rollout.score, rollout).tolist() == pytest.approx([0.9, -1.0])


def test_the_kl_penalty_is_charged_after_return_scaling() -> None:
    rollout = two_and_one()
    recipe = Recipe("both", (TokenKlPenalty(weight=0.3), ReturnScaling()))
    recipe.observe(rollout)
    reward = at_last_token(recipe.score(rollout.score, rollout), rollout.mask)
    # 0/3 − 0.3·1 = −0.3: the penalty itself is not divided by 3
    expected = torch.tensor([[-0.3, 1.0], [2.0, 0.0]], dtype=torch.float64)
    assert_close(recipe.reward(reward, rollout), expected, rtol=1e-7, atol=0)


def diverging() -> Rollout:
    """Make a response of three tokens whose text ends at the second: d = 0.5, −1, 2."""
    return make_rollout(
        [3],
        text_length=torch.tensor([2]),
        log_prob=row(-1, -2, -1),
        ref_log_prob=row(-1.5, -1, -3),
        ref_kl=row(0.3, 0.2, 0.1),
    )


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("k1", (0.5, -1.0, 2.0)),
        ("k2", (0.125, 0.5, 2.0)),  # d²/2
        ("k3", (exp(-0.5) - 0.5, exp(1) - 2, exp(-2) + 1)),  # e^{−d} − 1 + d
        ("abs", (0.5, 1.0, 2.0)),
        ("full", (0.3, 0.2, 0.1)),
    ],
)
def test_the_penalty_has_five_estimators(estimator: str, expected: tuple[float, ...]) -> None:
    found = TokenKlPenalty(weight=1.0, estimator=estimator)(row(0, 0, 0), diverging())
    assert_close(found, -row(*expected), rtol=1e-12, atol=1e-12)


def test_the_penalty_is_clamped_per_token_on_both_sides() -> None:
    found = TokenKlPenalty(weight=1.0, clamp=0.75)(row(0, 0, 0), diverging())
    assert found.tolist() == [[-0.5, 0.75, -0.75]]


def test_the_penalty_can_spare_what_is_behind_the_text_and_its_end_token() -> None:
    def charged(tokens: str) -> list[float]:
        found: list[float] = TokenKlPenalty(weight=1.0, tokens=tokens)(row(0, 0, 0), diverging())[
            0
        ].tolist()
        return found

    assert charged("all") == [-0.5, 1.0, -2.0]
    assert charged("until_end") == [-0.5, 1.0, 0.0]
    assert charged("before_end") == [-0.5, 0.0, 0.0]


def test_sequence_kl_penalty_charges_the_sum_on_the_last_token() -> None:
    # 0.5 − 1 + 2 = 1.5, at 0.1
    found = SequenceKlPenalty(weight=0.1)(row(0, 0, 1), diverging())
    assert_close(found, row(0, 0, 0.85), rtol=1e-12, atol=0)


def test_sequence_and_token_penalty_sum_to_the_same_per_response() -> None:
    rollout = make_rollout()
    sums = [trick(rollout.reward, rollout).sum(1) for trick in (TokenKlPenalty(), SequenceKlPenalty())]
    assert_close(sums[0], sums[1], rtol=1e-12, atol=1e-12)


def with_kl(divergence: float, responses: int = 1) -> Rollout:
    """Make responses of one token whose log-ratio to the reference policy is `divergence`."""
    zero = torch.zeros((responses, 1), dtype=torch.float64)
    return make_rollout([1] * responses, log_prob=zero - 1, ref_log_prob=zero - 1 - divergence)


def charged_weight(trick: RewardTransform) -> float:
    """Read the weight off the penalty of a log-ratio of 1."""
    return -float(trick(row(0.0), with_kl(1.0)))


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [(0.0, 0.148464), (3.0, 0.148464), (6.0, 0.15), (6.6, 0.150768), (12.0, 0.151536)],
)
def test_adaptive_kl_penalty_gives_the_vector_of_openais_controller(
    divergence: float, expected: float
) -> None:
    # β = 0.15, KL* = 6, n = 512, H = 10000: 0.15·(1 + clip(KL/6 − 1, ±0.2)·0.0512)
    trick = AdaptiveKlPenalty()
    trick.observe(with_kl(divergence, responses=512))
    assert charged_weight(trick) == 0.15
    trick.observe(with_kl(6.0, responses=512))
    assert charged_weight(trick) == pytest.approx(expected, rel=1e-9)


def test_the_kl_of_the_controller_is_summed_over_tokens_and_averaged_over_responses() -> None:
    rollout = make_rollout(
        [2, 1],
        log_prob=torch.tensor([[-1.0, -1.0], [-1.0, 0.0]], dtype=torch.float64),
        ref_log_prob=torch.tensor([[-3.0, -4.0], [-2.0, 0.0]], dtype=torch.float64),
    )
    # Σ d = 5 and 1, mean 3; 1.5 of KL* = 2; β = 1 + 0.5·2/10
    per_response = AdaptiveKlPenalty(weight=1.0, target=2.0, horizon=10.0, error_clip=9.0)
    # mean d = 6/3 = 2; β = 1 + 0.1·(2/0.5 − 1)
    per_token = AdaptiveKlPenaltyPerToken(weight=1.0, target=0.5, error_clip=9.0)
    for trick, expected in ((per_response, 1.1), (per_token, 1.3)):
        trick.observe(rollout)
        trick.observe(rollout)
        assert charged_weight(trick) == pytest.approx(expected, rel=1e-9)


def test_the_controller_per_token_gives_rl4lms_vector() -> None:
    trick = AdaptiveKlPenaltyPerToken(weight=0.1, target=0.1)
    weights = []
    for divergence in (-0.2, 0.3, 0.4, 0.1):
        trick.observe(with_kl(divergence))
        weights.append(charged_weight(trick))
    # RL4LMs steps at once and prints 0.098, 0.09996, 0.1019592 for KL −0.2, 0.3, 0.4: a negative KL is
    # below the target; ours are those weights, each in force from the next rollout on
    assert weights == pytest.approx([0.1, 0.098, 0.09996, 0.1019592], rel=1e-9)


def test_an_adaptive_penalty_charges_the_first_rollout_as_the_fixed_one_does() -> None:
    rollout = make_rollout()
    for trick in (AdaptiveKlPenalty(weight=0.05), AdaptiveKlPenaltyPerToken(weight=0.05)):
        trick.observe(rollout)
        fixed = TokenKlPenalty(weight=0.05)(rollout.reward, rollout)
        assert_close(trick(rollout.reward, rollout), fixed, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("unbiased", "printed"),
    [
        (False, [0.0508, 0.4381, 0.8254, 1.2127, 1.6, 1.9873, 2.3746, 2.7619, 3.1492]),
        (True, [0.1394, 0.5046, 0.8697, 1.2349, 1.6, 1.9651, 2.3303, 2.6954, 3.0606]),
    ],
)
def test_token_whitening_gives_the_table_of_the_n_details(unbiased: bool, printed: list[float]) -> None:
    # mean 1.6; variance 0.6/9 biased, 0.6/8 unbiased; the blog prints four digits
    reward = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]], dtype=torch.float64)
    found = TokenRewardWhitening(unbiased=unbiased)(reward, make_rollout([3, 3, 3]))
    assert found.flatten().tolist() == pytest.approx(printed, abs=5e-5)
    variance = 0.6 / (8 if unbiased else 9)
    exact = [1.6 + 0.1 * step / (variance + 1e-8) ** 0.5 for step in range(-4, 5)]
    assert found.flatten().tolist() == pytest.approx(exact, rel=1e-9)


def test_token_norm_removes_the_mean_which_whitening_keeps() -> None:
    rollout, reward = make_rollout([2, 1]), torch.tensor([[1.0, 3.0], [5.0, 0.0]], dtype=torch.float64)
    # 1, 3, 5: mean 3, biased variance 8/3; the slot of padding stays 0
    step = 2 / (8 / 3) ** 0.5
    expected = torch.tensor([[-step, 0.0], [step, 0.0]], dtype=torch.float64)
    assert_close(TokenRewardNorm()(reward, rollout), expected, rtol=1e-7, atol=0)
    whitened = TokenRewardWhitening()(reward, rollout)
    assert_close(whitened, torch.where(rollout.mask, expected + 3, 0.0), rtol=1e-7, atol=0)


def test_the_score_after_the_end_passes_through_one_more_value() -> None:
    # s = 2, V_end = 4, λ = 0.75, γ = 0.5: 0.5·(0.75·2 + 0.25·4) = 1.25; the cut response keeps its 3
    rollout = make_rollout(
        [1, 2],
        score=torch.tensor([2.0, 3.0], dtype=torch.float64),
        end_value=torch.tensor([4.0, 5.0], dtype=torch.float64),
        is_truncated=torch.tensor([False, True]),
    )
    reward = at_last_token(rollout.score, rollout.mask)
    found = ScoreAfterEnd(trace=0.75, discount=0.5)(reward, rollout)
    assert found.tolist() == [[1.25, 0.0], [0.0, 3.0]]


def test_the_score_after_the_end_gives_gae_over_one_more_state() -> None:
    trace, discount = 0.8, 0.9
    rollout = replace(make_rollout(), is_truncated=torch.zeros(4, dtype=torch.bool))
    gae = Gae(trace=trace, discount=discount)
    end = ScoreAfterEnd(trace=trace, discount=discount)
    recipe = Recipe("trl", (gae, end, TokenKlPenalty(weight=0.3)))
    reward = recipe.reward(at_last_token(rollout.score, rollout.mask), rollout)
    found, _ = gae(replace(rollout, reward=reward))
    # TRL: the penalty on the response's tokens, the score in the slot behind, the value of that slot too
    longer = rollout.with_end()
    penalty = TokenKlPenalty(weight=0.3)(torch.zeros_like(reward), rollout)
    slots = torch.nn.functional.pad(penalty, (0, 1)) + at_last_token(rollout.score, longer.mask)
    expected, _ = gae(replace(longer, reward=slots))
    expected = torch.where(rollout.mask, expected[:, :-1], 0.0)
    assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_value_behind_the_end_is_not_divided_by_the_scale_of_the_score() -> None:
    rollout = replace(two_and_one(), end_value=torch.tensor([4.0, 9.0], dtype=torch.float64))
    recipe = Recipe("both", (Gae(trace=0.5), ScoreAfterEnd(trace=0.5), ReturnScaling()))
    recipe.observe(rollout)
    reward = at_last_token(recipe.score(rollout.score, rollout), rollout.mask)
    # (3/3 + 4)/2 = 2.5; the cut one keeps 6/3
    expected = torch.tensor([[0.0, 2.5], [2.0, 0.0]], dtype=torch.float64)
    assert_close(recipe.reward(reward, rollout), expected, rtol=1e-7, atol=0)


def test_truncation_bootstrap_adds_the_value_behind_cut_responses_only() -> None:
    rollout = make_rollout(
        [1, 2],
        end_value=torch.tensor([4.0, 5.0], dtype=torch.float64),
        is_truncated=torch.tensor([False, True]),
    )
    reward = torch.tensor([[2.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    # 3 + 0.5·5
    found = TruncationBootstrap(discount=0.5)(reward, rollout)
    assert found.tolist() == [[2.0, 0.0], [1.0, 5.5]]


def test_no_whitening_reaches_the_bootstrapped_value() -> None:
    tricks = (TruncationBootstrap(), TokenRewardWhitening(), AdaptiveKlPenalty(), ScoreAfterEnd())
    ordered = [trick.name for trick in Recipe("all", tricks).tricks if trick.slot == "reward"]
    assert ordered == [
        "score_after_end",
        "adaptive_kl_penalty",
        "token_reward_whitening",
        "truncation_bootstrap",
    ]
