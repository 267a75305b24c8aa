"""TRL 1.12.0's GRPO and RLOO trainers: their own loss methods on the same numbers, gradients too."""

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, tokenizer
from workbench.loading import load_causal
from workbench.maths import at_last_token
from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.stages.prepare import Prepared
from workbench.trick import Value
from workbench.types import Evaluation, Rollout

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
    from trl.trainer.utils import entropy_from_logits, nanstd, selective_log_softmax

CAP = 7
"""The constant length of Dr. GRPO."""
ALONE = SimpleNamespace(
    num_processes=1,
    gather=lambda x: x,
    reduce=lambda x, reduction: x,
    pad_across_processes=lambda x, dim, pad_index: x,
)
"""Stands for accelerate on one process."""


@dataclass(frozen=True)
class Case:
    """The same loss twice.

    Attributes:
        trl: what it takes of GRPOTrainer's settings.
        ours: tricks by name with "on", and `trick.field` to value.
    """

    trl: dict[str, Any]
    ours: dict[str, Value] = field(default_factory=dict)


CASES = {
    "grpo": Case({"loss_type": "grpo"}, {"sequence_mean": "on"}),
    "bnpo": Case({"loss_type": "bnpo"}),
    "dapo": Case(
        {"loss_type": "dapo", "epsilon_high": 0.28},
        {"clip_higher.clip_range_low": 0.2, "clip_higher.clip_range_high": 0.28},
    ),
    "dr_grpo": Case({"loss_type": "dr_grpo"}, {"constant_length.tokens": CAP}),
    "luspo": Case(
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        {"sequence_ratio": "on", "sequence_sum": "on"},
    ),
    "gspo": Case(
        {
            "loss_type": "grpo", "importance_sampling_level": "sequence",
            "epsilon_low": 3e-3, "epsilon_high": 4e-3,
        },
        {
            "sequence_ratio": "on", "sequence_mean": "on",
            "clip_higher.clip_range_low": 3e-3, "clip_higher.clip_range_high": 4e-3,
        },
    ),
    "cispo": Case(  # TRL's bound is on the ratio itself, ours on its distance from 1
        {"loss_type": "cispo", "epsilon_high": 1.3},
        {"cispo.clip_range_low": 1.0, "cispo.clip_range_high": 0.3},
    ),
    "sapo": Case(
        {"loss_type": "sapo", "sapo_temperature_pos": 1.5, "sapo_temperature_neg": 2.5},
        {
            "sequence_mean": "on", "sapo.temperature_positive": 1.5, "sapo.temperature_negative": 2.5,
        },
    ),
    "two-sided clip": Case({"loss_type": "bnpo", "delta": 1.5}, {"dual_clip.ratio_cap": 1.5}),
    "high-entropy tokens": Case(
        {"loss_type": "dapo", "top_entropy_quantile": 0.3}, {"high_entropy_tokens.share": 0.3}
    ),
    "off-policy mask": Case(
        {"loss_type": "bnpo", "off_policy_mask_threshold": 0.01}, {"off_policy_mask.threshold": 0.01}
    ),
    "k3 in the loss": Case({"loss_type": "bnpo", "beta": 0.04}, {"kl_loss.weight": 0.04}),
    "entropy bonus": Case(
        {"loss_type": "grpo", "_entropy_bonus_enabled": True, "entropy_coef": 0.1},
        {"sequence_mean": "on", "entropy_bonus.weight": 0.1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_loss_and_its_gradients_equal_those_of_grpo_trainer(name: str) -> None:
    case = CASES[name]
    rollout = one_advantage_per_response(make_rollout((5, 3, 1, 4, 5, 2), seed=10))
    theirs, ours = (leaf(make_evaluation(rollout)) for _ in range(2))
    expected = grpo_loss(rollout, theirs, **case.trl)
    found = our_loss(rollout, ours, case.ours)
    assert_close(found, expected, rtol=1e-9, atol=1e-12)
    expected.backward()
    found.backward()
    assert_close(ours.log_prob.grad, theirs.log_prob.grad, rtol=1e-9, atol=1e-12)
    assert_close(ours.entropy.grad, theirs.entropy.grad, rtol=1e-9, atol=1e-12)


def test_the_cases_bind() -> None:
    rollout = one_advantage_per_response(make_rollout((5, 3, 1, 4, 5, 2), seed=10))
    new = make_evaluation(rollout)
    plain = {name: grpo_loss(rollout, new, loss_type="bnpo") for name in CASES}
    for name, case in CASES.items():
        if name != "bnpo":
            assert not torch.isclose(grpo_loss(rollout, new, **case.trl), plain[name])


def test_rloo_trainer_has_one_ratio_per_response() -> None:
    rollout = one_advantage_per_response(make_rollout((5, 3, 1, 4), seed=5))
    theirs, ours = leaf(make_evaluation(rollout)), leaf(make_evaluation(rollout))
    expected = rloo_loss(rollout, theirs)
    found = our_loss(rollout, ours, {"summed_ratio": "on", "sequence_mean": "on"})
    assert_close(found, expected, rtol=1e-12, atol=0)
    expected.backward()
    found.backward()
    assert_close(ours.log_prob.grad, theirs.log_prob.grad, rtol=1e-9, atol=1e-12)


def test_trl_aggregates_its_kl_like_the_loss_and_we_by_tokens() -> None:
    rollout = one_advantage_per_response(make_rollout((5, 1), seed=6))
    new = make_evaluation(rollout)
    d = new.log_prob - rollout.ref_log_prob
    k3 = torch.where(rollout.mask, (-d).exp() - 1 + d, 0.0)
    settings = {"loss_type": "grpo"}
    theirs = grpo_loss(rollout, new, beta=1.0, **settings) - grpo_loss(rollout, new, **settings)
    ours = registry()["kl_loss"](weight=1.0)(new, rollout)
    assert_close(theirs, (k3[0].mean() + k3[1, 0]) / 2)  # a mean per response first
    assert_close(ours, k3.sum() / 6)


@pytest.mark.parametrize("seed", range(3))
def test_high_entropy_tokens_keep_what_get_high_entropy_mask_keeps(seed: int) -> None:
    rollout = make_rollout((6, 2, 5), seed=seed, dtype=torch.float32)  # as TRL takes the quantile
    new = make_evaluation(rollout, seed=seed)
    for share in (0.2, 0.5, 1.0):
        trick = registry()["high_entropy_tokens"](share=share)
        theirs = GRPOTrainer.get_high_entropy_mask(
            SimpleNamespace(accelerator=ALONE), new.entropy, rollout.mask, 1 - share
        )
        assert torch.equal(trick(new, rollout, rollout.advantage).bool(), theirs)


def test_off_policy_mask_keeps_what_get_off_policy_mask_keeps() -> None:
    # log π_old − log π = 0.2 everywhere: dropped where the advantage is negative and 0.2 > δ
    rollout = one_advantage_per_response(make_rollout((3, 2, 4, 1), seed=2))
    new = make_evaluation(rollout)
    new = replace(new, log_prob=torch.where(rollout.mask, rollout.log_prob - 0.2, 0.0))
    for threshold, dropped in ((0.1, rollout.advantage[:, 0] < 0), (0.3, torch.zeros(4).bool())):
        theirs = GRPOTrainer.get_off_policy_mask(
            rollout.advantage[:, :1], new.log_prob, rollout.log_prob, rollout.mask, threshold
        )
        trick = registry()["off_policy_mask"](threshold=threshold)
        ours = trick(new, rollout, rollout.advantage).bool()
        assert torch.equal(ours, rollout.mask & theirs.bool())
        assert torch.equal(~theirs.squeeze(1).bool(), dropped)
    assert (rollout.advantage[:, 0] < 0).any()


SCORES = [1.0, 2.0, 4.0, -1.0, 0.5, 3.0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_group_advantages_equal_those_that_grpo_trainer_makes(
    scale: str, prepared: Prepared, folder: Path
) -> None:
    theirs = trainer_advantages(GRPOTrainer, GRPOConfig, prepared, folder, scale_rewards=scale)
    name = {"group": "grpo", "batch": "group_mean_batch_std", "none": "dr_grpo"}[scale]
    settings = {} if scale == "none" else {"epsilon": 1e-4}
    ours, _ = registry()[name](**settings)(of_scores(torch.tensor(SCORES)))
    assert_close(ours[:, 0], theirs["advantages"].double(), rtol=1e-6, atol=1e-7)


def test_rloo_equals_that_of_rloo_trainer_with_its_kl_in_the_reward(
    prepared: Prepared, folder: Path
) -> None:
    theirs = trainer_advantages(RLOOTrainer, RLOOConfig, prepared, folder, beta=0.5)
    tokens = torch.cat([theirs["prompt_ids"], theirs["completion_ids"]], 1)
    said = []
    for model in (load_causal(prepared.base), load_causal(prepared.sft)):
        with torch.no_grad():
            logits = model(tokens).logits[:, theirs["prompt_ids"].shape[1] - 1 : -1]
        said.append(selective_log_softmax(logits, theirs["completion_ids"]).double())
    rollout = of_scores(torch.tensor(SCORES), theirs["completion_mask"].bool())
    log_prob, ref_log_prob = (torch.where(rollout.mask, log, 0.0) for log in said)
    rollout = replace(rollout, log_prob=log_prob, ref_log_prob=ref_log_prob)
    reward = registry()["token_kl_penalty"](weight=0.5)(rollout.reward, rollout)
    ours, _ = registry()["rloo"]()(replace(rollout, reward=reward))
    assert_close(ours[:, 0], theirs["advantages"].double(), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(reward.sum(1), rollout.reward.sum(1), atol=0.1)  # the KL matters


def of_scores(scores: Tensor, mask: Tensor | None = None) -> Rollout:
    """Make a rollout of groups of three whose only reward is the score."""
    mask = torch.ones(len(scores), 2, dtype=torch.bool) if mask is None else mask
    rollout = make_rollout(mask.sum(1).tolist())
    reward = at_last_token(scores.double(), rollout.mask)
    return replace(rollout, reward=reward, group=torch.arange(len(scores)) // 3)


def trainer_advantages(
    trainer: Any, config: Any, prepared: Prepared, folder: Path, **settings: Any
) -> dict[str, Tensor]:
    """Let a trainer respond to two prompts, three times each, and be given SCORES."""
    padding, model = tokenizer(), load_causal(prepared.base)
    padding.padding_side = "left"
    model.config._name_or_path = str(prepared.sft)  # where TRL takes the reference from
    prompts = ["w2 w3", "w4 w5"]
    made = trainer(
        model=model,
        reward_funcs=lambda completions, **_: SCORES,
        args=config(
            output_dir=str(folder), per_device_train_batch_size=6, num_generations=3,
            max_completion_length=4, bf16=False, use_cpu=True, report_to="none",
            gradient_checkpointing=False, **settings,
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=padding,
    )  # fmt: skip
    made.model.train()
    asked = [{"prompt": prompt} for prompt in prompts for _ in range(3)]
    found: dict[str, Tensor] = made._generate_and_score_completions(asked)
    return found


def test_trls_entropy_and_log_softmax_are_the_usual_ones() -> None:
    logits = torch.tensor([[[1.0, 2.0, 4.0]]]).log()  # p = 1/7, 2/7, 4/7
    p = torch.tensor([1 / 7, 2 / 7, 4 / 7])
    assert_close(entropy_from_logits(logits)[0, 0], -(p * p.log()).sum())
    found = selective_log_softmax(logits, torch.tensor([[1]]))
    assert found.item() == pytest.approx(log(2 / 7), rel=1e-6)


def test_trls_nanstd_is_unbiased() -> None:
    # tests/test_utils.py of TRL: std(1, 2, 3) = √((1 + 0 + 1)/2) = 1
    assert nanstd(torch.tensor([1.0, 2.0, 3.0, float("nan")])).item() == 1.0


def one_advantage_per_response(rollout: Rollout) -> Rollout:
    """Give all tokens of a response the advantage of its first, as GRPO does."""
    return replace(rollout, advantage=torch.where(rollout.mask, rollout.advantage[:, :1], 0.0))


def leaf(new: Evaluation) -> Evaluation:
    """Let gradients be kept for what the policy says."""
    log_prob, entropy = (x.clone().requires_grad_() for x in (new.log_prob, new.entropy))
    log_prob.grad, entropy.grad = torch.zeros_like(log_prob), torch.zeros_like(entropy)
    return replace(new, log_prob=log_prob, entropy=entropy)


def our_loss(rollout: Rollout, new: Evaluation, tricks: Mapping[str, Value]) -> Tensor:
    """Return policy loss and regulariser of the textbook with these tricks."""
    plain = [registry()[name]() for name, value in tricks.items() if value == "on"]
    recipe = Recipe("grpo").plus(*plain).set({k: v for k, v in tricks.items() if v != "on"})
    return recipe.policy_loss(new, rollout, rollout.advantage) + recipe.regulariser(new, rollout)


def grpo_loss(rollout: Rollout, new: Evaluation, **settings: Any) -> Tensor:
    """Call GRPOTrainer._compute_loss on a stand-in for the trainer, in evaluation mode: no scaling."""
    trainer = stand_in(new, **settings)
    trainer.get_high_entropy_mask = lambda *args: GRPOTrainer.get_high_entropy_mask(trainer, *args)
    inputs = completions(rollout) | {
        "old_per_token_logps": rollout.log_prob,
        "ref_per_token_logps": rollout.ref_log_prob,
        "num_items_in_batch": rollout.mask.sum(),
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs)


def rloo_loss(rollout: Rollout, new: Evaluation, **settings: Any) -> Tensor:
    """Call RLOOTrainer._compute_loss on the same stand-in."""
    inputs = completions(rollout) | {"old_logps": rollout.log_prob.sum(1)}
    return RLOOTrainer._compute_loss(stand_in(new, **settings), None, inputs)


def stand_in(new: Evaluation, **settings: Any) -> SimpleNamespace:
    """Make what `_compute_loss` takes for the trainer; its forward pass gives the evaluation."""
    arguments = {
        "delta": None, "use_bias_correction_kl": False, "steps_per_generation": 1,
        "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05,
    }  # fmt: skip
    defaults = {
        "epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.0, "importance_sampling_level": "token",
        "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False,
        "max_completion_length": CAP, "_entropy_bonus_enabled": False, "use_adaptive_entropy": False,
        "aux_loss_enabled": False, "vllm_importance_sampling_correction": False,
        "get_off_policy_mask": GRPOTrainer.get_off_policy_mask,
    }  # fmt: skip
    return SimpleNamespace(
        **defaults | {name: value for name, value in settings.items() if name not in arguments},
        args=SimpleNamespace(**arguments | {n: v for n, v in settings.items() if n in arguments}),
        accelerator=ALONE,
        model=SimpleNamespace(training=False),
        _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *_, **__: (new.log_prob, new.entropy, None),
    )


def completions(rollout: Rollout) -> dict[str, Tensor]:
    """Give the rollout TRL's names; the tokens are not looked at."""
    mask, nothing = rollout.mask.to(rollout.value.dtype), torch.zeros(len(rollout.mask), 0)
    return {
        "prompt_ids": nothing, "prompt_mask": nothing, "completion_ids": mask, "completion_mask": mask,
        "advantages": rollout.advantage[:, 0],
    }  # fmt: skip
