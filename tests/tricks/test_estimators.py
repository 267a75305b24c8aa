"""Golden numbers and relations of the estimators beside GAE and Monte Carlo."""

from collections import defaultdict
from dataclasses import replace
from math import inf
from statistics import stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.builders import make_rollout, table
from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.trick import AdvantageEstimator
from workbench.tricks.advantage_estimator.decoupled_gae import DecoupledGae
from workbench.tricks.advantage_estimator.dr_grpo import DrGrpo
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.advantage_estimator.gpg import Gpg
from workbench.tricks.advantage_estimator.group_mean_batch_std import GroupMeanBatchStd
from workbench.tricks.advantage_estimator.grpo import Grpo
from workbench.tricks.advantage_estimator.length_adaptive_gae import LengthAdaptiveGae
from workbench.tricks.advantage_estimator.monte_carlo import MonteCarlo
from workbench.tricks.advantage_estimator.opo import Opo
from workbench.tricks.advantage_estimator.pass_at_k import PassAtK
from workbench.tricks.advantage_estimator.reinforce import Reinforce
from workbench.tricks.advantage_estimator.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from workbench.tricks.advantage_estimator.rloo import Rloo
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt
from workbench.types import Rollout

lengths = st.lists(st.integers(1, 9), min_size=2, max_size=8)
rollouts = st.builds(make_rollout, lengths, seed=st.integers(0, 10**6))
ESTIMATORS = [name for name, kind in registry().items() if issubclass(kind, AdvantageEstimator)]


def scored(totals: list[float], group: list[int]) -> Rollout:
    """Return responses of one token each, with these total rewards."""
    reward = torch.tensor(totals, dtype=torch.float64)[:, None]
    return make_rollout([1] * len(totals), reward=reward, group=torch.tensor(group))


def first_tokens(estimator: AdvantageEstimator, rollout: Rollout) -> list[float]:
    """Return the advantage of every response's first token."""
    return [round(value, 10) for value in estimator(rollout)[0][:, 0].tolist()]


# With a critic.


def test_decoupled_gae_sums_the_same_errors_with_two_traces() -> None:
    # γ = 1, r = (0, 0, 1), V = ½: δ = (0, 0, ½)
    #   λ_π = ½: Â = (⅛, ¼, ½)          λ_V = 1: R = V + (½, ½, ½) = (1, 1, 1)
    rollout = make_rollout([3], reward=table([0, 0, 1]), value=table([0.5, 0.5, 0.5]))
    advantage, returns = DecoupledGae(trace_policy=0.5)(rollout)
    assert_close(advantage, table([0.125, 0.25, 0.5]), rtol=1e-12, atol=0)
    assert_close(returns, table([1, 1, 1]), rtol=1e-12, atol=0)


@given(rollouts, st.floats(0, 1), st.floats(0, 1))
def test_decoupled_gae_with_equal_traces_equals_gae(
    rollout: Rollout, trace: float, discount: float
) -> None:
    found = DecoupledGae(trace_policy=trace, trace_value=trace, discount=discount)(rollout)
    assert_close(found, Gae(trace=trace, discount=discount)(rollout), rtol=1e-9, atol=1e-9)


def test_length_adaptive_gae_gives_each_response_its_own_trace() -> None:
    # α = ½, γ = 1, V = ½.  |y| = 4: λ = 1 − 1/2 = ½; δ = (0, 0, 0, ½): Â = (1/16, ⅛, ¼, ½)
    # |y| = 3: λ = 1 − 1/1.5 = ⅓; δ = (0, 0, ½): Â = (1/18, 1/6, ½).  The targets are the plain returns.
    reward = table([0, 0, 0, 1], [0, 0, 1, 0])
    rollout = make_rollout([4, 3], reward=reward, value=0.5 * table([1, 1, 1, 1], [1, 1, 1, 0]))
    advantage, returns = LengthAdaptiveGae(horizon_fraction=0.5)(rollout)
    assert_close(advantage, table([1 / 16, 1 / 8, 1 / 4, 1 / 2], [1 / 18, 1 / 6, 1 / 2, 0]))
    assert_close(returns, table([1, 1, 1, 1], [1, 1, 1, 0]), rtol=1e-12, atol=0)


