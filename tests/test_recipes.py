"""Published recipes: each has its system's numbers, composes, trains, and can be taken up again."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.builders import SETTINGS, ListTracker, make_run
from tests.test_checkpoint import assert_same, interrupted
from workbench.recipe import Recipe
from workbench.recipes import recipes
from workbench.registry import registry
from workbench.settings import PpoSettings
from workbench.stages.prepare import Prepared
from workbench.textbook import textbook_optimisation, textbook_sampling
from workbench.training import Result, Run
from workbench.tricks import TEXTBOOK

THIRD = pytest.approx(1 / 3)
"""One rate for policy and critic: a run's critic has three times the policy's by default."""

NUMBERS: dict[str, dict[str, Any]] = {
    "vanilla": {"gae.trace": 0.95, "gae.discount": 1, "clipped_surrogate.clip_range": 0.2},
    "ppo_max": {
        "token_kl_penalty.weight": 0.05, "gae.trace": 0.9, "value_clip.clip_range": 0.2,
        "clipped_surrogate.clip_range": 0.2, "global_gradient_clip.max_norm": 1,
    },
    "moss_rlhf_en": {
        "token_kl_penalty.weight": 0.01, "uncorrected_temperature.temperature": 0.8, "top_p.share": 0.9,
        "repetition_penalty.penalty": 1.1, "ppo_epochs.epochs": 1, "minibatches.count": 1,
        "gae.trace": 0.95, "gae.discount": 1, "value_clip.clip_range": 0.2,
        "clipped_surrogate.clip_range": 0.2, "adam_epsilon.policy": 1e-6, "adam_epsilon.critic": 1e-8,
        "adam_betas.second": 0.95, "learning_rate_warmup.share": 0.1,
        "global_gradient_clip.max_norm": 1,
    },
    "moss_rlhf_zh": {"token_kl_penalty.weight": 0.1, "gae.trace": 0.95, "top_p.share": 0.9},
    "instructgpt": {
        "token_kl_penalty.weight": 0.02, "ppo_ptx.weight": 27.8, "ppo_epochs.epochs": 1,
        "minibatches.count": 512 // 64, "clipped_surrogate.clip_range": 0.2, "gae.discount": 1,
        "policy_ema.decay": 0.992, "adam_betas.first": 0.9, "adam_betas.second": 0.95,
        "learning_rate_warmup.share": 10 / (256_000 / 512),
    },
    "lm_human_preferences": {
        "adaptive_kl_penalty.weight": 0.15, "adaptive_kl_penalty.target": 6,
        "adaptive_kl_penalty.horizon": 10_000, "sampling_temperature.temperature": 0.7,
        "missing_eos_score.score": -1, "token_reward_whitening.unbiased": False, "ppo_epochs.epochs": 4,
        "minibatches.count": 1, "gae.trace": 0.95, "advantage_norm.unbiased": False,
        "value_coefficient.coefficient": 0.1, "clipped_surrogate.clip_range": 0.2,
        "value_clip.clip_range": 0.2, "adam_epsilon.policy": 1e-5, "adam_epsilon.critic": 1e-5,
        "linear_decay.final": 0, "critic_learning_rate.factor": THIRD,
    },
    "n_plus": {
        "token_kl_penalty.weight": 0.05, "sampling_temperature.temperature": 0.7,
        "missing_eos_score.score": -1, "gae.trace": 0.95, "rollout_advantage_norm.unbiased": False,
        "score_after_end.trace": 0.95, "value_coefficient.coefficient": 0.1,
        "value_clip.clip_range": 0.2, "ppo_epochs.epochs": 4, "minibatches.count": 1,
        "adam_epsilon.policy": 1e-5, "linear_decay.final": 0, "critic_learning_rate.factor": THIRD,
    },
    "trl": {
        "token_kl_penalty.weight": 0.05, "token_kl_penalty.estimator": "k1",
        "sampling_temperature.temperature": 0.7, "gae.trace": 0.95, "gae.discount": 1,
        "rollout_advantage_norm.unbiased": True, "rollout_advantage_norm.epsilon": 1e-8,
        "score_after_end.trace": 0.95, "clipped_surrogate.clip_range": 0.2, "value_clip.clip_range": 0.2,
        "value_coefficient.coefficient": 0.1, "ppo_epochs.epochs": 4, "minibatches.count": 1,
        "linear_decay.final": 0, "critic_learning_rate.factor": THIRD,
    },
    "trlx": {
        "token_kl_penalty.weight": 0.001, "raw_reward_clip.max_abs": 10, "layer_freezing.blocks": 2,
        "gae.trace": 0.95, "gae.discount": 1, "clipped_surrogate.clip_range": 0.2,
        "value_clip.clip_range": 0.2, "ppo_epochs.epochs": 4, "minibatches.count": 128 // 32,
        "adam_betas.first": 0.9, "adam_betas.second": 0.95, "weight_decay.decay": 1e-6,
        "critic_learning_rate.factor": THIRD,
    },
    "rl4lms_ppo": {
        "adaptive_kl_penalty_per_token.weight": 0.1, "adaptive_kl_penalty_per_token.target": 0.1,
        "adaptive_kl_penalty_per_token.gain": 0.1, "adaptive_kl_penalty_per_token.error_clip": 0.2,
        "gae.trace": 0.95, "gae.discount": 0.99, "ppo_epochs.epochs": 5,
        "clipped_surrogate.clip_range": 0.2, "global_gradient_clip.max_norm": 0.5,
        "weight_decay.decay": 1e-6, "critic_learning_rate.factor": THIRD,
    },
    "rl4lms_nlpo": {
        "nlpo_mask.share": 0.9, "nlpo_mask_refresh.every": 1, "gae.discount": 0.99,
        "adaptive_kl_penalty_per_token.weight": 0.1, "adaptive_kl_penalty_per_token.target": 0.1,
    },
    "openrlhf": {
        "token_kl_penalty.weight": 0.01, "token_kl_penalty.estimator": "k1",
        "token_kl_penalty.clamp": 10, "gae.trace": 1, "gae.discount": 1, "value_clip.clip_range": 0.5,
        "clipped_surrogate.clip_range": 0.2, "rollout_advantage_norm.unbiased": False,
        "reward_clip.max_abs": 10, "ppo_epochs.epochs": 1, "minibatches.count": 1024 // 128,
        "critic_learning_rate.factor": 3, "cosine_decay.final": 0.1, "learning_rate_warmup.share": 0.03,
        "separate_gradient_clip.max_norm": 1, "adam_betas.second": 0.95,
    },
    "verl": {
        "gae.trace": 1, "gae.discount": 1, "dual_clip.clip_range": 0.2, "dual_clip.ratio_cap": 3,
        "value_clip.clip_range": 0.5, "rollout_advantage_norm.unbiased": True, "ppo_epochs.epochs": 1,
        "minibatches.count": 1024 // 256, "weight_decay.decay": 0.01,
        "separate_gradient_clip.max_norm": 1,
        "critic_learning_rate.factor": pytest.approx(1e-5 / 1e-6 / 3),
    },
    "deepspeed_chat": {
        "token_kl_penalty.weight": 0.1, "raw_reward_clip.max_abs": 5, "gae.trace": 0.95,
        "clipped_surrogate.clip_range": 0.2, "value_clip.clip_range": 0.2, "ppo_epochs.epochs": 1,
        "minibatches.count": 1, "policy_ema.decay": 0.992, "separate_gradient_clip.max_norm": 1,
        "adam_betas.second": 0.95, "cosine_decay.final": 0,
        "critic_learning_rate.factor": pytest.approx(0.1727, rel=1e-3),  # 5 / 9.65 / 3
    },
    "rloo": {
        "sequence_kl_penalty.weight": 0.05, "responses_per_prompt.count": 2,
        "clipped_surrogate.clip_range": 0.2, "ppo_epochs.epochs": 1,
    },
    "grpo": {
        "kl_loss.weight": 0.04, "kl_loss.estimator": "k3", "clipped_surrogate.clip_range": 0.2,
        "ppo_epochs.epochs": 1, "minibatches.count": 1,
    },
    "dr_grpo": {"responses_per_prompt.count": 8, "clipped_surrogate.clip_range": 0.2},
    "dapo": {
        "clip_higher.clip_range_low": 0.2, "clip_higher.clip_range_high": 0.28,
        "responses_per_prompt.count": 16, "minibatches.count": 16, "dynamic_filtering.threshold": 0,
        "overlong_penalty.factor": 1,
    },
    "gspo": {
        "clip_higher.clip_range_low": 3e-4, "clip_higher.clip_range_high": 4e-4, "minibatches.count": 4,
    },
    "reinforce_plus_plus": {
        "token_kl_penalty.weight": 0.01, "reinforce.discount": 1, "clipped_surrogate.clip_range": 0.2,
    },
    "lite_ppo": {"clipped_surrogate.clip_range": 0.2},
}  # fmt: skip
"""Each system's own numbers, written down from the survey of systems and not from the recipes."""

