"""Golden numbers of the slots initialise, sampling, gradient and schedule."""

import pytest
import torch
from torch.testing import assert_close

from tests.builders import make_rollout
from workbench.models import Batch, Models, Policy, Scorer
from workbench.recipe import Recipe
from workbench.stages.prepare import Prepared
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
from workbench.tricks.gradient.gradient_value_clip import GradientValueClip
from workbench.tricks.gradient.separate_gradient_clip import SeparateGradientClip
from workbench.tricks.gradient.skip_nonfinite_gradients import SkipNonfiniteGradients
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.initialise.critic_from_sft import CriticFromSft
from workbench.tricks.initialise.policy_from_base import PolicyFromBase
from workbench.tricks.initialise.policy_from_sft import PolicyFromSft
from workbench.tricks.sampling.experience_buffer import ExperienceBuffer
from workbench.tricks.schedule.critic_pretraining import CriticPretraining
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.types import Rates, Sampling

SAMPLING = Sampling(temperature=1.0, max_response_tokens=8, buffer_size=128)


def initialised(prepared: Prepared, *tricks: type) -> Models:
    models = Models(Policy(), Scorer(), Policy(), Scorer())
    for trick in tricks:
        trick()(models, prepared, 0)
    return models


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_policy_starts_from_sft_or_from_the_base_model(prepared: Prepared) -> None:
    sft, base = Policy(), Policy()
    sft.load_weights(prepared.sft)
    base.load_weights(prepared.base)
    assert same_weights(initialised(prepared, PolicyFromSft).policy, sft)
    assert same_weights(initialised(prepared, PolicyFromBase).policy, base)
    assert not same_weights(sft, base)


def test_a_critic_from_sft_has_its_trunk_and_values_of_zero(prepared: Prepared) -> None:
    critic, sft = initialised(prepared, CriticFromSft).critic, Policy()
    sft.load_weights(prepared.sft)
    assert same_weights(critic.model.base_model, sft.model.base_model)
    rollout = make_rollout()
    batch = Batch.of(rollout.tokens, rollout.prompt_length, rollout.mask)
    assert not critic(batch).any()


def test_a_critic_from_the_reward_model_scores_like_it(prepared: Prepared) -> None:
    critic, reward_model = initialised(prepared, CriticFromRewardModel).critic, Scorer()
    reward_model.load_weights(prepared.reward_model)
    assert same_weights(critic, reward_model)


def test_experience_buffer_sets_the_responses_per_update() -> None:
    assert ExperienceBuffer(responses=32)(SAMPLING).buffer_size == 32
    assert ExperienceBuffer(responses=0)(SAMPLING) == SAMPLING


def test_experience_buffer_must_divide_the_rollout() -> None:
    with pytest.raises(ValueError, match="must divide the rollout size 128, got 48"):
        ExperienceBuffer(responses=48)(SAMPLING)


def test_global_gradient_clip_shrinks_all_gradients_by_one_factor() -> None:
    # norms 3 and 4 make 5 together; c = 1: factor 1/(5 + 1e-6)
    policy, critic = [torch.tensor([3.0, 0.0])], [torch.tensor([[4.0]])]
    found = GlobalGradientClip(max_norm=1.0)(policy, critic)
    factor = 1 / (5 + 1e-6)
    assert_close(found[0][0], torch.tensor([3 * factor, 0.0]), rtol=1e-6, atol=0)
    assert_close(found[1][0], torch.tensor([[4 * factor]]), rtol=1e-6, atol=0)


def test_global_gradient_clip_leaves_small_gradients_alone() -> None:
    policy, critic = [torch.tensor([0.3, 0.0])], [torch.tensor([[0.4]])]
    found = GlobalGradientClip(max_norm=1.0)(policy, critic)
    assert torch.equal(found[0][0], policy[0]) and torch.equal(found[1][0], critic[0])


@pytest.mark.parametrize("kind", [GlobalGradientClip, SeparateGradientClip])
def test_the_epsilon_of_a_gradient_clip_is_added_to_the_norm(
    kind: type[GlobalGradientClip | SeparateGradientClip],
) -> None:
    # ‖(3, 4)‖·10⁻⁶ = 5·10⁻⁶, c = 3·10⁻⁶: factor 3/(5 + 1) = ½
    policy = [torch.tensor([3e-6], dtype=torch.float64), torch.tensor([[4e-6]], dtype=torch.float64)]
    found, _ = kind(max_norm=3e-6)(policy, [])
    assert [float(gradient) for gradient in found] == pytest.approx([1.5e-6, 2e-6], rel=1e-9)


