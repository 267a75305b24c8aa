"""Recipes, through the library's PPO, equal the flat oracle: rewards to weights, to 1e-6."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from tests.builders import EOS, SETTINGS, TinyTask, make_run
from tests.reference.flat.args import Args
from tests.reference.flat_ppo import Buffer, Models, flat_ppo
from tests.reference.oracle_cases import COMPOSED, PUBLISHED, Case
from workbench.experience import Experience
from workbench.recipes import recipes
from workbench.registry import registry
from workbench.seeding import generator
from workbench.stages.ppo import Ppo
from workbench.stages.prepare import Prepared
from workbench.tasks.base import Tokens

ITERATIONS = 3
CASES = PUBLISHED | COMPOSED
NOT_COVERED = {"dropout"}
"""Its random numbers depend on how responses are padded, and the oracle does not pad."""


class AnsweredTask(TinyTask):
    """The tiny task with a response of its own to every prompt."""

    def reference_responses(self, prompts: Sequence[Tokens]) -> list[Tokens]:
        return [own_response(prompt) for prompt in prompts]


def own_response(prompt: Sequence[int]) -> Tokens:
    """Answer a prompt by its words in reverse."""
    return (*reversed(prompt), EOS)


def test_every_recipe_has_a_case_that_starts_from_it() -> None:
    assert set(PUBLISHED) == set(recipes())
    for name, case in PUBLISHED.items():
        assert case.recipe == recipes()[name]
        assert {trick.name for trick in case.composed.tricks} == {t.name for t in case.recipe.tricks}


def test_the_cases_cover_every_trick() -> None:
    covered = {trick.name for case in CASES.values() for trick in case.composed.tricks}
    assert set(registry()) - covered == NOT_COVERED


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", CASES)
def test_a_recipe_equals_the_flat_oracle(name: str, prepared: Prepared, folder: Path) -> None:
    case = CASES[name]
    settings = SETTINGS.model_copy(update={"iterations": ITERATIONS} | case.settings)
    run = make_run(prepared, folder, case.composed, settings=settings, task=AnsweredTask())
    ppo = run.ppo
    for model in vars(ppo.models).values():
        if isinstance(model, torch.nn.Module):
            model.double()
    models = _models(case, prepared, ppo)
    experiences = [ppo.iteration(k, run.prompts(k)) for k in range(ITERATIONS)]

    args = Args(iterations=ITERATIONS, **case.args)
    buffers = [[_buffer(ppo, k, i, e) for i, e in enumerate(es)] for k, es in enumerate(experiences)]
    logs = flat_ppo(args, models, buffers)

    flat = [experience for es in experiences for experience in es]
    for log, experience in zip(logs, flat, strict=True):
        rollout = experience.rollout
        assert rollout.mask.shape[1] <= args.cap
        _equal(rollout.log_prob, rollout.mask, [r.old.tolist() for r in log.responses])
        _equal(rollout.behaviour_log_prob, rollout.mask, [r.drawn.tolist() for r in log.responses])
        _equal(rollout.reward, rollout.mask, [response.reward for response in log.responses])
        _equal(rollout.advantage, rollout.mask, [response.advantage for response in log.responses])
        if args.has_critic:
            _equal(rollout.returns, rollout.mask, [response.returns for response in log.responses])
        found = [torch.stack([u.policy_loss, u.value_loss, u.regulariser]) for u in experience.updates]
        assert_close(torch.stack(found), torch.tensor(log.losses), rtol=1e-9, atol=1e-9)
    for model in ("policy", "critic", "reference", "guide", "average"):
        if (trained := getattr(ppo.models, model)) is not None:
            theirs = dict(getattr(models, model).named_parameters())
            for key, parameter in trained.named_parameters():  # a critic that is not asked has none
                assert_close(parameter, theirs[key.removeprefix("model.")], rtol=0, atol=1e-6)


def _models(case: Case, prepared: Prepared, ppo: Ppo) -> Models:
    """Load the oracle's four models in float64, by the library of the models where weights are known."""
    folders = {"base": prepared.base, "sft": prepared.sft, "reward_model": prepared.reward_model}
    causal, scorer = GPT2LMHeadModel.from_pretrained, GPT2ForSequenceClassification.from_pretrained
    policy: Any = causal(folders[case.policy]).double().eval()
    started = deepcopy(ppo.models.critic)
    critic: Any = getattr(started, "model", started)
    if case.critic != "run":
        critic = scorer(folders[case.critic], num_labels=1)
        if case.critic == "sft":
            critic.score.weight.data.zero_()
        if case.has_own_head:
            critic.score = started.model.score
    critic = critic.double().eval()
    if case.shares_trunk:
        critic.transformer = policy.transformer
    reward_model: Any = scorer(prepared.reward_model, num_labels=1)
    return Models(policy, critic, causal(prepared.sft).double().eval(), reward_model.double().eval())


def _buffer(ppo: Ppo, k: int, index: int, experience: Experience) -> Buffer:
    """Read off what was sampled, and hand on the run's dice."""
    samples = experience.samples
    stream = (ppo.seed, k, index * len(samples.tokens))
    rows = zip(samples.tokens.tolist(), samples.prompt_length, samples.mask.sum(1), strict=True)
    prompts = [list(row) for row in samples.prompt_rows()]

    def shuffle(epoch: int, count: int) -> list[int]:
        order: list[int] = torch.randperm(
            count, generator=generator(*stream, epoch, "minibatches")
        ).tolist()
        return order

    def texts(number: int, size: int) -> list[list[int]]:
        random = generator(*stream, number, "ptx")
        drawn = torch.randint(len(ppo.pretraining), (size,), generator=random)
        return [list(ppo.pretraining[i]) for i in drawn.tolist()]

    return Buffer(
        prompts,
        [row[start : start + length] for row, start, length in rows],
        [list(own_response(prompt)) for prompt in prompts],
        shuffle,
        texts,
    )


def _equal(found: Tensor, mask: Tensor, expected: list[list[float]]) -> None:
    """Compare a padded tensor with one list per response."""
    assert not found[~mask].any()
    flat = torch.tensor([x for response in expected for x in response])
    assert_close(found[mask], flat, rtol=1e-9, atol=1e-9)
