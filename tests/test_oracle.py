"""Composed recipes, through the library's PPO, equal the flat oracle: rewards to weights, to 1e-6."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from tests.builders import SETTINGS, make_run
from tests.reference.flat_ppo import Args, Buffer, flat_ppo
from workbench.experience import Experience
from workbench.recipe import Recipe
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.seeding import generator
from workbench.stages.ppo import Ppo
from workbench.stages.prepare import Prepared
from workbench.trick import Value
from workbench.tricks import registry

ITERATIONS = 3
TEXTBOOK = Recipe("textbook")


@dataclass(frozen=True)
class Case:
    """A recipe, and the same in the oracle's words.

    Attributes:
        recipe: where the recipe starts from.
        tricks: `trick.field` to value, added to it.
        args: the oracle's arguments.
        policy: the policy's starting folder.
        critic_from_reward_model: whether the critic starts from the reward model.
        temperature: of every log-probability.
    """

    recipe: Recipe
    tricks: dict[str, Value] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    policy: str = "sft"
    critic_from_reward_model: bool = False
    temperature: float = 1.0

    @property
    def composed(self) -> Recipe:
        plain = {name.partition(".")[0] for name, value in self.tricks.items() if value == "on"}
        recipe = self.recipe.plus(*(registry()[name]() for name in sorted(plain)))
        return recipe.set({name: value for name, value in self.tricks.items() if value != "on"})


CASES = {
    "textbook": Case(TEXTBOOK),
    "vanilla": Case(VANILLA, args={"advantage_norm": True}),
    "ppo_max": Case(
        PPO_MAX,
        {"critic_pretraining.iterations": 1, "reward_clip.max_abs": 1.0},  # so that both bind
        {
            "kl_weight": 0.05, "reward_norm": True, "reward_clip": 1.0, "value_clip": 0.2,
            "gae_lambda": 0.9, "max_gradient_norm": 1.0, "critic_pretraining": 1, "ptx": 0.1,
        },
        critic_from_reward_model=True,
    ),
    "released code": Case(
        VANILLA,
        {
            "reward_scaling": "on", "reward_clip.max_abs": 0.7, "value_clip.clip_range": 0.005,
            "entropy_clip.weight": 0.3, "entropy_clip.target": 2.0, "experience_buffer.responses": 4,
            "token_kl_penalty.weight": 0.2, "global_gradient_clip.max_norm": 0.1,
        },
        {
            "reward_scaling": True, "reward_clip": 0.7, "value_clip": 0.005, "entropy_clip": 0.3,
            "entropy_target": 2.0, "kl_weight": 0.2, "max_gradient_norm": 0.1, "advantage_norm": True,
        },
        temperature=0.7,
    ),
    "the paper's text": Case(
        TEXTBOOK,
        {
            "return_scaling": "on", "monte_carlo.discount": 0.9, "sequence_mean": "on",
            "entropy_bonus.weight": 0.2, "token_kl_penalty.weight": 0.1,
            "learning_rate_warmup.share": 0.7,
        },
        {
            "return_scaling": True, "monte_carlo": True, "discount": 0.9, "sequence_mean": True,
            "entropy_bonus": 0.2, "kl_weight": 0.1, "warmup": 0.7,
        },
    ),
    "no clip": Case(
        TEXTBOOK,
        {
            "unclipped_surrogate": "on", "advantage_norm.unbiased": True, "advantage_clip.max_abs": 0.4,
            "gae.trace": 0.6, "gae.discount": 0.8, "ppo_ptx.weight": 0.5,
        },
        {
            "policy_loss": "unclipped", "advantage_norm": True, "unbiased": True,
            "advantage_clip": 0.4, "gae_lambda": 0.6, "discount": 0.8, "ptx": 0.5,
        },
    ),
    "ratio to the reference": Case(
        TEXTBOOK,
        {"reference_ratio.clip_range": 0.1, "policy_from_base": "on", "reward_norm": "on"},
        {"policy_loss": "reference", "clip": 0.1, "reward_norm": True},
        policy="base",
        temperature=1.5,
    ),
    "no ratio": Case(
        TEXTBOOK,
        {"policy_gradient": "on", "critic_from_reward_model": "on", "reward_scaling": "on"},
        {"policy_loss": "none", "reward_scaling": True},
        critic_from_reward_model=True,
    ),
}  # fmt: skip


def test_the_cases_cover_every_trick() -> None:
    covered = {trick.name for case in CASES.values() for trick in case.composed.tricks}
    assert covered == set(registry())


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", CASES)
def test_a_composed_recipe_equals_the_flat_oracle(name: str, prepared: Prepared, folder: Path) -> None:
    case = CASES[name]
    settings = SETTINGS.model_copy(update={"iterations": ITERATIONS, "temperature": case.temperature})
    run = make_run(prepared, folder, case.composed, settings=settings)
    ppo = run.ppo
    for model in vars(ppo.models).values():
        model.double()
    experiences = [ppo.iteration(k, run.prompts(k)) for k in range(ITERATIONS)]

    args = Args(iterations=ITERATIONS, temperature=case.temperature, **case.args)
    policy, critic, reference, reward_model = _models(case, prepared)
    buffers = [[_buffer(ppo, k, i, e) for i, e in enumerate(es)] for k, es in enumerate(experiences)]
    logs = flat_ppo(args, policy, critic, reference, reward_model, buffers)

    flat = [experience for es in experiences for experience in es]
    for log, experience in zip(logs, flat, strict=True):
        rollout = experience.rollout
        _equal(rollout.reward, rollout.mask, log.rewards)
        _equal(rollout.advantage, rollout.mask, log.advantages)
        _equal(rollout.returns, rollout.mask, log.returns)
        for step, losses in zip(experience.updates, log.losses, strict=True):
            found = [step.policy_loss, step.value_loss, step.regulariser]
            assert_close(torch.stack(found), torch.tensor(losses), rtol=1e-9, atol=1e-9)
    for trained, expected in ((ppo.models.policy, policy), (ppo.models.critic, critic)):
        theirs = dict(expected.named_parameters())
        for key, parameter in trained.model.named_parameters():
            assert_close(parameter, theirs[key], rtol=0, atol=1e-6)


def _models(case: Case, prepared: Prepared) -> tuple[Any, Any, Any, Any]:
    """Load the oracle's four models in float64, by the library of the models alone."""
    folders = {"base": prepared.base, "sft": prepared.sft}
    causal, scorer = GPT2LMHeadModel.from_pretrained, GPT2ForSequenceClassification.from_pretrained
    start = prepared.reward_model if case.critic_from_reward_model else prepared.sft
    critic = scorer(start, num_labels=1)
    if not case.critic_from_reward_model:
        critic.score.weight.data.zero_()
    models = (
        causal(folders[case.policy]),
        critic,
        causal(prepared.sft),
        scorer(prepared.reward_model, num_labels=1),
    )
    return tuple(model.double().eval() for model in models)


