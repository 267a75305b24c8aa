"""Golden numbers of the slot initialise, beyond the starts of policy and critic in test_control."""

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tests.builders import EOS, PAD, VOCABULARY, make_rollout, save_model, tiny_llama
from workbench import gpt2
from workbench.loading import small_gpt2
from workbench.models import Batch, Models, Policy, Scorer
from workbench.recipe import Recipe
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.initialise.critic_from_scratch import CriticFromScratch
from workbench.tricks.initialise.critic_from_sft import CriticFromSft
from workbench.tricks.initialise.dropout import Dropout
from workbench.tricks.initialise.layer_freezing import LayerFreezing
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.initialise.value_head_init import ValueHeadInit
from workbench.tricks.initialise.value_head_mlp import ValueHeadMlp

WIDTH = 16
"""Of the tiny models."""


def started(prepared: Prepared, *tricks: Initialise, seed: int = 0) -> Models:
    models = Models(Policy(), Scorer(), Policy(), Scorer())
    Recipe("start", tricks).initialise(models, prepared, seed)
    return models


def batch() -> Batch:
    rollout = make_rollout()
    return Batch.of(rollout.tokens, rollout.prompt_length, rollout.mask)


def log_prob(policy: Policy, given: Batch) -> Tensor:
    """Return log π [B, T] of the response tokens, with gradient."""
    said = policy.logits(policy.states(given)).log_softmax(-1)
    return given.spread(said.gather(-1, given.target[:, None]).squeeze(-1))


def weights(module: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


@pytest.fixture
def llama(prepared: Prepared, tmp_path: Path) -> Prepared:
    """The folders of a Llama as base and SFT model."""
    folder = save_model(tiny_llama(), tmp_path / "llama")
    return Prepared(folder, folder, prepared.reward_model, "llama", {})


# critic_from_scratch


def test_a_critic_from_scratch_takes_its_architecture_from_the_sft_model_and_not_from_the_base(
    prepared: Prepared, llama: Prepared
) -> None:
    mixed = Prepared(prepared.base, llama.sft, prepared.reward_model, "mixed", {})
    assert started(mixed, CriticFromScratch()).critic.model.config.model_type == "llama"


def test_a_critic_from_scratch_has_the_sft_models_shape_and_none_of_its_weights(
    prepared: Prepared,
) -> None:
    scratch = started(prepared, CriticFromScratch()).critic
    sft = started(prepared, CriticFromSft()).critic
    ours, theirs = scratch.state_dict(), sft.state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}
    matrices = [n for n, t in ours.items() if t.ndim == 2 and n != "model.score.weight"]
    assert all(not torch.equal(ours[name], theirs[name]) for name in matrices)
    assert not scratch(batch()).any() and not scratch.model.training


def test_a_critic_from_scratch_is_drawn_from_the_seed(prepared: Prepared) -> None:
    one, again, other = (started(prepared, CriticFromScratch(), seed=s).critic for s in (3, 3, 4))
    assert torch.equal(weights(one), weights(again)) and not torch.equal(weights(one), weights(other))


def test_a_critic_from_scratch_may_be_a_llama(llama: Prepared) -> None:
    critic = started(llama, CriticFromScratch()).critic
    assert type(critic.model).__name__ == "LlamaForSequenceClassification"
    assert not critic(batch()).any()


# shared_trunk


@pytest.mark.parametrize("source", ["prepared", "llama"])
def test_a_shared_trunk_is_the_policys_own(source: str, request: pytest.FixtureRequest) -> None:
    models = started(request.getfixturevalue(source), SharedTrunk())
    assert models.critic.model.base_model is models.policy.model.base_model
    shared = set(map(id, models.policy.parameters()))
    own = [name for name, p in models.critic.named_parameters() if id(p) not in shared]
    assert own == ["model.score.weight"]


def test_with_a_shared_trunk_the_critics_gradient_reaches_the_policy(prepared: Prepared) -> None:
    models = started(prepared, SharedTrunk(), ValueHeadInit())
    models.critic(batch()).sum().backward()
    found = models.policy.model.base_model.h[0].mlp.c_fc.weight.grad
    assert found is not None and found.abs().sum() > 0