def test_length_adaptive_gae_discounts_besides() -> None:
    # α = 1, |y| = 2: λ = ½; γ = ½: δ₁ = 4 − 2 = 2, δ₀ = 1 + ½·2 − 1 = 1: Â₀ = 1 + ¼·2; R₀ = 1 + ½·4
    rollout = make_rollout([2], reward=table([1, 4]), value=table([1, 2]))
    advantage, returns = LengthAdaptiveGae(horizon_fraction=1.0, discount=0.5)(rollout)
    assert_close(advantage, table([1.5, 2]), rtol=1e-12, atol=0)
    assert_close(returns, table([3, 4]), rtol=1e-12, atol=0)


@given(rollouts)
def test_the_published_horizon_is_one_step_for_responses_of_up_to_twenty_tokens(
    rollout: Rollout,
) -> None:
    # α|y| ≤ 0.05·20 = 1: 1 − 1/(α|y|) ≤ 0, where the paper's λ would be negative: ours is 0
    advantage, _ = LengthAdaptiveGae()(rollout)
    assert_close(advantage, Gae(trace=0.0)(rollout)[0], rtol=1e-12, atol=1e-12)


@given(rollouts, st.floats(0, 1))
def test_length_adaptive_gae_with_an_infinite_horizon_equals_monte_carlo(
    rollout: Rollout, discount: float
) -> None:
    found = LengthAdaptiveGae(horizon_fraction=inf, discount=discount)(rollout)
    assert_close(found, MonteCarlo(discount=discount)(rollout), rtol=1e-9, atol=1e-9)


# Without: a reward-to-go.


def test_reinforce_sums_what_follows() -> None:
    # γ = ½, r = (1, 2, 4): Â₂ = 4, Â₁ = 2 + 2 = 4, Â₀ = 1 + 2 = 3
    advantage, returns = Reinforce(discount=0.5)(make_rollout([3], reward=table([1, 2, 4])))
    assert advantage.tolist() == returns.tolist() == [[3, 4, 4]]


@given(rollouts, st.floats(0, 1))
def test_reinforce_equals_monte_carlo_of_a_critic_that_says_zero(
    rollout: Rollout, discount: float
) -> None:
    blind = replace(rollout, value=torch.zeros_like(rollout.value))
    assert_close(Reinforce(discount=discount)(rollout), MonteCarlo(discount=discount)(blind))


def penalised() -> Rollout:
    """Two responses with scores 4 and 2, and token penalties of 1 on two tokens and on one."""
    reward = table([-1, 4 - 1], [2 - 1, 0])
    return make_rollout([2, 1], reward=reward, score=table([4, 2])[0], group=torch.tensor([5, 5]))


def test_reinforce_plus_plus_baseline_subtracts_the_mean_score_from_the_reward_to_go() -> None:
    # μ(score) = 3; reward-to-go (−1 + 3, 3) and 1: Â = (2 − 3, 3 − 3) and 1 − 3
    advantage, _ = ReinforcePlusPlusBaseline()(penalised())
    assert advantage.tolist() == [[-1, 0], [-2, 0]]


def test_a_baseline_of_total_rewards_differs_from_openrlhfs_of_scores_by_the_penalties() -> None:
    # verl: R = 2 and 1, μ(R) = 1.5, on every token: ±½.  OpenRLHF: (score − 3) to-go, less penalties
    #   to-go: (1 − 2, 1 − 1) and −1 − 1, which is `reinforce_plus_plus_baseline`.
    rollout = penalised()
    assert DrGrpo()(rollout)[0].tolist() == [[0.5, 0.5], [-0.5, 0]]
    assert ReinforcePlusPlusBaseline()(rollout)[0].tolist() == [[1 - 2, 1 - 1], [-1 - 1, 0]]