PRESENT = {
    "moss_rlhf_en": {"critic_from_reward_model", "reward_scaling", "inverse_square_root_decay"},
    "instructgpt": {"critic_from_reward_model"},
    "lm_human_preferences": {
        "shared_trunk", "fixed_length", "reward_reference_norm", "adam_tensorflow_style",
        "critic_from_sft",
    },
    "n_plus": {"critic_from_reward_model", "value_after_end", "reward_reference_centring"},
    "trl": {"critic_from_reward_model", "value_after_end"},
    "trlx": {"shared_trunk", "value_head_mlp", "padded_advantage_norm", "score_after_end"},
    "rl4lms_ppo": {"critic_from_sft", "value_mse", "advantage_standardisation"},
    "rl4lms_nlpo": {"behaviour_ratio", "nlpo_mask_refresh", "advantage_standardisation"},
    "openrlhf": {"critic_from_reward_model", "log_ratio_clamp", "token_mean"},
    "verl": {"log_ratio_clamp", "token_mean"},
    "deepspeed_chat": {"critic_from_reward_model", "score_after_end", "drop_short"},
    "rloo": {"rloo", "summed_ratio", "sequence_mean"},
    "grpo": {"grpo", "sequence_mean"},
    "dr_grpo": {"dr_grpo", "constant_length"},
    "dapo": {"grpo", "token_mean"},
    "gspo": {"grpo", "sequence_ratio", "sequence_mean"},
    "reinforce_plus_plus": {"reinforce", "rollout_advantage_norm", "token_mean"},
    "lite_ppo": {"group_mean_batch_std", "token_mean"},
}  # fmt: skip
"""Tricks without a number that make the system what it is."""