def test_a_shared_trunk_keeps_the_reward_models_head(prepared: Prepared) -> None:
    models = started(prepared, SharedTrunk(), CriticFromRewardModel())
    reward_model = Scorer()
    reward_model.load_weights(prepared.reward_model)
    assert torch.equal(models.critic.model.score.weight, reward_model.model.score.weight)
    hidden = models.policy.states(batch())
    expected = batch().spread((hidden @ reward_model.model.score.weight.T).squeeze(1))
    assert_close(models.critic(batch()), expected, rtol=1e-5, atol=1e-6)


def test_a_shared_trunk_needs_a_head_of_its_width(prepared: Prepared, tmp_path: Path) -> None:
    wide = Scorer()
    wide.load_trunk(save_model(gpt2_of(width=24, layers=2), tmp_path / "wide"))
    folder = save_model(wide.model, tmp_path / "wide_reward_model")
    other = Prepared(prepared.base, prepared.sft, folder, "wide", {})
    with pytest.raises(ValueError, match="a critic as wide as the policy, 16, got 24"):
        started(other, SharedTrunk(), CriticFromRewardModel())


def gpt2_of(*, width: int, layers: int) -> Any:
    return small_gpt2(
        vocabulary=VOCABULARY, context=24, width=width, layers=layers, heads=2, pad=PAD, eos=EOS, seed=0
    )  # fmt: skip


# value_head_init


def test_value_head_init_draws_from_the_given_deviation(prepared: Prepared) -> None:
    # one seed, so the heads are in the ratio of their deviations: h = 16, (0.2·1) / (1/17) = 3.4
    trl = started(prepared, ValueHeadInit(std=0.2, power=0.0)).critic.model.score.weight
    open_rlhf = started(prepared, ValueHeadInit(std=1.0, power=1.0)).critic.model.score.weight
    assert_close(trl, 3.4 * open_rlhf, rtol=1e-6, atol=0)
    noise = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0))
    assert_close(trl, 0.2 * noise, rtol=1e-6, atol=0)


def test_value_head_init_of_zero_gives_values_of_zero(prepared: Prepared) -> None:
    models = started(prepared, CriticFromRewardModel(), ValueHeadInit(std=0.0))
    assert not models.critic(batch()).any()


def test_value_head_init_is_drawn_from_the_seed(prepared: Prepared) -> None:
    one, again, other = (started(prepared, ValueHeadInit(), seed=s).critic for s in (3, 3, 4))
    assert torch.equal(weights(one), weights(again)) and not torch.equal(weights(one), weights(other))


def test_value_head_init_keeps_the_trunk(prepared: Prepared) -> None:
    plain, drawn = started(prepared), started(prepared, ValueHeadInit())
    trunks = [weights(models.critic.model.base_model) for models in (plain, drawn)]
    assert torch.equal(*trunks)


# value_head_mlp


def test_value_head_mlp_is_two_layers_of_twice_the_width(prepared: Prepared) -> None:
    models = started(prepared, ValueHeadMlp())
    shapes = {name: tuple(p.shape) for name, p in models.critic.model.score.named_parameters()}
    assert shapes == {
        "0.weight": (2 * WIDTH, WIDTH),
        "0.bias": (2 * WIDTH,),
        "2.weight": (1, 2 * WIDTH),
        "2.bias": (1,),
    }
    bounds = [p.abs().max() for p in models.critic.model.score.parameters()]
    limits = [1 / sqrt(WIDTH)] * 2 + [1 / sqrt(2 * WIDTH)] * 2
    assert all(bound <= limit for bound, limit in zip(bounds, limits, strict=True))


def test_value_head_mlp_is_as_wide_as_the_critic_and_not_as_the_policy(
    prepared: Prepared, tmp_path: Path
) -> None:
    narrow = Scorer()
    base = gpt2_of(width=8, layers=1)
    narrow.load_trunk(save_model(base, tmp_path / "base"), head_std=0.5, seed=0)
    folder = save_model(narrow.model, tmp_path / "narrow")
    made = Prepared(prepared.base, prepared.sft, folder, "narrow", {})
    models = started(made, CriticFromRewardModel(), ValueHeadMlp())
    assert models.critic.model.score[0].weight.shape == (16, 8)
    assert models.critic(batch()).any()


def test_value_head_mlp_says_what_its_equation_says(prepared: Prepared) -> None:
    models, given = started(prepared, ValueHeadMlp()), batch()
    first, _, last = models.critic.model.score
    started_hidden = started(prepared, SharedTrunk()).policy.states(given)  # the SFT trunk's
    inner = (started_hidden @ first.weight.T + first.bias).clamp(min=0)
    expected = given.spread((inner @ last.weight.T + last.bias).squeeze(1))
    assert_close(models.critic(given), expected, rtol=1e-5, atol=1e-6)