@given(rollouts)
def test_without_token_penalties_both_baselines_are_one(rollout: Rollout) -> None:
    last = torch.arange(rollout.mask.shape[1]) == rollout.mask.sum(1, keepdim=True) - 1
    plain = replace(rollout, reward=torch.where(last, rollout.score[:, None], 0.0))
    assert_close(ReinforcePlusPlusBaseline()(plain), DrGrpo()(plain), rtol=1e-9, atol=1e-9)


# Without: one number for a response.

TWO_GROUPS = [0, 0, 0, 1, 1]


def test_rloo_subtracts_the_mean_of_the_others() -> None:
    # (1, 2, 6): 1 − 4, 2 − 3.5, 6 − 1.5;  (5, 3): 5 − 3, 3 − 5
    found = first_tokens(Rloo(), scored([1, 2, 6, 5, 3], TWO_GROUPS))
    assert found == [-3, -1.5, 4.5, 2, -2]


def test_rloo_of_a_single_response_leaves_the_total_reward_as_one_of_verls_two_does() -> None:
    # verl's rloo: 7 is left alone; its rloo_vectorized: 7·1/0 replaced by 0.  Ours: an empty sum, 7 − 0
    assert first_tokens(Rloo(), scored([7, 1, 3], [0, 1, 1])) == [7, -2, 2]


def test_dr_grpo_subtracts_the_mean_of_all() -> None:
    # (1, 2, 6): mean 3;  (5, 3): mean 4
    assert first_tokens(DrGrpo(), scored([1, 2, 6, 5, 3], TWO_GROUPS)) == [-2, -1, 3, 1, -1]


def test_grpo_divides_by_the_unbiased_deviation_plus_epsilon() -> None:
    # (1, 3, 5): mean 3, σ = √(8/2) = 2;  (0, 2): mean 1, σ = √(2/1) = √2;  ε = 2: ∓2/4 and ∓1/(√2 + 2)
    found = Grpo(epsilon=2.0)(scored([1, 3, 5, 0, 2], TWO_GROUPS))[0]
    other = 1 / (2**0.5 + 2)
    assert_close(found[:, 0], table([-0.5, 0, 0.5, -other, other])[0], rtol=1e-12, atol=0)


def test_a_single_response_teaches_grpo_and_dr_grpo_nothing_where_verl_leaves_its_reward() -> None:
    # verl: μ = 0 and σ = 1 for a group of one, so 7 stays 7.  Ours: μ = 7
    for estimator in (Grpo(), DrGrpo(), Opo(), GroupMeanBatchStd()):
        assert first_tokens(estimator, scored([7, 1, 3], [0, 1, 1]))[0] == 0
    assert _loop(scored([7, 1, 3], [0, 1, 1]), "grpo")[0] == pytest.approx(7, rel=1e-5)


