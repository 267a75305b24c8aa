"""Whole iterations of TRL 1.12.0's PPOTrainer: retold in plain loops, and the same by our PPO."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import workbench.sampling
import workbench.stages.ppo
from tests.builders import EOS, PAD, SETTINGS, VOCABULARY, TinyTask, make_run, tokenizer
from tests.reference.flat_trl import Args, FlatTrl
from tests.reference.trl_iteration import Folders, Iteration, PPOConfig, Rows, trl_iterations
from workbench import packing
from workbench.experience import Experience
from workbench.loading import load_causal, load_scorer
from workbench.recipes import find_recipe
from workbench.seeding import generator
from workbench.stages.ppo import Ppo
from workbench.stages.prepare import Prepared
from workbench.tricks.initialise.policy_from_base import PolicyFromBase
from workbench.tricks.sampling.fixed_length import FixedLength
from workbench.types import Rollout

SEED, PROMPTS = 0, TinyTask().train_prompts()[:8]
FITTING = (
    (3, 4, EOS, 9, 9),  # an early end; what stands behind it is never reached
    (2, 7, 5, 9, 3),  # no end
    (6, EOS, 9, 9, 9),
    (EOS, 9, 9, 9, 9),  # nothing but the end
    (4, 4, 4, EOS, 9),
    (11, 2, EOS, 9, 9),
    (5, 6, 7, EOS, 9),
    (8, 9, 10, 2, 6),
)
FLIPPED = tuple(reversed(FITTING))
NO_ROOM = (*FITTING[:4], (4, 4, 4, 4, EOS), *FITTING[5:])  # an end in the last column
SHORT = tuple((*row[:3], EOS, 9) for row in FITTING)  # all end below the cap: TRL stops there
RESPONSES = (FITTING, FLIPPED, NO_ROOM, SHORT)
"""The responses of each iteration."""


CASES = {
    "the script's": Args(missing_eos_penalty=1.0),
    "other settings": Args(
        num_ppo_epochs=2, num_mini_batches=2, temperature=1.3, kl_coef=0.2, kl_estimator="k3",
        gamma=0.9, lam=0.5, cliprange=0.02, cliprange_value=0.05, vf_coef=0.5,
    ),
    "whitened rewards": Args(whiten_rewards=True, missing_eos_penalty=0.3),
}  # fmt: skip
OURS = ("the script's", "other settings")
"""Cases that our tricks can take the same steps as."""


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """As `in_float64`, for all of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)


def folders(prepared: Prepared) -> Folders:
    """Let the policy start away from its reference, and the critic from the reward model."""
    scorer = prepared.reward_model
    return Folders(prepared.base, scorer, prepared.sft, scorer)


def orders(args: Args) -> list[list[int]]:
    """Shuffle as our PPO does."""
    streams = [
        (SEED, k, 0, epoch) for k in range(len(RESPONSES)) for epoch in range(args.num_ppo_epochs)
    ]
    size = len(FITTING)
    return [torch.randperm(size, generator=generator(*s, "minibatches")).tolist() for s in streams]


def run_trl(
    args: Args, prepared: Prepared, folder: Path, responses: Sequence[Rows] = RESPONSES,
    prompts: Rows = PROMPTS, **config: Any,
) -> list[Iteration]:  # fmt: skip
    """Let TRL train for as many iterations as there are sets of responses."""
    padding = tokenizer()
    padding.padding_side = "left"
    config = asdict(args) | {"stop_token": "eos", "output_dir": str(folder)} | config
    return trl_iterations(folders(prepared), padding, prompts, responses, orders(args), **config)


@pytest.fixture(scope="module", params=CASES)
def ran(
    request: Any, float64: None, prepared: Prepared, tmp_path_factory: Any
) -> tuple[Args, list[Iteration]]:
    args = CASES[request.param]
    return args, run_trl(args, prepared, tmp_path_factory.mktemp("trl"))


