"""What the update gives its slots: groups, selections, slow copies, other responses, the optimiser."""

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import EOS, PAD, SETTINGS, ListTracker, TinyTask, make_run
from workbench.experience import minibatches
from workbench.maths import masked_mean
from workbench.models import Models
from workbench.optimiser import TensorFlowAdam, make_optimiser, take_step
from workbench.recipes.vanilla import VANILLA
from workbench.sampling import sample
from workbench.settings import PpoSettings
from workbench.stages.prepare import Prepared
from workbench.stages.reward_model import score_rows
from workbench.textbook import textbook_optimisation, textbook_sampling
from workbench.trick import Selection, Stopping
from workbench.tricks.advantage_estimator.rloo import Rloo
from workbench.tricks.initialise.layer_freezing import LayerFreezing
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.optimisation.adam_tensorflow_style import AdamTensorflowStyle
from workbench.tricks.optimisation.single_shuffle import SingleShuffle
from workbench.tricks.reward_function.greedy_baseline import GreedyBaseline
from workbench.tricks.reward_function.reference_response_baseline import ReferenceResponseBaseline
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt
from workbench.tricks.weight_sync.policy_ema import PolicyEma
from workbench.tricks.weight_sync.reference_refresh import ReferenceRefresh
from workbench.types import Evaluation, Rollout


class FirstTwo(Selection):
    """Keeps the first two responses of the buffer."""

    def __call__(self, rollout: Rollout) -> Tensor:
        return torch.arange(len(rollout.score)) < 2


class AfterTheFirst(Stopping):
    """Stops once the policy has moved."""

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return masked_mean((new.log_prob - minibatch.log_prob).abs(), minibatch.mask) > 1e-4


def test_responses_to_one_prompt_stand_together_and_share_their_group(
    prepared: Prepared, folder: Path
) -> None:
    run = make_run(prepared, folder, VANILLA.plus(ResponsesPerPrompt(count=4), Rloo()))
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    prompts = run.prompts(0)
    assert experience.samples.prompt_rows() == [prompts[0]] * 4 + [prompts[1]] * 4
    assert experience.rollout.group.tolist() == [0] * 4 + [1] * 4
    assert len(set(experience.samples.responses())) > 2


def test_without_a_critic_no_value_is_computed_and_no_critic_moves(
    prepared: Prepared, folder: Path
) -> None:
    run = make_run(prepared, folder, VANILLA.plus(ResponsesPerPrompt(count=4), Rloo()))
    before = [parameter.clone() for parameter in run.ppo.models.critic.parameters()]
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    assert not experience.rollout.value.any()
    assert all(float(step.value_loss) == 0 for step in experience.updates)
    after = run.ppo.models.critic.parameters()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_only_selected_responses_are_learnt_from(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(FirstTwo()))
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    assert experience.kept_share == 0.25 and len(experience.updates) == 2  # one in each of two epochs
    rollout, kept = experience.rollout, run.ppo.recipe.selection(experience.rollout)
    learnt = list(minibatches(rollout, kept, textbook_optimisation(SETTINGS), (0, 0, 0)))
    assert [len(m.score) for m in learnt] == [2, 2]
    assert all(set(m.score.tolist()) == set(rollout.score[:2].tolist()) for m in learnt)


def test_a_stop_drops_the_step_and_those_that_remain(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(AfterTheFirst()))
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    assert len(experience.updates) == 1
    moments = run.ppo.optimiser.state_dict()["state"].values()
    assert {int(m["step"]) for m in moments} == {1}


