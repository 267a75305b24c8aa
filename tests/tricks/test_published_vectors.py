"""Rewards, advantages and the rest, as other systems' own code gave them on published_batch.py.

Each number was computed once, in float64 where the system lets it, by the named function or lines at
the named commit. Losses are in test_published_losses.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_rollout
from tests.tricks.published_batch import (
    ADVANTAGE,
    LENGTHS,
    MASK,
    NEW,
    OLD,
    REF,
    SCORE,
    published_evaluation,
    published_rollout,
    table,
)
from workbench.maths import at_last_token, kl_estimate
from workbench.optimiser import TensorFlowAdam
from workbench.recipe import Recipe
from workbench.trick import (
    AdvantageEstimator,
    AdvantageTransform,
    RewardTransform,
    ScoreTransform,
    Trick,
)
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage.advantage_standardisation import AdvantageStandardisation
from workbench.tricks.advantage.padded_advantage_norm import PaddedAdvantageNorm
from workbench.tricks.advantage_estimator.dr_grpo import DrGrpo
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.advantage_estimator.gpg import Gpg
from workbench.tricks.advantage_estimator.grpo import Grpo
from workbench.tricks.advantage_estimator.opo import Opo
from workbench.tricks.advantage_estimator.pass_at_k import PassAtK
from workbench.tricks.advantage_estimator.reinforce import Reinforce
from workbench.tricks.advantage_estimator.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from workbench.tricks.advantage_estimator.rloo import Rloo
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.logits.repetition_penalty import RepetitionPenalty
from workbench.tricks.logits.top_p import TopP
from workbench.tricks.policy_weight.icepop import Icepop
from workbench.tricks.policy_weight.sequence_mask_tis import SequenceMaskTis
from workbench.tricks.policy_weight.truncated_importance_sampling import TruncatedImportanceSampling
from workbench.tricks.reward.adaptive_kl_penalty import AdaptiveKlPenalty
from workbench.tricks.reward.adaptive_kl_penalty_per_token import AdaptiveKlPenaltyPerToken
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.reward.token_reward_norm import TokenRewardNorm
from workbench.tricks.reward.token_reward_whitening import TokenRewardWhitening
from workbench.tricks.reward_function.greedy_baseline import GreedyBaseline
from workbench.tricks.reward_function.overlong_penalty import OverlongPenalty
from workbench.tricks.reward_function.raw_reward_clip import RawRewardClip
from workbench.tricks.reward_function.stop_properly_penalty import StopProperlyPenalty
from workbench.tricks.rollout_advantage.rollout_advantage_centre import RolloutAdvantageCentre
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.reward_batch_whitening import RewardBatchWhitening
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.score.reward_reference_scaling import RewardReferenceScaling
from workbench.tricks.score.reward_scaling import RewardScaling
from workbench.tricks.stopping.target_kl_stop import TargetKlStop
from workbench.tricks.value_target.value_after_end import ValueAfterEnd
from workbench.types import Draft, Rollout

KL = TokenKlPenalty(weight=0.1)


def equal(found: Tensor, expected: Tensor | Sequence[float]) -> None:
    """Compare to 7 digits, as some systems pass through float32."""
    if not isinstance(expected, Tensor):
        expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(found, expected, rtol=1e-6, atol=1e-7)


def rewarded(*tricks: Trick, score: Tensor = SCORE) -> Rollout:
    """Return the rollout, its rewards made of the score on the last token by these tricks."""
    rollout = replace(published_rollout(), score=score)
    reward = Recipe("published", tricks).reward(at_last_token(score, MASK), rollout)
    return replace(rollout, reward=reward)


# Advantages of verl b178a3cd, verl/trainer/ppo/core_algos.py, compute_*_advantage on REWARD.


def test_gae_and_masked_whiten_equal_those_of_verl() -> None:
    # compute_gae_advantage_return, gamma = 0.9, lam = 0.8: advantages, then returns
    rollout = published_rollout()
    advantage, returns = Gae(discount=0.9, trace=0.8)(rollout)
    equal(
        RolloutAdvantageNorm()(advantage, rollout),
        table(
            (-0.2413193996, 0.1615804565, 0.6441524864, -0.04613808174, 0.6765341153),
            (-1.149479245, -0.6505212235, -1.356559022),
            (2.617213928,),
            (-0.000496249765, -0.4665817426, 0.3364530814, -0.5248391023),
        ),
    )
    equal(returns, RETURNS_OF_GAE)


RETURNS_OF_GAE = table(
    (0.406795264, 0.5427712, 0.76496, 0.918, 1.2),
    (-0.07592, -0.136, -0.4),
    (2.5,),
    (0.2673888, 0.26304, 0.332, 0.3),
)
"""γ = 0.9, λ = 0.8: verl, trlX and MOSS-RLHF."""


def test_gae_equals_that_of_trlx_and_moss() -> None:
    # trlX modeling_ppo.py, PPOConfig.get_advantages_and_returns without whitening; MOSS-RLHF
    # ppo/ppo_datahelper.py, ExperienceDataset.get_advantages_and_returns, one response at a time
    advantage, returns = Gae(discount=0.9, trace=0.8)(published_rollout())
    expected = table(
        (-0.093204736, 0.3427712, 0.86496, 0.118, 0.9),
        (-1.07592, -0.536, -1.3),
        (3.0,),
        (0.1673888, -0.33696, 0.532, -0.4),
    )
    equal(advantage, expected)
    equal(returns, RETURNS_OF_GAE)
    # trlX whitens with the 7 places of padding in mean and variance: so does padded_advantage_norm
    equal(
        PaddedAdvantageNorm()(advantage, MASK),
        table(
            (-0.2342416303, 0.2704306408, 0.874900259, 0.01024244549, 0.9154614802),
            (-1.371802452, -0.7468077447, -1.631190536),
            (3.346356586,),
            (0.06741339416, -0.5164051914, 0.4894760521, -0.5893783473),
        ),
    )


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # grpo; with norm_adv_by_std_in_grpo = False; rloo and rloo_vectorized; opo
        (Grpo(epsilon=1e-6), [0.7071061601, -0.7071061601, 0.7071063225, -0.7071063225]),
        (DrGrpo(), [0.805, -0.805, 1.09, -1.09]),
        (Rloo(), [1.61, -1.61, 2.18, -2.18]),
        (Opo(), [0.60375, -1.00625, 1.744, -0.436]),
        # grpo_passk with norm_adv_by_std_in_grpo = False; gpg with f_norm = 2, no reward being 0
        (PassAtK(), [1.61, 0, 2.18, 0]),
        (Gpg(normaliser=2.0), [0.4025, -0.4025, 0.545, -0.545]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_group_advantages_equal_those_of_verl(trick: AdvantageEstimator, expected: list[float]) -> None:
    advantage = trick(published_rollout())[0]
    equal(advantage, torch.where(MASK, torch.tensor(expected, dtype=torch.float64)[:, None], 0.0))


def test_pass_at_k_of_verl_divides_by_the_groups_deviation_too() -> None:
    # grpo_passk by default: √2 in groups of two, whose σ is lead/√2, but for ε = 1e-6.
    # Ours has no σ
    lead = PassAtK()(published_rollout())[0][:, 0]
    equal(lead / (lead / 2**0.5 + 1e-6), [1.41421232, 0, 1.414212645, 0])


def test_reinforce_with_a_norm_equals_reinforce_plus_plus_of_verl() -> None:
    # reinforce_plus_plus, gamma = 0.9: advantages, then returns
    rollout = published_rollout()
    advantage, returns = Reinforce(discount=0.9)(rollout)
    equal(
        RolloutAdvantageNorm()(advantage, rollout),
        table(
            (0.2332740828, 0.3641265393, 0.4679301661, 0.6525808484, 0.8022976178),
            (-1.172716099, -1.156496782, -1.193925974),
            (2.424229286,),
            (-0.4021737921, -0.3280639913, -0.3704837426, -0.3205781528),
        ),
    )
    equal(
        returns,
        table(
            (0.74392, 0.8488, 0.932, 1.08, 1.2),
            (-0.383, -0.37, -0.4),
            (2.5,),
            (0.2346, 0.294, 0.26, 0.3),
        ),
    )


def test_reinforce_plus_plus_baseline_of_verl_is_dr_grpo_with_a_norm() -> None:
    # reinforce_plus_plus_baseline, own baseline: the mean of total rewards; ours is OpenRLHF's, below
    rollout = published_rollout()
    expected = torch.tensor([0.9780527879, -0.7102478185, 1.276913454, -1.009108485]).double()
    found = RolloutAdvantageNorm()(DrGrpo()(rollout)[0], rollout)
    equal(found, torch.where(MASK, expected[:, None], 0.0))
    # before the norm: verl has 1.15 − (1.15 − 0.46)/2 on every token, ours the reward-to-go less 0.4
    equal(DrGrpo()(rollout)[0][0], [0.805] * 5)
    equal(ReinforcePlusPlusBaseline()(rollout)[0][0], [0.75, 0.77, 0.76, 0.8, 0.8])


def test_greedy_baseline_without_discount_equals_remax_of_verl() -> None:
    # remax, reward_baselines = (0.5, −0.1, 1, 0.7), subtracted from every reward-to-go; here from the
    # score, which is in all of them
    rollout = replace(
        published_rollout(), greedy_score=torch.tensor([0.5, -0.1, 1.0, 0.7], dtype=torch.float64)
    )
    score = GreedyBaseline()(torch.zeros(4, dtype=torch.float64), rollout)
    rollout = replace(rollout, reward=rollout.reward + at_last_token(score, MASK))
    equal(
        Reinforce()(rollout)[0],
        table(
            (0.65, 0.67, 0.66, 0.7, 0.7),
            (-0.36, -0.31, -0.3),
            (1.5,),
            (-0.38, -0.35, -0.41, -0.4),
        ),
    )


# Advantages of OpenRLHF 3c3be623, openrlhf/trainer/ppo_utils/experience_maker.py,
# RemoteExperienceMaker.compute_advantages_and_returns on SCORE and d = OLD − REF, β = 0.1.


def test_gae_equals_that_of_openrlhf() -> None:
    rollout = rewarded(KL)
    advantage, returns = Gae(discount=0.9, trace=0.8)(rollout)
    equal(
        RolloutAdvantageNorm(unbiased=False)(advantage, rollout),
        table(
            (-0.2496069914, 0.1710084169, 0.6752410856, -0.03698113437, 0.7261771519),
            (-1.188484709, -0.6665819232, -1.394240013),
            (2.726661219,),
            (-0.01447439333, -0.5018610097, 0.3270398033, -0.5738976254),
        ),
    )
    equal(
        returns,
        table(
            (0.4129911808, 0.55137664, 0.776912, 0.9346, 1.23),
            (-0.065552, -0.1216, -0.38),
            (2.515,),
            (0.2580576, 0.25008, 0.314, 0.275),
        ),
    )


def test_reinforce_equals_that_of_openrlhf() -> None:
    # "reinforce", gamma = 0.9, then gamma = 1 with no_std_norm
    rollout = rewarded(KL)
    equal(
        RolloutAdvantageNorm(unbiased=False)(Reinforce(discount=0.9)(rollout)[0], rollout),
        table(
            (0.2530709746, 0.3906690979, 0.5005546067, 0.6943184413, 0.8594434134),
            (-1.200490615, -1.18139804, -1.217519127),
            (2.517143329,),
            (-0.448172211, -0.3741562323, -0.4209201404, -0.3725436837),
        ),
    )
    equal(
        RolloutAdvantageCentre()(Reinforce()(rollout)[0], rollout),
        table(
            (0.5230769167, 0.5430769167, 0.5330769167, 0.5730769167, 0.5780769167),
            (-1.091923083, -1.041923083, -1.031923083),
            (1.863076917,),
            (-0.3569230833, -0.3269230833, -0.3869230833, -0.3769230833),
        ),
    )


def test_reinforce_plus_plus_baseline_equals_that_of_openrlhf() -> None:
    # "reinforce_baseline"
    rollout = rewarded(KL)
    equal(
        RolloutAdvantageNorm(unbiased=False)(ReinforcePlusPlusBaseline()(rollout)[0], rollout),
        table(
            (0.9822517531, 1.003894588, 0.9930731707, 1.036358841, 1.04176955),
            (-0.7654071888, -0.7113001008, -0.7004786832),
            (1.350179951,),
            (-1.052174755, -1.019710502, -1.084639008, -1.07381759),
        ),
    )


@pytest.mark.parametrize(
    ("trick", "without", "first_with", "ours_with"),
    [
        # "rloo", "dr_grpo", "group_norm" (ε = 1e-9): at β = 0 one number per response; at β = 0.1 those
        # of the first tokens, less the penalties that follow.  Ours takes the baseline of R = score −
        # 0.1 Σd = (1.175, −0.44, 2.515, 0.295), penalties and all: R₀ − R₁ = 1.615
        (Rloo(), [1.6, -1.6, 2.2, -2.2], [1.575, -1.64, 2.215, -2.205], [1.615, -1.615, 2.22, -2.22]),
        (
            DrGrpo(),
            [0.8, -0.8, 1.1, -1.1],
            [0.775, -0.84, 1.115, -1.105],
            [0.8075, -0.8075, 1.11, -1.11],
        ),
        (
            Grpo(epsilon=1e-9),
            [0.7071067806, -0.7071067806, 0.7071067807, -0.7071067807],
            [0.6821067806, -0.7471067806, 0.7221067807, -0.7121067807],
            [0.7071067806, -0.7071067806, 0.7071067807, -0.7071067807],
        ),
    ],
    ids=["rloo", "dr_grpo", "group_norm"],
)
def test_group_advantages_equal_those_of_openrlhf_but_for_the_penalty(
    trick: AdvantageEstimator, without: list[float], first_with: list[float], ours_with: list[float]
) -> None:
    equal(trick(rewarded())[0][:, 0], without)
    penalised = rewarded(KL)
    equal(trick(penalised)[0][:, 0], ours_with)
    # theirs is the advantage without penalty, less the penalties to come
    penalty = Reinforce()(penalised)[0][:, 0] - SCORE
    equal(torch.tensor(without, dtype=torch.float64) + penalty, first_with)


# Rewards.


def test_token_kl_penalty_equals_that_of_verl() -> None:
    # verl core_algos.py, compute_rewards(0, OLD, REF, 0.1)
    equal(
        rewarded(KL, score=torch.zeros_like(SCORE)).reward,
        table(
            (-0.02, 0.01, -0.04, -0.005, 0.03),
            (-0.05, -0.01, 0.02),
            (0.015,),
            (-0.03, 0.06, -0.01, -0.025),
        ),
    )


def test_clips_of_score_and_kl_equal_compute_reward_of_openrlhf() -> None:
    # OpenRLHF models/utils.py, compute_reward(score, 0.1, compute_approx_kl(…, "k1"), mask, (−10, 10))
    # of score = (12, −0.4, −11, 0.3), with log π_ref of the first token −13.7, so d = 12.5, held at 10
    rollout, ref = published_rollout(), REF.clone()
    ref[0, 0] = -13.7
    score = torch.tensor([12.0, -0.4, -11.0, 0.3], dtype=torch.float64)
    reward = at_last_token(RawRewardClip(max_abs=10.0)(score, rollout), MASK)
    equal(
        TokenKlPenalty(weight=0.1, clamp=10.0)(reward, replace(rollout, ref_log_prob=ref)),
        table(
            (-1, 0.01, -0.04, -0.005, 10.03),
            (-0.05, -0.01, -0.38),
            (-9.985,),
            (-0.03, 0.06, -0.01, 0.275),
        ),
    )


AFTER_END = table(
    (-0.0870088192, 0.35137664, 0.876912, 0.1346, 0.93),
    (-1.0354848, -0.47984, -1.222),
    (2.459,),
    (0.143500928, -0.3701376, 0.48592, -0.464),
)
"""N+ details: advantages at γ = 0.9, λ = 0.8, β = 0.1, the score one step behind, before whitening."""


def test_score_after_end_and_its_critic_equal_those_of_the_n_plus_details() -> None:
    # summarize_from_feedback_details ee77a9ab, ppo.py, lines 671-704 and 738-747, with END_VALUE behind
    # the responses that ended and nothing behind the one that fills the width
    gae = Gae(discount=0.9, trace=0.8)
    rollout = rewarded(gae, ScoreAfterEnd(discount=0.9, trace=0.8), KL)
    advantage, returns = gae(rollout)
    equal(advantage, AFTER_END)
    equal(
        RolloutAdvantageNorm(unbiased=False)(advantage, rollout),
        table(
            (-0.238592787, 0.2378491555, 0.8090065296, 0.002254015923, 0.8667031281),
            (-1.26940649, -0.665525859, -1.472113177),
            (2.52843646,),
            (0.01192763839, -0.5463001332, 0.3840722987, -0.6483107798),
        ),
    )
    rollout = replace(rollout, returns=returns)
    end_value = torch.tensor([0.2, -0.1, 1.1, 0.4], dtype=torch.float64)
    new = replace(published_evaluation(), end_value=end_value)
    equal(
        ValueAfterEnd()(new, rollout)[1].returns,
        table(
            (0.4129911808, 0.55137664, 0.776912, 0.9346, 1.23, 0),
            (-0.0354848, -0.07984, -0.322, -0.4),
            (1.959, 2.5),
            (0.243500928, 0.2298624, 0.28592, 0.236, 0.3),
        ),
    )
    recipe = Recipe("N+").plus(ValueAfterEnd()).set({"value_clip.clip_range": 0.2})
    equal(recipe.value_loss(new, rollout), torch.tensor(0.4723969912, dtype=torch.float64))


def test_score_after_end_knows_an_end_at_the_cap_where_the_n_plus_details_do_not() -> None:
    # The same lines know the width alone: if the first response's fifth token is its end token, its
    # score stays there, 1.2.  Ours passes through V_end = 0.6: γ(λ 1.2 + (1 − λ) 0.6) = 0.9·1.08 = 0.972
    for is_truncated, expected in ((True, 1.2), (False, 0.972)):
        rollout = replace(published_rollout(), is_truncated=torch.tensor([is_truncated] + 3 * [False]))
        reward = ScoreAfterEnd(discount=0.9, trace=0.8)(at_last_token(SCORE, MASK), rollout)
        assert float(reward[0, 4]) == pytest.approx(expected)


def test_score_after_end_with_a_clip_equals_deepspeed_chat() -> None:
    # DeepSpeed-Chat 83757d9c, dschat/rlhf/ppo_trainer.py, compute_rewards with clip_reward_value = 2,
    # the zeroing of train_rlhf, get_advantages_and_returns: as N+, but for the clip of 2.5 to 2
    rollout = published_rollout()
    clipped = RawRewardClip(max_abs=2.0)(SCORE, rollout)
    gae = Gae(discount=0.9, trace=0.8)
    rollout = rewarded(gae, ScoreAfterEnd(discount=0.9, trace=0.8), KL, score=clipped)
    expected = AFTER_END.clone()
    expected[2, 0] = 2.099
    equal(gae(rollout)[0], expected)


def test_trlx_puts_the_score_a_step_further_and_charges_padding() -> None:
    # trlX accelerate_ppo_trainer.py, lines 457-485: with R tokens its slice has R + 2 places, as far as
    # the width goes, and the score is in the last.  Ours: on the last token.
    trlx = [
        [-0.02, 0.01, -0.04, -0.005, 1.23],
        [-0.05, -0.01, 0.02, 0, -0.4],
        [0.015, 0, 2.5],
        [-0.03, 0.06, -0.01, -0.025, 0.3],
    ]
    ours = [
        [-0.02, 0.01, -0.04, -0.005, 1.23],
        [-0.05, -0.01, -0.38],
        [2.515],
        [-0.03, 0.06, -0.01, 0.275],
    ]
    equal(rewarded(KL).reward, table(*map(tuple, ours)))
    for theirs, row, length in zip(trlx, ours, LENGTHS, strict=True):
        assert len(theirs) == min(length + 2, 5)
        assert sum(theirs) == pytest.approx(sum(row))


def test_the_kl_that_trlx_measures_is_k3_with_its_sign_turned() -> None:
    # lines 457-460, prompts without divergence: mean_kl = 0.1453379719 = mean Σ (e^d − 1 − d).  k3 of
    # π_old's samples is e^−d − 1 + d, here 0.1466225625; adaptive_kl_penalty measures k1, mean Σ d
    d = torch.where(MASK, OLD - REF, 0.0)
    assert float((d.exp() - 1 - d).sum(1).mean()) == pytest.approx(0.1453379719, rel=1e-6)
    assert float(torch.where(MASK, kl_estimate(d, "k3"), 0.0).sum(1).mean()) == pytest.approx(
        0.1466225625, rel=1e-6
    )
    assert float(d.sum(1).mean()) == pytest.approx((0.25 + 0.4 - 0.15 + 0.05) / 4)


# Whitening.


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # verl torch_functional.py, masked_whiten(REWARD, MASK, shift_mean=False)
        (
            TokenRewardWhitening(unbiased=True),
            table(
                (-0.1096557391, -0.07038100745, -0.1358388935, -0.08347258467, 1.487516681),
                (-0.1489304707, -0.09656416188, -0.6071356732),
                (3.189421718,),
                (-0.1227473163, -0.004923121393, -0.09656416188, 0.3092747317),
            ),
        ),
        # MOSS-RLHF 4865d826, utils.py, whiten(REWARD, MASK, shift_mean=False): ε = 1e-6
        (
            TokenRewardWhitening(epsilon=1e-6),
            table(
                (-0.1251578582, -0.08427945911, -0.1524101243, -0.09790559215, 1.537230373),
                (-0.1660362574, -0.1115317252, -0.6429509139),
                (3.308627669,),
                (-0.1387839913, -0.0161487939, -0.1115317252, 0.3108783991),
            ),
        ),
        # RL4LMs 97df0bd2, envs/text_generation/alg_wrappers.py, lines 328-332: norm_reward
        (
            TokenRewardNorm(),
            table(
                (-0.3951582197, -0.3542797832, -0.4224105107, -0.3679059287, 1.267231532),
                (-0.4360366562, -0.3815320742, -0.912951749),
                (3.038630448,),
                (-0.4087843652, -0.2861490556, -0.3815320742, 0.04087843652),
            ),
        ),
    ],
    ids=["verl", "MOSS-RLHF", "RL4LMs"],
)
def test_whitened_rewards_equal_what_the_systems_gave(trick: RewardTransform, expected: Tensor) -> None:
    rollout = published_rollout()
    equal(trick(rollout.reward, rollout), expected)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (
            torch.stack([OLD[0], REF[0], NEW[0]]),
            table(
                (-1.104239086, -0.09123418764, -2.927647902, -1.306840065, -1.712042025),
                (-1.509441045, 0.111366792, -3.738051821, -1.408140555, -1.104239086),
                (-0.4964361469, -0.9016381061, -0.09123418764, -1.205539576, -1.914643004),
            ),
        ),
        (  # the table that its blog post prints
            table((1.2, 1.3, 1.4), (1.5, 1.6, 1.7), (1.8, 1.9, 2.0)),
            table(
                (0.05080677771, 0.4381050833, 0.8254033889),
                (1.212701694, 1.6, 1.987298306),
                (2.374596611, 2.761894917, 3.149193222),
            ),
        ),
    ],
    ids=["five tokens", "blog"],
)
def test_whitened_rewards_equal_those_of_the_n_details(reward: Tensor, expected: Tensor) -> None:
    # lm-human-preference-details ccc19538, train_policy_accelerate.py, whiten(·, shift_mean=False)
    rollout = make_rollout([reward.shape[1]] * 3, reward=reward)
    equal(TokenRewardWhitening()(reward, rollout), expected)


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        # MOSS-RLHF utils.py, whiten(ADVANTAGE, MASK)
        (
            AdvantageNorm(),
            table(
                (1.419654383, -0.7797065521, -0.5884577752, 0.3677861095, -1.162204106),
                (0.8459080518, 0.6546592749, -0.3015846098),
                (-1.066579718,),
                (1.897776325, 0.5590348864, -0.3972089983, -1.449077271),
            ),
        ),
        # RL4LMs algorithms/ppo/ppo.py, lines 220-224
        (
            AdvantageStandardisation(),
            table(
                (1.363960423, -0.7491181598, -0.5653721961, 0.3533576226, -1.116610087),
                (0.8127225319, 0.6289765682, -0.2897532505),
                (-1.024737105,),
                (1.823325332, 0.5371035863, -0.3816262324, -1.392229033),
            ),
        ),
        # trlX 3340c2f3, trlx/utils/modeling.py, whiten(ADVANTAGE), one process
        (
            PaddedAdvantageNorm(),
            table(
                (1.722438844, -0.9363593716, -0.7051595268, 0.4508396974, -1.398759061),
                (1.02883931, 0.7976394647, -0.3583597595),
                (-1.283159139,),
                (2.300438456, 0.6820395423, -0.4739596819, -1.745558829),
            ),
        ),
    ],
    ids=["MOSS-RLHF", "RL4LMs", "trlX"],
)
def test_normalised_advantages_equal_what_the_systems_gave(
    trick: AdvantageTransform, expected: Tensor
) -> None:
    equal(trick(ADVANTAGE, MASK), expected)


def test_rollout_advantage_norm_equals_verl_and_the_n_plus_details() -> None:
    rollout = published_rollout()
    # verl torch_functional.py, masked_whiten; N+ ppo.py, masked_whiten: first response
    verl = [1.36396043, -0.7491181638, -0.5653721991, 0.3533576245, -1.116610093]
    n_plus = [1.419655025, -0.779706905, -0.5884580415, 0.367786276, -1.162204632]
    equal(RolloutAdvantageNorm()(ADVANTAGE, rollout)[0], verl)
    equal(RolloutAdvantageNorm(unbiased=False)(ADVANTAGE, rollout)[0], n_plus)


@pytest.mark.parametrize(
    ("trick", "first", "second"),
    [
        # trlX utils/modeling.py and MOSS-RLHF utils.py, RunningMoments.update(scores), then r/std …
        (
            RewardScaling(),
            [0.9587225543, -0.3195741848, 1.997338655, 0.2396806386],
            [1.905367794, -0.9526838971, 0.4445858186],
        ),
        # … and MOSS-RLHF ppo_trainer.py with use_reward_norm
        (
            RewardNorm(),
            [0.2396806509, -1.038616052, 1.278296722, -0.4793612446],
            [1.379123379, -1.478928374, -0.08165862802],
        ),
        # trlX "ref": the first σ, 1.251665592, for good
        (
            RewardReferenceScaling(),
            [0.9587225543, -0.3195741848, 1.997338655, 0.2396806386],
            [3.0 / 1.251665592, -1.5 / 1.251665592, 0.7 / 1.251665592],
        ),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_running_moments_scale_two_rollouts_as_in_trlx_and_moss(
    trick: ScoreTransform, first: list[float], second: list[float]
) -> None:
    trick = trick.fresh()
    later = torch.tensor([3.0, -1.5, 0.7], dtype=torch.float64)
    for score, expected in ((SCORE, first), (later, second)):
        rollout = make_rollout([1] * len(score), score=score)
        trick.observe(rollout)
        equal(trick(score, rollout), expected)


def test_reward_batch_whitening_equals_whiten_of_trlx() -> None:
    # trlX utils/modeling.py, whiten(SCORE, shift_mean=False), as nemo_ppo_trainer.py calls it
    found = RewardBatchWhitening()(SCORE, published_rollout())
    equal(found, [1.139680638, -0.1386160972, 2.178296735, 0.4206387244])


# Controllers of β.


def weights(trick: RewardTransform, divergences: Iterable[float]) -> list[float]:
    """Return the β in effect in rollouts of four one-token responses with these KLs."""
    used = []
    for kl in divergences:
        old = torch.full((4, 1), -1.0, dtype=torch.float64)
        rollout = make_rollout([1] * 4, log_prob=old, ref_log_prob=old - kl)
        trick.observe(rollout)
        charged = trick(torch.zeros_like(old), make_rollout([1] * 4, log_prob=old, ref_log_prob=old - 1))
        used.append(-float(charged[0, 0]))
    return used


def test_adaptive_kl_penalty_equals_the_controller_of_four_systems() -> None:
    # AdaptiveKLController(0.15, 6, 10000) of verl core_algos.py, OpenRLHF kl_controller.py, trlX
    # modeling_ppo.py and the N details: update(KL, 512) for KL = 0, 3, 6, 6.6, 12.  Here n = 4, so H is
    # 10000·4/512; a rollout is charged with the β of before it.
    trick = AdaptiveKlPenalty(weight=0.15, target=6.0, horizon=78.125)
    expected = [0.15, 0.148464, 0.1469437286, 0.1469437286, 0.1476960805, 0.1492084884]
    assert weights(trick, (0, 3, 6, 6.6, 12, 0)) == pytest.approx(expected, rel=1e-6)


def test_adaptive_kl_penalty_per_token_equals_the_controller_of_rl4lms() -> None:
    # RL4LMs envs/text_generation/kl_controllers.py, KLController(0.1, 0.1), its own three steps
    trick = AdaptiveKlPenaltyPerToken(weight=0.1, target=0.1)
    found = weights(trick, (-0.2, 0.3, 0.4, 0))
    assert found == pytest.approx([0.1, 0.098, 0.09996, 0.1019592], rel=1e-6)


def test_target_kl_stop_measures_what_rl4lms_does() -> None:
    # RL4LMs algorithms/ppo/ppo.py, lines 273-277: approx_kl_div = 0.2943668649, stop if > 1.5 target
    rollout, new = published_rollout(), published_evaluation()
    edge = 0.2943668649 / 1.5
    assert bool(TargetKlStop(target=edge - 1e-7)(new, rollout))
    assert not bool(TargetKlStop(target=edge + 1e-7)(new, rollout))


# Rewards by length, importance weights, logits, Adam.


def test_overlong_penalty_equals_openrlhf_and_verl() -> None:
    # OpenRLHF ppo_utils/length_penalty.py, apply_overlong_penalty(·, 20, 8, 2) on scores of 1; verl
    # workers/reward_manager/dapo.py, lines 117-122, gave the same as far as its cap, 20 tokens, goes
    lengths = torch.tensor([6, 12, 15, 18, 20, 23])
    rollout = make_rollout([1] * 6, text_length=lengths)
    found = OverlongPenalty(max_tokens=20, buffer=8, factor=2.0)(torch.ones(6).double(), rollout)
    equal(found, [1, 1, 0.25, -0.5, -1, -1])


def test_stop_properly_penalty_equals_openrlhf() -> None:
    # apply_stop_properly_penalty(·, 0.25) and (·, −0.5) of SCORE, the first two responses truncated
    cut = torch.tensor([True, True, False, False])
    rollout = replace(published_rollout(), is_truncated=cut)
    equal(StopProperlyPenalty(coefficient=0.25)(SCORE, rollout), [0.3, -0.1, 2.5, 0.3])
    equal(MissingEosScore(score=-0.5)(SCORE, rollout), [-0.5, -0.5, 2.5, 0.3])


def test_importance_weights_and_masks_equal_rollout_correction_of_verl() -> None:
    # verl rollout_corr_helper.py: compute_rollout_correction_weights(OLD − BEHAVIOUR, MASK, "token", 2)
    rollout, new = published_rollout(), published_evaluation()
    equal(
        TruncatedImportanceSampling(low=0.0, high=2.0)(new, rollout, ADVANTAGE),
        table(
            (0.8187307531, 2, 1.105170918, 0.3678794412, 2),
            (0.3011942119, 0.4065696597, 0.7788007831),
            (1.491824698,),
            (1, 0.7408182207, 1.221402758, 0.6065306597),
        ),
    )
    # compute_rollout_rejection_mask with "token_k1" and "seq_mean_k1", "0.7_2.0": bounds on the inverse
    # ratio μ_old/π_old, so ours are 1/2 and 1/0.7
    token = table((1, 0, 1, 0, 0), (0, 0, 1), (0,), (1, 1, 1, 1))
    sequence = table((0,) * 5, (0,) * 3, (0,), (1,) * 4)
    for trick, kept in ((Icepop, token), (SequenceMaskTis, sequence)):
        found = trick(low=0.5, high=1 / 0.7)(new, rollout, ADVANTAGE)
        assert torch.equal(found > 0, kept > 0)


def draft(guide: Tensor, history: Tensor | None = None) -> Draft:
    """Return a draft of the guide's rows; 1 is the end token."""
    rows = len(guide)
    none = torch.full((rows, 1), -1)
    past = none if history is None else history
    return Draft((past >= 0).sum(1), past, guide, torch.tensor(1))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.5, table((0.5714285714, 0, 0.4285714286, 0, 0), (0, 0.4545454545, 0, 0.5454545455, 0))),
        (0.6, table((0.5714285714, 0, 0.4285714286, 0, 0), (0.2666666667, 0.3333333333, 0, 0.4, 0))),
        (
            0.9,
            table(
                (0.4210526316, 0.1052631579, 0.3157894737, 0.1578947368, 0),
                (0.2105263158, 0.2631578947, 0.2105263158, 0.3157894737, 0),
            ),
        ),
    ],
)
def test_top_p_equals_top_p_logits_of_moss(share: float, expected: Tensor) -> None:
    # MOSS-RLHF utils.py, top_p_logits(probability, share), which returns probabilities; the second row
    # has a tie at 0.2, of which 0.6 keeps the first
    probability = table((0.4, 0.1, 0.3, 0.15, 0.05), (0.2, 0.25, 0.2, 0.3, 0.05))
    logits = probability.log()
    equal(TopP(share=share)(logits, draft(logits)).softmax(-1), expected)