def test_group_mean_batch_std_scales_by_the_spread_of_all_rewards() -> None:
    # R = (0, 2, 4, 6), means 1 and 5, mean of all 3, σ = √((9 + 1 + 1 + 9)/3) = √(20/3); ε = 1
    found = GroupMeanBatchStd(epsilon=1.0)(scored([0, 2, 4, 6], [0, 0, 1, 1]))[0]
    one = 1 / ((20 / 3) ** 0.5 + 1)
    assert_close(found[:, 0], table([-one, one, -one, one])[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "estimator", [DrGrpo(), Gpg(), GroupMeanBatchStd(), Grpo(), Opo(), PassAtK(), Rloo()]
)
def test_the_return_beside_a_group_advantage_is_the_total_reward(estimator: AdvantageEstimator) -> None:
    # R = 1 + 2 on two tokens, −4 on one
    reward = table([1, 2], [-4, 0])
    rollout = make_rollout([2, 1], reward=reward, group=torch.tensor([0, 0]))
    assert estimator(rollout)[1].tolist() == [[3, 3], [-4, 0]]


def test_opo_weighs_the_baseline_by_length() -> None:
    # lengths 3 and 1, R = 4 and 8: b = (3·4 + 1·8)/4 = 5: −1 on three tokens, 3 on one
    reward = table([1, 1, 2], [8, 0, 0])
    rollout = make_rollout([3, 1], reward=reward, group=torch.tensor([0, 0]))
    advantage, returns = Opo()(rollout)
    assert advantage.tolist() == [[-1, -1, -1], [3, 0, 0]]
    assert returns.tolist() == [[4, 4, 4], [8, 0, 0]]


def test_gpg_makes_up_for_groups_in_which_all_are_equal() -> None:
    # groups (1, 0), (1, 1), (0, 0): B = 6, 2 of them differ: α = 3; 3·(±½)/2 = ±0.75, and 0 elsewhere
    found = first_tokens(Gpg(normaliser=2.0), scored([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2]))
    assert found == [0.75, -0.75, 0, 0, 0, 0]


def test_gpg_does_not_round_its_factor() -> None:
    # B = 4, the three of one group differ: α = 4/3; R − μ = (⅔, −⅓, −⅓)
    advantage, _ = Gpg()(scored([1, 0, 0, 5], [0, 0, 0, 1]))
    assert_close(advantage, table([8 / 9], [-4 / 9], [-4 / 9], [0]), rtol=1e-14, atol=0)


def test_verls_gpg_counts_right_answers_instead() -> None:
    # verl on (1, 0), (1, 1), (0, 0): three rewards are not 0: α = 6/3 = 2, so ±1.  Paper and ours: ±1.5
    rollout = scored([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    assert first_tokens(Gpg(), rollout)[:2] == [1.5, -1.5]
    assert _loop(rollout, "gpg")[:2] == [1, -1]


def test_gpg_of_equal_rewards_everywhere_is_zero() -> None:
    assert first_tokens(Gpg(), scored([2, 2, 3, 3], [0, 0, 1, 1])) == [0, 0, 0, 0]


def test_pass_at_k_credits_the_best_with_its_lead() -> None:
    # (1, 2, 6): 6 − 2;  (5, 5): 5 − 5;  (3): there is no second
    found = first_tokens(PassAtK(), scored([1, 2, 6, 5, 5, 3], [0, 0, 0, 1, 1, 2]))
    assert found == [0, 0, 4, 0, 0, 0]


def test_pass_at_k_of_negative_rewards_is_still_a_lead() -> None:
    # −1 − (−4) = 3
    assert first_tokens(PassAtK(), scored([-4, -1], [0, 0])) == [0, 3]


# Relations.


def grouped(size: int, seed: int) -> Rollout:
    """Return three prompts of `size` responses each, of different lengths, in no order."""
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(3 * size, generator=random)
    drawn = torch.randint(1, 6, (3 * size,), generator=random).tolist()
    return make_rollout(drawn, seed=seed, group=torch.arange(3).repeat_interleave(size)[order])


groups = st.builds(grouped, st.integers(2, 5), st.integers(0, 10**6))


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_dr_grpo_times_g_over_g_minus_one_equals_rloo(size: int, seed: int) -> None:
    rollout = grouped(size, seed)
    scaled = DrGrpo()(rollout)[0] * size / (size - 1)
    assert_close(Rloo()(rollout)[0], scaled, rtol=1e-9, atol=1e-9)


@given(groups)
def test_gpg_of_scores_of_which_no_two_are_equal_is_dr_grpo(rollout: Rollout) -> None:
    assert_close(Gpg()(rollout), DrGrpo()(rollout), rtol=1e-9, atol=1e-9)


@given(groups)
def test_opo_of_equal_lengths_is_dr_grpo(rollout: Rollout) -> None:
    level = replace(rollout, mask=torch.ones_like(rollout.mask))
    assert_close(Opo()(level), DrGrpo()(level), rtol=1e-9, atol=1e-9)


@given(groups)
def test_group_advantages_sum_to_zero_over_a_group(rollout: Rollout) -> None:
    for estimator in (Rloo(), DrGrpo(), Grpo(), Gpg(), GroupMeanBatchStd()):
        advantage = estimator(rollout)[0][:, 0]
        for number in range(3):
            assert abs(float(advantage[rollout.group == number].sum())) < 1e-9


def _loop(rollout: Rollout, form: str) -> list[float]:
    """Write verl's loop over responses and groups; a group of one has mean 0 and deviation 1."""
    scores = [float(row[keep].sum()) for row, keep in zip(rollout.reward, rollout.mask, strict=True)]
    lengths = rollout.mask.sum(1).tolist()
    members = defaultdict(list)
    for index, number in enumerate(rollout.group.tolist()):
        members[number].append(index)
    nonzero = sum(score != 0 for score in scores)
    result = []
    for index, number in enumerate(rollout.group.tolist()):
        inside = members[number]
        several = [scores[i] for i in inside]
        size, alone = len(inside), len(inside) == 1
        mean = 0.0 if alone else sum(several) / size
        deviation = 1.0 if alone else stdev(several)
        weighted = sum(lengths[i] * scores[i] for i in inside) / sum(lengths[i] for i in inside)
        ranked = sorted(several, reverse=True)
        forms = {
            "grpo": (scores[index] - mean) / (deviation + 1e-6),
            "rloo": scores[index]
            if alone
            else scores[index] * size / (size - 1) - mean * size / (size - 1),
            "opo": scores[index] - (0.0 if alone else weighted),
            "gpg": len(scores) / max(nonzero, 1) * (scores[index] - mean),
            "passk": 0.0 if alone or scores[index] < ranked[0] else ranked[0] - ranked[1],
        }
        result.append(forms[form])
    return result


@given(groups)
def test_group_estimators_equal_verls_loops(rollout: Rollout) -> None:
    estimators = {"grpo": Grpo(), "rloo": Rloo(), "opo": Opo(), "gpg": Gpg(), "passk": PassAtK()}
    for form, estimator in estimators.items():
        expected = torch.tensor(_loop(rollout, form), dtype=torch.float64)
        expected = torch.where(rollout.mask, expected[:, None], 0.0)
        assert_close(estimator(rollout)[0], expected, rtol=1e-9, atol=1e-9)


# All of them.


def test_a_recipe_of_group_statistics_has_to_ask_for_groups() -> None:
    with pytest.raises(ValueError, match="grpo needs responses_per_prompt"):
        Recipe("alone", (Grpo(),))
    names = {trick.name for trick in Recipe("grouped", (Grpo(), ResponsesPerPrompt())).tricks}
    assert "grpo" in names and "gae" not in names


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_single_response_gives_finite_numbers(name: str) -> None:
    advantage, returns = registry()[name]()(make_rollout([3]))  # type: ignore[operator]
    assert advantage.isfinite().all() and returns.isfinite().all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_that_needs_no_value_does_not_look_at_it(name: str) -> None:
    kind = registry()[name]
    rollout = make_rollout()
    moved = replace(rollout, value=torch.where(rollout.mask, rollout.value + 1, 0.0))
    is_same = torch.equal(kind()(rollout)[0], kind()(moved)[0])  # type: ignore[operator]
    assert is_same == ("value" not in kind.needs)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_advantage_is_in_units_of_the_score_unless_a_deviation_divides_it(name: str) -> None:
    kind, rollout = registry()[name], make_rollout()
    doubled = replace(
        rollout, reward=2 * rollout.reward, value=2 * rollout.value, score=2 * rollout.score
    )
    scale = 1 if name in ("grpo", "group_mean_batch_std") else 2
    expected = scale * kind()(rollout)[0]  # type: ignore[operator]
    tolerance = 1e-3 if scale == 1 else 1e-12  # ε beside the deviation does not scale
    assert_close(kind()(doubled)[0], expected, rtol=tolerance, atol=1e-12)  # type: ignore[operator]