KL_TERMS = {
    "token_kl_penalty", "sequence_kl_penalty", "adaptive_kl_penalty", "adaptive_kl_penalty_per_token",
    "kl_loss", "full_kl_loss",
}  # fmt: skip
ADVANTAGE_NORMS = {
    "advantage_norm", "advantage_standardisation", "padded_advantage_norm", "rollout_advantage_norm",
}  # fmt: skip
GRADIENT_CLIPS = {"global_gradient_clip", "separate_gradient_clip", "gradient_value_clip"}
ABSENT = {
    "vanilla": KL_TERMS,
    "ppo_max": ADVANTAGE_NORMS,
    "moss_rlhf_en": {"reward_norm", "reward_clip", "ppo_ptx", "critic_pretraining"} | ADVANTAGE_NORMS,
    "moss_rlhf_zh": {"reward_norm", "reward_clip", "ppo_ptx", "critic_pretraining"} | ADVANTAGE_NORMS,
    "lm_human_preferences": GRADIENT_CLIPS,
    "n_plus": GRADIENT_CLIPS | {"token_reward_whitening"},
    "trl": GRADIENT_CLIPS | {"token_reward_whitening", "missing_eos_penalty"},
    "trlx": GRADIENT_CLIPS | {"value_after_end", "reward_scaling"},
    "rl4lms_ppo": {"value_clip", "token_reward_norm"},
    "verl": KL_TERMS | {"entropy_bonus"},
    "deepspeed_chat": ADVANTAGE_NORMS | {"ppo_ptx", "value_after_end"},
    "dr_grpo": KL_TERMS,
    "dapo": KL_TERMS,
    "gspo": KL_TERMS,
    "lite_ppo": KL_TERMS,
}
"""What a reader may expect and the system has not."""

WITHOUT_CRITIC = {"rloo", "grpo", "dr_grpo", "dapo", "gspo", "reinforce_plus_plus", "lite_ppo"}
EVERY = pytest.mark.parametrize("recipe", recipes().values(), ids=lambda recipe: recipe.name)


def names(recipe: Recipe) -> set[str]:
    return {trick.name for trick in recipe.tricks}


def test_every_recipe_is_held_to_its_systems_numbers() -> None:
    assert list(recipes()) == list(NUMBERS)


@EVERY
def test_a_recipe_has_its_systems_numbers(recipe: Recipe) -> None:
    ours = recipe.parameters()
    theirs = NUMBERS[recipe.name]
    assert {key: ours.get(key) for key in theirs} == theirs


@EVERY
def test_a_recipe_has_its_systems_tricks_and_no_others_tricks(recipe: Recipe) -> None:
    assert PRESENT.get(recipe.name, set()) <= names(recipe)
    absent = ABSENT.get(recipe.name, set())
    assert absent <= set(registry()) and not absent & names(recipe)