def test_one_page_of_plain_loops_finds_what_trl_finds(ran: Any, prepared: Prepared) -> None:
    args, iterations = ran
    start = folders(prepared)
    flat = FlatTrl(
        args, policy=load_causal(start.policy).double(), critic=load_scorer(start.critic).double(),
        reference=load_causal(start.reference).double(),
        reward_model=load_scorer(start.reward_model).double(), eos=EOS, iterations=len(iterations),
    )  # fmt: skip
    for k, found in enumerate(iterations):
        epochs = orders(args)[k * args.num_ppo_epochs :][: args.num_ppo_epochs]
        log = flat.iteration(k, list(zip(found.prompts(PAD), cut(RESPONSES[k]), strict=True)), epochs)
        theirs, tokens = found.rollout, ~found.rollout["padding_mask"]
        states = ~theirs["padding_mask_p1"]
        same(theirs["logprobs"][tokens], log.log_prob)
        same(theirs["ref_logprobs"][tokens], log.ref_log_prob)
        same(theirs["values"][states], log.value)
        same(theirs["scores"], log.score)
        same(theirs["rewards"][states], log.reward)
        same(theirs["advantages"][tokens], log.advantage)
        same(theirs["returns"][states], log.returns)
        for step, (policy_loss, value_loss) in zip(found.steps, log.losses, strict=True):
            same(step["pg_loss"], [policy_loss])
            same(step["vf_loss"], [value_loss])
            same(step["loss"], [policy_loss + args.vf_coef * value_loss])
        for weights, model in ((found.policy, flat.policy), (found.critic, flat.critic)):
            for name, parameter in model.named_parameters():
                assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-7)


@pytest.mark.parametrize("ran", OURS, indirect=True)
def test_our_ppo_takes_the_same_two_iterations(ran: Any, prepared: Prepared, folder: Path) -> None:
    args, iterations = ran
    ppo = our_ppo(args, prepared, folder)
    for k, theirs in enumerate(iterations[:2]):
        experience = iteration(ppo, k, theirs)
        assert_same_rollout(args, experience.rollout, theirs.rollout)
        for ours, step in zip(experience.updates, theirs.steps, strict=True):
            losses = torch.stack([step["pg_loss"], args.vf_coef * step["vf_loss"]])
            same(torch.stack([ours.policy_loss, ours.value_loss]), [losses])
        pairs = ((ppo.models.policy, theirs.policy), (ppo.models.critic, theirs.critic))
        for model, weights in pairs:
            for name, parameter in model.model.named_parameters():
                assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-7)


@pytest.mark.parametrize("ran", OURS, indirect=True)
def test_trl_has_no_room_behind_an_end_in_the_last_column(
    ran: Any, prepared: Prepared, folder: Path
) -> None:
    """There the score stays on the end token; ours passes through the value behind it, as elsewhere."""
    args, iterations = ran
    ppo = our_ppo(args, prepared, folder)
    ours = [iteration(ppo, k, iterations[k]).rollout for k in range(3)][2]
    theirs, row = iterations[2].rollout, NO_ROOM.index((4, 4, 4, 4, EOS))
    assert (~theirs["padding_mask_p1"] & theirs["padding_mask"]).any(1).tolist() == [
        len(response) < 5 for response in cut(NO_ROOM)
    ]
    passed = args.gamma * (args.lam * ours.score[row] + (1 - args.lam) * ours.end_value[row])
    expected = folded_reward(args, theirs)
    expected[row, -1] += passed - ours.score[row]
    same(ours.reward, [expected])
    same(ours.score, [theirs["scores"]])


@pytest.mark.parametrize("ran", OURS[:1], indirect=True)
def test_the_last_column_of_trl_is_that_of_the_longest_response(ran: Any) -> None:
    theirs = ran[1][3].rollout
    lengths = [len(response) for response in cut(SHORT)]
    assert max(lengths) == 4 and theirs["contain_eos_token"].all()
    states = (~theirs["padding_mask_p1"]).sum(1).tolist()
    assert states == [min(length + 1, 4) for length in lengths]


@pytest.mark.parametrize("ran", ["whitened rewards"], indirect=True)
def test_trl_whitens_rewards_before_and_we_after_the_score_is_passed_on(
    ran: Any, prepared: Prepared, folder: Path
) -> None:
    args, iterations = ran
    theirs = iterations[0].rollout
    ppo = our_ppo(args, prepared, folder, left_out=("value_after_end",))  # refused beside whitening
    ours = iteration(ppo, 0, iterations[0]).rollout
    states = ~theirs["padding_mask_p1"]
    tokens = int(ours.mask.sum())
    assert int(states.sum()) == tokens + 6  # six responses have room for one more state
    assert theirs["rewards"][states].var().item() == pytest.approx(1, rel=1e-6)
    assert ours.reward[ours.mask].var().item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("ran", OURS[:1], indirect=True)