def test_separate_gradient_clip_takes_the_norm_of_each_model() -> None:
    # ‖(3, 4)‖ = 5 is shrunk by 1/(5 + 1e-6), ‖(0.3, 0.4)‖ = 0.5 is left alone
    policy, critic = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], [torch.tensor([0.3, 0.4])]
    found = SeparateGradientClip(max_norm=1.0)(policy, critic)
    factor = 1 / (5 + 1e-6)
    assert_close(found[0][0], torch.tensor([3 * factor, 0.0]), rtol=1e-6, atol=0)
    assert_close(found[0][1], torch.tensor([[4 * factor]]), rtol=1e-6, atol=0)
    assert torch.equal(found[1][0], critic[0])
    # where one norm over both shrinks the critic's gradient with the policy's
    assert GlobalGradientClip(max_norm=1.0)(policy, critic)[1][0].norm() < 0.1


def test_separate_gradient_clip_works_without_a_critic() -> None:
    policy, critic = SeparateGradientClip(max_norm=1.0)([torch.tensor([2.0])], [])
    assert_close(policy[0], torch.tensor([1.0]), rtol=1e-5, atol=0)
    assert critic == []


def test_gradient_value_clip_clamps_every_element() -> None:
    found = GradientValueClip(max_abs=0.5)([torch.tensor([3.0, -0.2])], [torch.tensor([[-4.0]])])
    assert found[0][0].tolist() == pytest.approx([0.5, -0.2])
    assert found[1][0].tolist() == [[-0.5]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_gradient_that_is_not_finite_sets_all_to_zero(bad: float) -> None:
    policy, critic = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])], [torch.tensor([[bad, 4.0]])]
    for found in (SkipNonfiniteGradients()(policy, critic), SkipNonfiniteGradients()(critic, policy)):
        assert not any(gradient.any() for model in found for gradient in model)
    kept = SkipNonfiniteGradients()(policy, [torch.tensor([[5.0, 4.0]])])
    assert torch.equal(kept[0][0], policy[0]) and kept[1][0].tolist() == [[5.0, 4.0]]


def test_adam_still_moves_by_its_momentum_on_a_skipped_step() -> None:
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    adam = torch.optim.Adam([weight], lr=0.1)
    places = []
    for gradient in (1.0, float("nan")):
        (kept,) = SkipNonfiniteGradients()([torch.tensor([gradient])], [])[0]
        weight.grad = kept
        adam.step()
        places.append(weight.item())
    # first step −0.1; then m̂ = 0.09/0.19, v̂ = 0.000999/0.001999: −0.1·0.47368/0.70693 = −0.0670
    assert places == pytest.approx([-0.1, -0.1 - 0.1 * (0.09 / 0.19) / (0.999e-3 / 1.999e-3) ** 0.5])


def test_what_is_not_finite_is_skipped_before_gradients_are_clipped() -> None:
    for kind in (GlobalGradientClip, SeparateGradientClip, GradientValueClip):
        assert "skip_nonfinite_gradients" in kind.after
    assert GlobalGradientClip.group == SeparateGradientClip.group == "gradient_clip"


def test_critic_pretraining_freezes_the_policy_for_the_first_iterations() -> None:
    found = [CriticPretraining(iterations=2)(k, 10) for k in range(4)]
    assert [rates.policy for rates in found] == [0.0, 0.0, 1.0, 1.0]
    assert [rates.critic for rates in found] == [1.0] * 4


def test_learning_rate_warmup_rises_linearly_and_then_stays() -> None:
    # s·K = 0.5·8 = 4: 1/4, 2/4, 3/4, 1, 1, …
    found = [LearningRateWarmup(share=0.5)(k, 8) for k in range(6)]
    assert found == [Rates(x, x) for x in (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)]
    assert LearningRateWarmup(share=0.0)(0, 8) == Rates(1.0, 1.0)


def test_factors_of_several_schedules_multiply() -> None:
    recipe = Recipe("both", (CriticPretraining(iterations=1), LearningRateWarmup(share=0.5)))
    assert recipe.rates(0, 8) == Rates(policy=0.0, critic=0.25)
    assert recipe.rates(1, 8) == Rates(policy=0.5, critic=0.5)
