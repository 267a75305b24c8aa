"""Golden numbers of the slots initialise, sampling, gradient and schedule."""

import pytest
import torch
from torch.testing import assert_close

from tests.builders import make_rollout
from workbench.models import Batch, Models, Policy, Scorer
from workbench.recipe import Recipe
from workbench.stages.prepare import Prepared
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
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
        trick()(models, prepared)
    return models


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


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
    found = GlobalGradientClip(max_norm=1.0)([torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])])
    factor = 1 / (5 + 1e-6)
    assert_close(found[0], torch.tensor([3 * factor, 0.0]), rtol=1e-6, atol=0)
    assert_close(found[1], torch.tensor([[4 * factor]]), rtol=1e-6, atol=0)


def test_global_gradient_clip_leaves_small_gradients_alone() -> None:
    gradients = [torch.tensor([0.3, 0.0]), torch.tensor([[0.4]])]
    found = GlobalGradientClip(max_norm=1.0)(gradients)
    assert all(torch.equal(old, new) for old, new in zip(gradients, found, strict=True))


def test_critic_pretraining_freezes_the_policy_for_the_first_iterations() -> None:
    found = [CriticPretraining(iterations=2)(k, 10) for k in range(4)]
    assert [rates.policy for rates in found] == [0.0, 0.0, 1.0, 1.0]
    assert [rates.critic for rates in found] == [1.0] * 4


def test_learning_rate_warmup_rises_linearly_and_then_stays() -> None:
    # s·K = 0.5·8 = 4: 1/4, 2/4, 3/4, 1, 1, …
    found = [LearningRateWarmup(share=0.5)(k, 8) for k in range(6)]
    assert found == [Rates(x, x) for x in (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)]


def test_factors_of_several_schedules_multiply() -> None:
    recipe = Recipe("both", (CriticPretraining(iterations=1), LearningRateWarmup(share=0.5)))
    assert recipe.rates(0, 8) == Rates(policy=0.0, critic=0.25)
    assert recipe.rates(1, 8) == Rates(policy=0.5, critic=0.5)