def test_one_order_serves_all_epochs_if_the_recipe_says_so(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    rollout = run.ppo.iteration(0, run.prompts(0))[0].rollout
    plan = textbook_optimisation(SETTINGS)
    orders = [
        [m.score.tolist() for m in minibatches(rollout, torch.arange(8), p, (0, 0, 0))]
        for p in (plan, SingleShuffle()(plan, 8))
    ]
    assert orders[1][:2] == orders[1][2:] and orders[0][:2] != orders[0][2:]
    assert orders[0][:2] == orders[1][:2]


def test_greedy_and_reference_scores_are_the_reward_models(prepared: Prepared, folder: Path) -> None:
    task = TinyTask()
    answer = (3, 4, EOS)
    task.reference_responses = lambda prompts: [answer for _ in prompts]  # type: ignore[method-assign]
    baselines = (GreedyBaseline(), ReferenceResponseBaseline())
    found = []
    for trick in baselines:
        run = make_run(prepared, folder, VANILLA.plus(trick), task=task)
        models, prompts = run.ppo.models, run.prompts(0)
        sampling = textbook_sampling(SETTINGS, len(prompts))
        likeliest = sample(models.policy, prompts, sampling, eos=EOS, pad=PAD, noise=None).responses()
        rivals = {"greedy_baseline": likeliest, "reference_response_baseline": [answer] * len(prompts)}
        rows = [(*p, *r) for p, r in zip(prompts, rivals[trick.name], strict=True)]
        expected = score_rows(models.reward_model, rows, PAD).detach()
        (experience,) = run.ppo.iteration(0, prompts)
        assert_close(experience.rollout.score, experience.score - expected, rtol=1e-5, atol=1e-6)
        found.append(expected)
    assert not torch.equal(*found)


def test_a_task_without_a_response_of_its_own_says_so(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(ReferenceResponseBaseline()))
    with pytest.raises(ValueError, match=r"^task tiny has no response of its own to some training"):
        run.train(ListTracker())


def test_the_monitors_measure_kl_to_sft_wherever_the_reference_goes(
    prepared: Prepared, tmp_path: Path
) -> None:
    moving = VANILLA.plus(ReferenceRefresh(share=1.0, every=1))
    runs = [make_run(prepared, tmp_path / r.fingerprint(), r) for r in (VANILLA, moving)]
    for run in runs:
        for k in range(2):
            run.ppo.iteration(k, run.prompts(k))
    # nothing pulls towards the reference here, so both runs are the same but for the reference
    fixed, moved = (run.ppo.iteration(2, run.prompts(2))[0] for run in runs)
    assert torch.equal(fixed.statistics.ref_log_prob, moved.statistics.ref_log_prob)
    assert_close(moved.rollout.ref_log_prob, moved.rollout.log_prob, rtol=1e-5, atol=1e-5)
    assert not torch.equal(fixed.rollout.ref_log_prob, fixed.rollout.log_prob)


def test_held_out_prompts_are_answered_by_the_average(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(PolicyEma()))
    models = run.ppo.models
    run.ppo.iteration(0, run.prompts(0))
    assert run.evaluator.policy is models.average is not None
    average, policy, start = (next(m.parameters()) for m in (models.average, models.policy, models.sft))
    assert (average - start).abs().sum() < 0.05 * (policy - start).abs().sum()
    assert not any(p.requires_grad for p in models.average.parameters())


def test_the_mask_of_nlpo_is_that_of_its_guide(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(NlpoMask(share=0.5, min_tokens=2)))
    models = run.ppo.models
    (experience,) = run.ppo.iteration(0, run.prompts(0))
    batch_tokens = zip(experience.samples.prompt_rows(), experience.samples.responses(), strict=True)
    for prompt, response in batch_tokens:
        with torch.no_grad():
            logits = models.sft.model(torch.tensor([[*prompt, *response]])).logits[0]
        for at, token in enumerate(response):
            probability = logits[len(prompt) - 1 + at].softmax(-1)
            likelier = float(probability[probability > probability[token]].sum())
            assert likelier < 0.5 or token == EOS


def test_parameters_of_a_shared_trunk_are_the_policys_alone(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(SharedTrunk()))
    models = run.ppo.models
    policy, critic = models.parameters()
    assert [tuple(p.shape) for p in critic] == [(1, 16)]
    before = [p.detach().clone() for p in (policy[0], critic[0])]
    run.ppo.iteration(0, run.prompts(0))
    assert models.critic.model.base_model is models.policy.model.base_model
    assert not torch.equal(policy[0], before[0]) and not torch.equal(critic[0], before[1])


def test_the_critics_gradient_norm_leaves_a_shared_trunk_to_the_policy(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(prepared, folder, VANILLA.plus(SharedTrunk()))
    _, [head] = run.ppo.models.parameters()
    norms: list[float] = []

    def step(*given: Any) -> None:
        norms.append(float(torch.as_tensor(head.grad).norm()))
        take_step(*given)

    monkeypatch.setattr("workbench.stages.ppo.take_step", step)
    [experience] = run.ppo.iteration(0, run.prompts(0))
    told = [float(update.critic_gradient_norm) for update in experience.updates]
    assert told == pytest.approx(norms) and min(norms) > 0


def test_frozen_layers_neither_move_nor_have_moments(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA.plus(LayerFreezing(blocks=1)))
    trunk = run.ppo.models.policy.model.base_model
    before = {name: p.detach().clone() for name, p in trunk.named_parameters()}
    run.ppo.iteration(0, run.prompts(0))
    moved = {name for name, p in trunk.named_parameters() if not torch.equal(p, before[name])}
    assert moved and not any(name.startswith(("wte", "wpe", "h.0")) for name in moved)
    assert any(name.startswith("h.1") for name in moved)


def test_tensorflow_style_adam_keeps_epsilon_out_of_the_bias_correction() -> None:
    # θ ← θ − α √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε̂), written out, with an ε̂ that matters
    rate, first, second, epsilon = 0.1, 0.9, 0.999, 0.01
    theta = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    groups = [{"params": [theta], "lr": rate, "eps": epsilon, "initial_eps": epsilon}]
    optimiser = TensorFlowAdam(groups, betas=(first, second), weight_decay=0.0)
    expected, m, v = theta.detach().clone(), torch.zeros(2), torch.zeros(2)
    for t in range(1, 4):
        gradient = torch.tensor([0.3 * t, -0.02], dtype=torch.float64)
        m, v = first * m + (1 - first) * gradient, second * v + (1 - second) * gradient**2
        step = rate * sqrt(1 - second**t) / (1 - first**t) * m / (v.sqrt() + epsilon)
        expected = expected - step
        theta.grad = gradient
        optimiser.step()
        assert_close(theta.detach(), expected, rtol=1e-12, atol=1e-12)


def test_the_recipe_chooses_the_optimiser_and_its_settings(prepared: Prepared, folder: Path) -> None:
    recipe = VANILLA.plus(AdamTensorflowStyle()).set(
        {"adam_epsilon.policy": 1e-5, "adam_epsilon.critic": 1e-6, "critic_learning_rate.factor": 0.5}
    )
    models: Models = make_run(prepared, folder).ppo.models
    optimiser = make_optimiser(models, SETTINGS, recipe)
    assert isinstance(optimiser, TensorFlowAdam)
    policy, critic = optimiser.param_groups
    assert (policy["lr"], critic["lr"]) == (1e-3, 0.5 * 2e-3)
    assert (policy["initial_eps"], critic["initial_eps"]) == (1e-5, 1e-6)


def test_the_plan_of_the_textbook_is_the_settings() -> None:
    plan = textbook_optimisation(SETTINGS)
    assert (plan.epochs, plan.minibatch_size) == (SETTINGS.epochs, SETTINGS.minibatch_size)
    sampling = textbook_sampling(replace_temperature(0.7), 8)
    assert (sampling.temperature, sampling.log_prob_temperature) == (0.7, 0.7)


def replace_temperature(temperature: float) -> PpoSettings:
    return SETTINGS.model_copy(update={"temperature": temperature})