def test_repetition_penalty_equals_that_of_moss() -> None:
    # MOSS-RLHF train_ppo.py, lines 75-78 of generate, penalty 1.3, after tokens (2, 0, 2) and (4, 5, 1)
    logits = table((1.8, 0.3, 1.3, -1.2, 0.8, -0.2), (0.0, 0.1, -0.1, 0.05, -0.05, -0.2))
    equal(
        RepetitionPenalty(penalty=1.3)(logits, draft(logits, torch.tensor([[2, 0, 2], [4, 5, 1]]))),
        table(
            (1.384615385, 0.3, 1, -1.2, 0.8, -0.2),
            (0, 0.07692307692, -0.1, 0.05, -0.065, -0.26),
        ),
    )


@pytest.mark.parametrize(
    ("min_tokens", "third"), [(2, [1, 1, 0, 0, 0, 1]), (3, [1, 1, 0, 1, 0, 1]), (4, [1, 1, 1, 1, 0, 1])]
)
def test_nlpo_mask_equals_that_of_rl4lms(min_tokens: int, third: list[int]) -> None:
    # RL4LMs common/maskable/logits_processor.py, MaskLogitsProcessorCasualLM, "learned_top_p", top_mask
    # 0.9, special token 1, min_tokens_to_keep 2 and 3; its Seq2Seq twin keeps one more than it is told,
    # and so gave the rows of 3 and 4 for 2 and 3
    guide = table(
        (2.0, 0.5, 1.5, -1.0, 1.0, 0.0),
        (0.2, 0.3, 0.1, 0.25, 0.15, 0.0),
        (5.0, -1.0, 0.0, 1.0, -2.0, 3.0),
    )
    logits = NlpoMask(share=0.9, min_tokens=min_tokens)(torch.zeros_like(guide), draft(guide))
    assert logits.isfinite().int().tolist() == [[1, 1, 1, 0, 1, 0], [1] * 6, third]


def test_tensorflow_adam_takes_the_steps_of_adam_tensorflow_style() -> None:
    # N details ccc19538, train_policy_accelerate.py, AdamTensorFlowStyle(lr=0.1, eps=0.01) from
    # (0.5, −1); torch's own Adam goes to (0.4333333, −0.9032258) in the first step
    parameter = torch.tensor([0.5, -1.0], dtype=torch.float64, requires_grad=True)
    settings = {"lr": 0.1, "initial_lr": 0.1, "eps": 0.01, "initial_eps": 0.01}
    adam = TensorFlowAdam([{"params": [parameter], **settings}], weight_decay=0.0)
    for gradient, expected in (
        ((0.02, -0.3), (0.4940516513, -0.9513167019)),
        ((-0.05, 0.001), (0.5004861128, -0.9188253044)),
        ((0.01, 0.4), (0.5037234902, -0.9311859212)),
    ):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        adam.step()
        equal(parameter.detach(), expected)