def _buffer(ppo: Ppo, k: int, index: int, experience: Experience) -> Buffer:
    """Read off what was sampled, and name the minibatches and texts by the run's random streams."""
    samples = experience.samples
    size, lengths = len(samples.tokens), samples.prompt_length.tolist()
    prompts = [row[:n] for row, n in zip(samples.tokens.tolist(), lengths, strict=True)]
    stream = (ppo.seed, k, index * size)
    minibatches: list[list[int]] = []
    for epoch in range(ppo.settings.epochs):
        order = torch.randperm(size, generator=generator(*stream, epoch, "minibatches"))
        minibatches += [part.tolist() for part in torch.split(order, ppo.settings.minibatch_size)]
    texts: list[list[list[int]]] = [[] for _ in minibatches]
    if ppo.pretraining:
        for number, minibatch in enumerate(minibatches):
            random = generator(*stream, number, "ptx")
            drawn = torch.randint(len(ppo.pretraining), (len(minibatch),), generator=random)
            texts[number] = [list(ppo.pretraining[i]) for i in drawn.tolist()]
    return Buffer(prompts, [list(r) for r in samples.responses()], minibatches, texts)


def _equal(found: Tensor, mask: Tensor, expected: list[Tensor]) -> None:
    """Compare a padded tensor with one tensor per response."""
    assert not found[~mask].any()
    assert_close(found[mask], torch.cat(expected), rtol=1e-9, atol=1e-9)