def test_generation_says_what_the_forward_pass_says(ran: Any) -> None:
    for found in ran[1]:
        tokens = ~found.rollout["padding_mask"]
        assert_close(
            found.generated[tokens].double(), found.rollout["logprobs"][tokens], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("ran", OURS, indirect=True)
def test_trls_metrics_of_the_update_count_pads_but_its_entropy_of_the_rollout_does_not(
    ran: Any,
) -> None:
    _, iterations = ran
    found = iterations[0]
    metrics, rollout = found.metrics, found.rollout
    tokens = ~rollout["padding_mask"]
    bits = -rollout["logprobs"][tokens]
    assert metrics["objective/entropy"] == pytest.approx(bits.sum().item() / len(tokens))
    # up to 1.10 every pad, filled with log π = +1, took 1 off: pads per response
    filled = (-rollout["logprobs"]).sum(1).mean().item()
    pads = (~tokens).sum().item() / len(tokens)
    assert filled == pytest.approx(metrics["objective/entropy"] - pads)

    share, kl, ratio = [], [], []
    for step in found.steps:
        mask = tokens[step["rows"]]
        share.append(mask.double().mean())
        log_ratio = step["ratio"][mask].log()
        kl.append(0.5 * (log_ratio**2).mean())
        ratio.append(step["ratio"][mask].mean())
        assert (step["ratio"][~mask] == 1).all()
    share, kl, ratio = map(torch.stack, (share, kl, ratio))
    # k2 over tokens, times the share of positions that are tokens; ratios of pads are 1
    assert metrics["policy/approxkl_avg"] == pytest.approx((share * kl).mean().item())
    assert metrics["policy/approxkl_avg"] < 0.9 * kl.mean().item()
    assert metrics["val/ratio"] == pytest.approx((1 + share * (ratio - 1)).mean().item())


def test_trl_accumulates_gradients_except_on_the_last_batch_of_a_pass(
    float64: None, prepared: Prepared, folder: Path
) -> None:
    """Accelerate ends an accumulation where its dataloader ends, and TRL's loop is inside of it."""
    first, last = run_trl(
        Args(), prepared, folder, responses=[FITTING] * 2, prompts=TinyTask().train_prompts()[:16],
        gradient_accumulation_steps=2,
    )  # fmt: skip
    for iteration, has_moved in ((first, False), (last, True)):
        one, two = iteration.steps[:2]
        moved = [(step["ratio"] - 1).abs().max().item() > 1e-9 for step in (one, two)]
        assert moved == [False, has_moved]  # at first nothing is learned yet, but for rounding
    # whitened advantages have mean 0 over all tokens; a mean over micro-batches of means has not
    losses = torch.stack([step["pg_loss"] for step in first.steps[:2]])
    tokens = torch.stack([(~first.rollout["padding_mask"])[s["rows"]].sum() for s in first.steps[:2]])
    assert (losses * tokens).sum().item() == pytest.approx(0, abs=1e-12)
    assert abs(losses.mean().item()) > 1e-4


def test_without_a_stop_token_trl_scores_what_stands_behind_the_end(
    float64: None, prepared: Prepared, folder: Path
) -> None:
    """That is its default. Our fixed-length responses are scored up to their end."""
    args = Args(kl_coef=0.0)
    (found,) = run_trl(args, prepared, folder, responses=[FITTING], stop_token=None)
    assert found.rollout["responses"].tolist() == [list(row) for row in FITTING]
    assert not found.rollout["padding_mask"].any()
    ppo = our_ppo(args, prepared, folder / "ours", left_out=("score_after_end", "value_after_end"))
    ppo.recipe = ppo.recipe.plus(FixedLength())
    ours = iteration(ppo, 0, found).rollout
    same(ours.log_prob, [found.rollout["logprobs"]])
    same(ours.value, [found.rollout["values"]])
    goes_on = [EOS in row[:-1] for row in FITTING]
    assert torch.isclose(ours.score, found.rollout["scores"]).tolist() == [not x for x in goes_on]
    whole = ours.prompt_length + len(FITTING[0])
    same(ppo.models.reward_model.last(packing.Rows(ours.tokens, whole)), [found.rollout["scores"]])


def test_the_recipe_carries_the_defaults_of_trls_configuration() -> None:
    theirs = {field.name: field.default for field in fields(PPOConfig)}
    found = find_recipe("trl").parameters()
    expected = as_tricks(SimpleNamespace(**theirs))
    expected["sampling_temperature.temperature"] = theirs["temperature"]
    assert {name: found[name] for name in expected} == expected
    whole = expected.keys() | {"token_kl_penalty.clamp", "token_kl_penalty.tokens"}
    assert found.keys() == whole | {"critic_learning_rate.factor"}
    assert theirs["missing_eos_penalty"] is None and theirs["whiten_rewards"] is False


def as_tricks(args: Any) -> dict[str, Any]:
    """Say TRL's configuration in the words of our tricks."""
    return {
        "sampling_temperature.temperature": args.temperature + 1e-7,  # as TRL divides
        "token_kl_penalty.weight": args.kl_coef, "token_kl_penalty.estimator": args.kl_estimator,
        "score_after_end.trace": args.lam, "score_after_end.discount": args.gamma,
        "gae.trace": args.lam, "gae.discount": args.gamma,
        "rollout_advantage_norm.unbiased": True, "rollout_advantage_norm.epsilon": 1e-8,
        "clipped_surrogate.clip_range": args.cliprange, "value_clip.clip_range": args.cliprange_value,
        "value_coefficient.coefficient": args.vf_coef, "linear_decay.final": 0.0,
        "ppo_epochs.epochs": args.num_ppo_epochs, "minibatches.count": args.num_mini_batches,
    }  # fmt: skip


def our_ppo(args: Args, prepared: Prepared, folder: Path, left_out: Sequence[str] = ()) -> Ppo:
    """Make a run of ours with the recipe of TRL and its models in float64."""
    recipe = find_recipe("trl").plus(PolicyFromBase())
    if args.missing_eos_penalty is not None:
        recipe = recipe.set({"missing_eos_penalty.penalty": args.missing_eos_penalty})
    recipe = recipe.set(as_tricks(args)).without(*left_out)
    if args.whiten_rewards:
        recipe = recipe.set({"token_reward_whitening.unbiased": True})
    rate, factor = args.learning_rate, recipe.parameters()["critic_learning_rate.factor"]
    changes = {
        "iterations": len(RESPONSES), "policy_learning_rate": rate,
        "critic_learning_rate": rate / float(factor),
    }  # fmt: skip
    settings = SETTINGS.model_copy(update=changes)
    run = make_run(prepared, folder, recipe, settings=settings, seed=SEED)
    for model in vars(run.ppo.models).values():
        if isinstance(model, torch.nn.Module):
            model.double()
    return run.ppo


def iteration(ppo: Ppo, k: int, theirs: Iteration) -> Experience:
    """Do iteration k on TRL's prompts and responses: the uniform numbers name the tokens."""

    def name(*_: Any) -> Tensor:
        return torch.tensor(RESPONSES[k]).T / VOCABULARY

    def look_up(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        token = (uniform * VOCABULARY).round().long()
        return token, logits.log_softmax(-1).gather(1, token[:, None]).squeeze(1)

    with (
        mock.patch.object(workbench.stages.ppo, "uniform", name),
        mock.patch.object(workbench.sampling, "choose", look_up),
    ):
        (experience,) = ppo.iteration(k, theirs.prompts(PAD))
    return experience


def assert_same_rollout(args: Args, ours: Rollout, theirs: dict[str, Tensor]) -> None:
    """Compare all that is known of a rollout; TRL's column behind an end is folded into the last."""
    tokens, states = ~theirs["padding_mask"], ~theirs["padding_mask_p1"]
    assert torch.equal(ours.mask, tokens)
    same(ours.log_prob[tokens], [theirs["logprobs"][tokens]])
    same(ours.ref_log_prob[tokens], [theirs["ref_logprobs"][tokens]])
    same(ours.value[tokens], [theirs["values"][tokens]])
    same(ours.end_value[(states & ~tokens).any(1)], [theirs["values"][states & ~tokens]])
    same(ours.score, [theirs["scores"]])
    same(ours.reward[tokens], [folded_reward(args, theirs)[tokens]])
    same(ours.returns[tokens], [theirs["returns"][tokens]])
    same(ours.advantage[tokens], [theirs["advantages"][tokens]])


def folded_reward(args: Args, theirs: dict[str, Tensor]) -> Tensor:
    """Move the reward behind the end onto the last token, so that GAE gives the same advantages.

    δ_T = r_T + γ V_end − V_T and δ_end = s − V_end give Â_T = r_T + γ V_end + γλ (s − V_end) − V_T, as
    does δ_T = r̃_T − V_T alone with r̃_T = r_T + γ (λ s + (1 − λ) V_end).
    """
    behind = ~theirs["padding_mask_p1"] & theirs["padding_mask"]
    passed = args.lam * theirs["rewards"] + (1 - args.lam) * theirs["values"]
    end = torch.where(behind, args.gamma * passed, 0.0)
    kept = torch.where(behind, 0.0, theirs["rewards"])
    return kept + torch.nn.functional.pad(end[:, 1:], (0, 1))


def cut(rows: Rows) -> list[tuple[int, ...]]:
    """Cut responses behind the first end token."""
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in map(tuple, rows)]


def same(found: Tensor, expected: Sequence[Tensor]) -> None:
    """Compare what stands in a mask, row by row, with one tensor per response."""
    flat = torch.cat([e.flatten() for e in expected])
    assert_close(found.flatten(), flat, rtol=1e-8, atol=1e-8)