@EVERY
def test_a_recipe_composes(recipe: Recipe) -> None:
    groups = [trick.group for trick in recipe.tricks if trick.group]
    assert len(groups) == len(set(groups))
    assert all(set(trick.requires) <= names(recipe) for trick in recipe.tricks)
    assert ("value" not in recipe.needs) == (recipe.name in WITHOUT_CRITIC)


@EVERY
def test_a_recipe_cites_every_number_and_says_where_it_comes_from(recipe: Recipe) -> None:
    for trick in recipe.tricks:
        assert trick.name in recipe.sources or (trick.name in TEXTBOOK and not trick.hypers())
    assert re.search(r"arXiv:\d{4}\.\d{5}|\b[0-9a-f]{8}\b", recipe.about)


@EVERY
def test_a_recipe_divides_the_default_rollout(recipe: Recipe) -> None:
    settings = PpoSettings()
    sampling = recipe.sampling(textbook_sampling(settings, settings.rollout_size))
    plan = recipe.optimisation(textbook_optimisation(settings), sampling.buffer_size)
    assert settings.rollout_size % sampling.buffer_size == 0
    assert sampling.buffer_size % plan.minibatch_size == 0
    assert sampling.buffer_size % sampling.responses_per_prompt == 0


def test_the_two_moss_scripts_differ_in_the_kl_weight_alone() -> None:
    english, chinese = recipes()["moss_rlhf_en"], recipes()["moss_rlhf_zh"]
    assert english.set({"token_kl_penalty.weight": 0.1}).fingerprint() == chinese.fingerprint()


def test_nlpo_is_rl4lms_ppo_under_a_mask() -> None:
    masked = {"nlpo_mask", "behaviour_ratio", "nlpo_mask_refresh"}
    assert names(recipes()["rl4lms_nlpo"]) - names(recipes()["rl4lms_ppo"]) == masked


# What a recipe does to a tiny policy. 32 responses, as buffers and groups of 8 do not divide 8.

SMALL = SETTINGS.model_copy(update={"rollout_size": 32, "minibatch_size": 8})
TINY: dict[str, dict[str, Any]] = {
    "ppo_max": {"critic_pretraining.iterations": 1},
    "rl4lms_ppo": {"minibatches.count": 4, "ppo_epochs.epochs": 2},
    "rl4lms_nlpo": {"minibatches.count": 4, "ppo_epochs.epochs": 2, "nlpo_mask_refresh.every": 2},
}
"""What is shortened so that four iterations show everything and take little time."""


@pytest.fixture(scope="module", params=recipes().values(), ids=lambda recipe: recipe.name)
def straight(
    request: pytest.FixtureRequest, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Result]:
    """Train to the end without a break."""
    recipe = request.param.set(TINY.get(request.param.name, {}))
    run = make_run(prepared, tmp_path_factory.mktemp("straight"), recipe, settings=SMALL)
    return run, run.train(ListTracker())


def changed(before: nn.Module, after: nn.Module) -> bool:
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return any(not torch.equal(one, other) for one, other in pairs)


def test_a_recipe_trains(straight: tuple[Run, Result]) -> None:
    run, result = straight
    assert [step for step, _ in result.history] == list(range(SMALL.iterations + 1))
    for _, metrics in result.history[:-1]:
        assert metrics["stability/nonfinite_count"] == 0
        assert all(map(math.isfinite, metrics.values()))
    models = run.ppo.models
    assert all(p.isfinite().all() for _, module in models.changing() for p in module.parameters())
    assert changed(models.sft, models.policy)
    untouched = make_run(run.prepared, run.folder, run.recipe, settings=SMALL).ppo.models
    has_critic = "value" in run.recipe.needs
    assert changed(untouched.critic, models.critic) is has_critic
    assert not changed(untouched.reward_model, models.reward_model)


def test_a_recipe_that_was_killed_goes_on_bit_for_bit(
    straight: tuple[Run, Result], tmp_path: Path
) -> None:
    run, expected = straight
    tracker = interrupted(make_run(run.prepared, tmp_path, run.recipe, settings=SMALL), 2)
    resumed = make_run(run.prepared, tmp_path, run.recipe, settings=SMALL)
    assert_same(run, resumed, (expected, resumed.train(tracker)))
    for (name, one), (_, other) in zip(
        run.ppo.models.changing(), resumed.ppo.models.changing(), strict=True
    ):
        assert not changed(one, other), name