def test_value_head_mlp_is_drawn_from_the_seed(prepared: Prepared) -> None:
    one, again, other = (started(prepared, ValueHeadMlp(), seed=s).critic for s in (3, 3, 4))
    assert torch.equal(weights(one), weights(again)) and not torch.equal(weights(one), weights(other))


def test_value_head_init_changes_the_last_layer_of_the_mlp_alone(prepared: Prepared) -> None:
    plain = started(prepared, ValueHeadMlp()).critic.model.score
    zero = started(prepared, ValueHeadInit(std=0.0), ValueHeadMlp()).critic
    assert torch.equal(zero.model.score[0].weight, plain[0].weight)
    assert not weights(zero.model.score[2]).any() and not zero(batch()).any()


# layer_freezing


def trained(models: Models) -> set[str]:
    return {name for name, p in models.policy.named_parameters() if p.requires_grad}


def test_layer_freezing_of_gpt2_leaves_the_top_block_and_the_last_norm(prepared: Prepared) -> None:
    models = started(prepared, LayerFreezing(blocks=1))
    heads = {name.removeprefix("model.transformer.").split(".")[0] for name in trained(models)}
    assert heads == {"h", "ln_f"}  # the output layer is the frozen embedding
    assert {name.split(".")[3] for name in trained(models) if ".h." in name} == {"1"}
    assert all(p.requires_grad for p in models.critic.parameters())


def test_layer_freezing_of_llama_leaves_its_output_layer_too(llama: Prepared) -> None:
    found = trained(started(llama, LayerFreezing(blocks=1)))
    parts = {name.removeprefix("model.").removeprefix("model.").split(".")[0] for name in found}
    assert parts == {"layers", "norm", "lm_head"}
    assert {name.split(".")[3] for name in found if ".layers." in name} == {"1"}


def test_layer_freezing_of_as_many_blocks_as_there_are_freezes_nothing(prepared: Prepared) -> None:
    for blocks in (2, 6):
        models = started(prepared, LayerFreezing(blocks=blocks))
        assert all(p.requires_grad for p in models.policy.parameters())


def test_frozen_layers_get_no_gradient_and_the_others_get_theirs(prepared: Prepared) -> None:
    frozen, free = started(prepared, LayerFreezing(blocks=1)), started(prepared)
    for models in (frozen, free):
        log_prob(models.policy, batch()).sum().backward()
    wanted = dict(free.policy.named_parameters())
    for name, parameter in frozen.policy.named_parameters():
        if parameter.requires_grad:
            assert_close(parameter.grad, wanted[name].grad, rtol=1e-5, atol=1e-7)
        else:
            assert parameter.grad is None


# dropout


@pytest.mark.parametrize("source", ["prepared", "llama"])
def test_dropout_acts_in_training_mode_alone(source: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(source)
    plain, noisy = started(made), started(made, Dropout(probability=0.3), ValueHeadInit())
    assert noisy.has_dropout
    given = batch()

    def says(models: Models) -> Tensor:
        return log_prob(models.policy, given)

    assert_close(says(noisy), says(plain), rtol=0, atol=0)  # evaluation mode, as in the rollout
    noisy.policy.train()
    noisy.critic.train()
    assert not torch.equal(says(noisy), says(noisy))
    assert not torch.equal(noisy.critic(given), noisy.critic(given))


def test_dropout_reaches_every_place_that_gpt2_has(prepared: Prepared) -> None:
    models = started(prepared, Dropout(probability=0.3))
    for model in (models.policy.model, models.critic.model):
        places = [part.p for part in model.modules() if isinstance(part, nn.Dropout)]
        assert set(places) == {0.3} and len(places) == 1 + 2 * 3  # embedding; per block, three
        config = model.config
        assert {config.embd_pdrop, config.attn_pdrop, config.resid_pdrop} == {0.3}
        assert gpt2.is_plain(model.base_model) and not gpt2.is_plain(model.base_model.train())


def test_dropout_of_a_shared_trunk_is_that_of_the_policy(prepared: Prepared) -> None:
    models = started(prepared, SharedTrunk(), Dropout(probability=0.3), ValueHeadInit())
    models.critic.train()
    assert not torch.equal(models.critic(batch()), models.critic(batch()))
