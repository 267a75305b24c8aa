"""Recipes, and the same in the oracle's words."""

from dataclasses import dataclass, field
from typing import Any

from workbench.recipe import Recipe, make_trick
from workbench.recipes import find_recipe
from workbench.trick import Value

TEXTBOOK = Recipe("textbook")


@dataclass(frozen=True)
class Case:
    """A recipe, and the same in the oracle's words.

    Attributes:
        recipe: where the recipe starts from.
        tricks: `trick.field` to value, added to it; `trick` to "on" for one without fields.
        args: the oracle's arguments.
        policy: the policy's starting folder.
        critic: what the critic starts from: "sft", "reward_model", or "run" for the weights of the run.
        has_own_head: the critic's head starts as that of the run.
        shares_trunk: the critic reads the policy's trunk.
        settings: of the run.
    """

    recipe: Recipe
    tricks: dict[str, Value] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    policy: str = "sft"
    critic: str = "sft"
    has_own_head: bool = False
    shares_trunk: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def composed(self) -> Recipe:
        """The recipe with all that is added to it, at once, as some tricks need others."""
        values: dict[str, dict[str, Value]] = {}
        for key, value in self.tricks.items():
            trick, _, field_name = key.partition(".")
            values.setdefault(trick, {}).update({field_name: value} if field_name else {})
        own = {trick.name: trick for trick in self.recipe.tricks}
        return self.recipe.plus(*(make_trick(n, v, own.get(n)) for n, v in values.items()))


PUBLISHED = {
    "vanilla": Case(find_recipe("vanilla"), args={"advantage_norm": "norm"}),
    "ppo_max": Case(
        find_recipe("ppo_max"),
        {"critic_pretraining.iterations": 1, "reward_clip.max_abs": 1.0},
        {
            "kl_weight": 0.05, "normaliser": "norm", "reward_clip": 1.0, "value_loss": "clipped",
            "gae_lambda": 0.9, "max_gradient_norm": 1.0, "critic_pretraining": 1, "ptx": 0.1,
        },
        critic="reward_model",
    ),
    "moss_rlhf_en": Case(
        find_recipe("moss_rlhf_en"),
        {
            "experience_buffer.responses": 8, "learning_rate_warmup.share": 0.7,
            "global_gradient_clip.max_norm": 0.1,
        },
        {
            "drawing_temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.1,
            "normaliser": "scaling", "kl_weight": 0.01, "value_loss": "clipped",
            "epochs": 1, "minibatches": 1, "max_gradient_norm": 0.1, "betas": (0.9, 0.95),
            "policy_epsilon": 1e-6, "warmup": 0.7, "root_share": 0.1, "root_final": 1e-8,
        },
        critic="reward_model",
    ),
    "moss_rlhf_zh": Case(
        find_recipe("moss_rlhf_zh"),
        {
            "experience_buffer.responses": 4, "top_p.share": 0.7,
            "learning_rate_warmup.share": 0.7, "inverse_square_root_decay.share": 0.5,
        },
        {
            "drawing_temperature": 0.8, "top_p": 0.7, "repetition_penalty": 1.1,
            "normaliser": "scaling", "kl_weight": 0.1, "value_loss": "clipped",
            "epochs": 1, "minibatches": 1, "max_gradient_norm": 1.0, "betas": (0.9, 0.95),
            "policy_epsilon": 1e-6, "warmup": 0.7, "root_share": 0.5, "root_final": 1e-8,
        },
        critic="reward_model",
    ),
    "instructgpt": Case(
        find_recipe("instructgpt"),
        {
            "minibatches.count": 4, "learning_rate_warmup.share": 0.7,
            "clipped_surrogate.clip_range": 0.01,
        },
        {
            "kl_weight": 0.02, "ptx": 27.8, "epochs": 1, "minibatches": 4, "clip": 0.01,
            "warmup": 0.7, "average_decay": 0.992, "betas": (0.9, 0.95),
        },
        critic="reward_model",
    ),
    "lm_human_preferences": Case(
        find_recipe("lm_human_preferences"),
        {"value_clip.clip_range": 0.005, "clipped_surrogate.clip_range": 0.02},
        {
            "temperature": 0.7, "missing_eos_score": -1.0, "normaliser": "first_norm",
            "kl_penalty": "adaptive", "kl_weight": 0.15, "whiten_rewards": True,
            "advantage_norm": "norm", "advantage_epsilon": 1e-8, "clip": 0.02,
            "value_loss": "clipped", "value_clip": 0.005, "value_coefficient": 0.1,
            "epochs": 4, "minibatches": 1, "critic_lr": 2e-3 / 3, "tensorflow_style": True,
            "policy_epsilon": 1e-5, "critic_epsilon": 1e-5, "linear_final": 0.0, "cap": 10,
        },
        shares_trunk=True,
        settings={"max_response_tokens": 10},
    ),
    "n_plus": Case(
        find_recipe("n_plus"),
        {"value_clip.clip_range": 0.005, "clipped_surrogate.clip_range": 0.02},
        {
            "temperature": 0.7, "missing_eos_score": -1.0, "normaliser": "first_centring",
            "kl_weight": 0.05, "score_after_end": True, "rollout_norm": True,
            "rollout_unbiased": False, "clip": 0.02, "value_after_end": True,
            "value_loss": "clipped", "value_clip": 0.005, "value_coefficient": 0.1,
            "epochs": 4, "minibatches": 1, "critic_lr": 2e-3 / 3, "weight_decay": 0.01,
            "policy_epsilon": 1e-5, "critic_epsilon": 1e-5, "linear_final": 0.0,
        },
        critic="reward_model",
    ),
    "trl": Case(
        find_recipe("trl"),
        {"value_clip.clip_range": 0.005, "clipped_surrogate.clip_range": 0.02},
        {
            "temperature": 0.7, "kl_weight": 0.05, "score_after_end": True, "rollout_norm": True,
            "clip": 0.02, "value_after_end": True, "value_loss": "clipped", "value_clip": 0.005,
            "value_coefficient": 0.1, "epochs": 4, "minibatches": 1, "critic_lr": 2e-3 / 3,
            "linear_final": 0.0,
        },
        critic="reward_model",
    ),
    "trlx": Case(
        find_recipe("trlx"),
        {
            "layer_freezing.blocks": 1, "raw_reward_clip.max_abs": 0.5, "ppo_epochs.epochs": 2,
            "value_clip.clip_range": 0.005, "clipped_surrogate.clip_range": 0.02,
        },
        {
            "raw_reward_clip": 0.5, "kl_weight": 0.001, "score_after_end": True,
            "advantage_norm": "padded", "clip": 0.02, "value_loss": "clipped", "value_clip": 0.005,
            "epochs": 2, "minibatches": 4, "trained_blocks": 1, "critic_lr": 2e-3 / 3,
            "betas": (0.9, 0.95), "weight_decay": 1e-6,
        },
        has_own_head=True,
        shares_trunk=True,
    ),
    "rl4lms_ppo": Case(
        find_recipe("rl4lms_ppo"),
        {
            "adaptive_kl_penalty_per_token.error_clip": 9.0,
            "experience_buffer.responses": 8, "minibatches.count": 2, "ppo_epochs.epochs": 3,
            "clipped_surrogate.clip_range": 0.02, "global_gradient_clip.max_norm": 0.1,
        },
        {
            "kl_penalty": "adaptive_per_token", "kl_weight": 0.1, "kl_target": 0.1, "kl_error_clip": 9.0,
            "discount": 0.99, "advantage_norm": "standardise", "clip": 0.02, "epochs": 3,
            "minibatches": 2,
            "max_gradient_norm": 0.1, "critic_lr": 2e-3 / 3, "weight_decay": 1e-6,
        },
        has_own_head=True,
    ),
    "rl4lms_nlpo": Case(
        find_recipe("rl4lms_nlpo"),
        {
            "adaptive_kl_penalty_per_token.error_clip": 9.0,
            "experience_buffer.responses": 4, "minibatches.count": 2, "ppo_epochs.epochs": 2,
            "clipped_surrogate.clip_range": 0.02, "nlpo_mask_refresh.every": 2,
            "nlpo_mask.share": 0.6,
        },
        {
            "nlpo_share": 0.6, "guide_every": 2, "ratio": "drawn",
            "kl_penalty": "adaptive_per_token", "kl_weight": 0.1, "kl_target": 0.1, "kl_error_clip": 9.0,
            "discount": 0.99, "advantage_norm": "standardise", "clip": 0.02, "epochs": 2,
            "minibatches": 2,
            "max_gradient_norm": 0.5, "critic_lr": 2e-3 / 3, "weight_decay": 1e-6,
        },
        has_own_head=True,
    ),
    "openrlhf": Case(
        find_recipe("openrlhf"),
        {
            "reward_clip.max_abs": 0.5, "token_kl_penalty.clamp": 0.05, "log_ratio_clamp.max_abs": 0.015,
            "clipped_surrogate.clip_range": 0.01, "value_clip.clip_range": 0.005,
            "separate_gradient_clip.max_norm": 0.1, "learning_rate_warmup.share": 0.7,
        },
        {
            "reward_clip": 0.5, "kl_weight": 0.01, "kl_clamp": 0.05, "gae_lambda": 1.0,
            "rollout_norm": True, "rollout_unbiased": False, "ratio_clamp": 0.015, "clip": 0.01,
            "value_loss": "clipped", "value_clip": 0.005, "epochs": 1, "minibatches": 8,
            "max_gradient_norm": 0.1, "separate_norms": True, "critic_lr": 6e-3,
            "betas": (0.9, 0.95), "warmup": 0.7, "cosine_final": 0.1,
        },
        critic="reward_model",
    ),
    "verl": Case(
        find_recipe("verl"),
        {
            "log_ratio_clamp.max_abs": 0.05, "dual_clip.clip_range": 0.01, "dual_clip.ratio_cap": 1.02,
            "value_clip.clip_range": 0.005, "separate_gradient_clip.max_norm": 0.1,
        },
        {
            "gae_lambda": 1.0, "rollout_norm": True, "ratio_clamp": 0.05, "clip": 0.01,
            "ratio_cap": 1.02, "value_loss": "clipped", "value_clip": 0.005, "epochs": 1,
            "minibatches": 4, "max_gradient_norm": 0.1, "separate_norms": True,
            "critic_lr": 2e-3 / 0.3, "weight_decay": 0.01,
        },
    ),
    "deepspeed_chat": Case(
        find_recipe("deepspeed_chat"),
        {
            "raw_reward_clip.max_abs": 0.5, "drop_short.min_tokens": 4,
            "learning_rate_warmup.share": 0.7, "separate_gradient_clip.max_norm": 0.1,
        },
        {
            "raw_reward_clip": 0.5, "score_after_end": True, "kl_weight": 0.1, "drop_short": 4,
            "value_loss": "clipped", "epochs": 1, "minibatches": 1, "max_gradient_norm": 0.1,
            "separate_norms": True, "critic_lr": 2e-3 * 5 / 28.95, "betas": (0.9, 0.95),
            "warmup": 0.7, "cosine_final": 0.0, "average_decay": 0.992,
        },
        critic="reward_model",
    ),
    "rloo": Case(
        find_recipe("rloo"),
        {"global_gradient_clip.max_norm": 0.1},
        {
            "group_size": 2, "kl_penalty": "sequence", "kl_weight": 0.05, "estimator": "rloo",
            "ratio_level": "sum", "aggregation": "sequence_mean", "epochs": 1, "minibatches": 1,
            "max_gradient_norm": 0.1, "linear_final": 0.0,
        },
    ),
    "grpo": Case(
        find_recipe("grpo"),
        {"responses_per_prompt.count": 4},
        {
            "group_size": 4, "estimator": "grpo", "aggregation": "sequence_mean", "epochs": 1,
            "minibatches": 1, "kl_loss": 0.04,
        },
    ),
    "dr_grpo": Case(
        find_recipe("dr_grpo"),
        {"responses_per_prompt.count": 4, "clipped_surrogate.clip_range": 0.01},
        {
            "group_size": 4, "estimator": "dr_grpo", "clip": 0.01, "aggregation": "constant",
            "constant_length": 64, "epochs": 1,
        },
    ),
    "dapo": Case(
        find_recipe("dapo"),
        {
            "responses_per_prompt.count": 4, "minibatches.count": 4, "overlong_penalty.max_tokens": 5,
            "overlong_penalty.buffer": 3, "dynamic_filtering.threshold": 2.0,
            "clip_higher.clip_range_low": 0.01, "clip_higher.clip_range_high": 0.015,
        },
        {
            "group_size": 4, "overlong_factor": 1.0, "overlong_cap": 5, "overlong_buffer": 3,
            "estimator": "grpo", "dynamic_filtering": 2.0, "clip": 0.01, "clip_high": 0.015,
            "epochs": 1, "minibatches": 4,
        },
    ),
    "gspo": Case(
        find_recipe("gspo"),
        {"responses_per_prompt.count": 4},
        {
            "group_size": 4, "estimator": "grpo", "ratio_level": "mean", "clip": 3e-4,
            "clip_high": 4e-4, "aggregation": "sequence_mean", "epochs": 1, "minibatches": 4,
        },
    ),
    "reinforce_plus_plus": Case(
        find_recipe("reinforce_plus_plus"),
        {
            "reward_clip.max_abs": 0.5, "token_kl_penalty.clamp": 0.05,
            "clipped_surrogate.clip_range": 0.01,
        },
        {
            "reward_clip": 0.5, "kl_weight": 0.01, "kl_clamp": 0.05, "estimator": "reinforce",
            "rollout_norm": True, "rollout_unbiased": False, "clip": 0.01, "epochs": 1,
        },
    ),
    "lite_ppo": Case(
        find_recipe("lite_ppo"),
        {"responses_per_prompt.count": 4, "clipped_surrogate.clip_range": 0.01},
        {
            "group_size": 4, "estimator": "group_mean_batch_std", "group_epsilon": 1e-4, "clip": 0.01,
        },
    ),
}  # fmt: skip
"""One case for each recipe of the registry; what is changed in it binds in three tiny iterations."""

COMPOSED = {
    "textbook": Case(TEXTBOOK),
    "released code": Case(
        find_recipe("vanilla"),
        {
            "reward_scaling": "on", "reward_clip.max_abs": 0.7, "value_clip.clip_range": 0.005,
            "entropy_clip.weight": 0.3, "entropy_clip.target": 2.0, "experience_buffer.responses": 4,
            "token_kl_penalty.weight": 0.2, "global_gradient_clip.max_norm": 0.1,
        },
        {
            "normaliser": "scaling", "reward_clip": 0.7, "value_loss": "clipped", "value_clip": 0.005,
            "entropy_clip": 0.3, "entropy_target": 2.0, "kl_weight": 0.2, "max_gradient_norm": 0.1,
            "advantage_norm": "norm", "temperature": 0.7,
        },
        settings={"temperature": 0.7},
    ),
    "the paper's text": Case(
        TEXTBOOK,
        {
            "return_scaling": "on", "reward_clip.max_abs": 0.9, "missing_eos_score.score": -0.7,
            "monte_carlo.discount": 0.9, "sequence_mean": "on",
            "entropy_bonus.weight": 0.2, "token_kl_penalty.weight": 0.1,
            "learning_rate_warmup.share": 0.7,
        },
        {
            "normaliser": "return_scaling", "reward_clip": 0.9, "missing_eos_score": -0.7,
            "estimator": "monte_carlo", "discount": 0.9,
            "aggregation": "sequence_mean", "entropy_bonus": 0.2, "kl_weight": 0.1, "warmup": 0.7,
        },
    ),
    "no clip": Case(
        TEXTBOOK,
        {
            "unclipped_surrogate": "on", "advantage_norm.unbiased": True, "advantage_clip.max_abs": 0.4,
            "gae.trace": 0.6, "gae.discount": 0.8, "ppo_ptx.weight": 0.5,
        },
        {
            "policy_loss": "unclipped", "advantage_norm": "norm", "advantage_unbiased": True,
            "advantage_clip": 0.4, "gae_lambda": 0.6, "discount": 0.8, "ptx": 0.5,
        },
    ),
    "ratio to the reference": Case(
        TEXTBOOK,
        {
            "reference_ratio": "on", "clipped_surrogate.clip_range": 0.1, "policy_from_base": "on",
            "reward_norm": "on",
        },
        {"ratio": "reference", "clip": 0.1, "normaliser": "norm", "temperature": 1.5},
        policy="base",
        settings={"temperature": 1.5},
    ),
    "no ratio": Case(
        TEXTBOOK,
        {"policy_gradient": "on", "critic_from_reward_model": "on", "reward_scaling": "on"},
        {"policy_loss": "none", "normaliser": "scaling"},
        critic="reward_model",
    ),
    "fixed length": Case(
        TEXTBOOK,
        {
            "fixed_length": "on", "response_cap.tokens": 4, "length_penalty.weight": 0.1,
            "missing_eos_penalty.penalty": 0.5, "token_kl_penalty.weight": 0.1,
            "token_kl_penalty.estimator": "k3", "token_kl_penalty.clamp": 0.05,
            "token_kl_penalty.tokens": "until_end", "token_reward_whitening": "on",
            "value_mask.scope": "text", "value_coefficient.coefficient": 0.3,
            "separate_gradient_clip.max_norm": 0.05, "adam_tensorflow_style": "on",
            "adam_epsilon.policy": 1e-5, "adam_epsilon.critic": 1e-4, "linear_decay": "on",
        },
        {
            "cap": 4, "length_penalty": 0.1, "missing_eos_penalty": 0.5, "kl_weight": 0.1,
            "kl_estimator": "k3", "kl_clamp": 0.05, "kl_tokens": "until_end", "whiten_rewards": True,
            "value_states": "text", "value_coefficient": 0.3, "max_gradient_norm": 0.05,
            "separate_norms": True, "tensorflow_style": True, "policy_epsilon": 1e-5,
            "critic_epsilon": 1e-4, "linear_final": 0.0,
        },
    ),
    "behind the end": Case(
        TEXTBOOK,
        {
            "fixed_length": "on", "score_after_end.trace": 0.9, "gae.trace": 0.9,
            "score_after_end.discount": 0.95, "gae.discount": 0.95, "value_after_end": "on",
            "value_mask": "on", "value_clip_hard.clip_range": 0.05, "raw_reward_clip.max_abs": 0.8,
            "missing_eos_score.score": -0.7, "token_kl_penalty.weight": 0.1,
            "token_kl_penalty.tokens": "before_end", "token_kl_penalty.estimator": "full",
            "reward_batch_whitening": "on", "value_head_mlp": "on", "value_head_init.std": 0.5,
            "rollout_advantage_norm": "on", "weight_decay.decay": 0.1, "adam_betas": "on",
        },
        {
            "score_after_end": True, "gae_lambda": 0.9, "discount": 0.95, "value_after_end": True,
            "value_states": "text_and_end", "value_loss": "clipped_hard", "value_clip": 0.05,
            "raw_reward_clip": 0.8, "missing_eos_score": -0.7, "kl_weight": 0.1,
            "kl_tokens": "before_end", "kl_estimator": "full", "normaliser": "batch_whitening",
            "rollout_norm": True, "weight_decay": 0.1, "betas": (0.9, 0.95),
        },
        has_own_head=True,
    ),
    "one trunk": Case(
        TEXTBOOK,
        {
            "shared_trunk": "on", "layer_freezing.blocks": 1, "value_head_init": "on",
            "greedy_baseline": "on", "stop_properly_penalty.coefficient": 0.5,
            "overlong_penalty.max_tokens": 5, "overlong_penalty.buffer": 3,
            "reward_reference_norm": "on", "adaptive_kl_penalty.target": 0.05,
            "adaptive_kl_penalty.horizon": 40.0, "adaptive_kl_penalty.error_clip": 9.0,
            "padded_advantage_norm": "on",
            "value_huber.delta": 0.2, "value_coefficient": "on", "cosine_decay": "on",
            "gradient_value_clip.max_abs": 0.01, "critic_learning_rate.factor": 2.0,
            "policy_learning_rate.factor": 0.5, "score_after_end": "on", "policy_ema.decay": 0.7,
        },
        {
            "trained_blocks": 1, "baseline": "greedy", "missing_eos_share": 0.5, "overlong_factor": 1.0,
            "overlong_cap": 5, "overlong_buffer": 3, "normaliser": "first_norm",
            "kl_penalty": "adaptive", "kl_weight": 0.15, "kl_target": 0.05, "kl_horizon": 40.0,
            "kl_error_clip": 9.0,
            "advantage_norm": "padded", "value_loss": "huber", "huber": 0.2, "value_coefficient": 0.1,
            "cosine_final": 0.1, "max_gradient": 0.01, "policy_lr": 0.5e-3, "critic_lr": 4e-3,
            "score_after_end": True, "average_decay": 0.7,
        },
        has_own_head=True,
        shares_trunk=True,
    ),
    "a moving mask": Case(
        TEXTBOOK,
        {
            "nlpo_mask.share": 0.7, "nlpo_mask_refresh.every": 1, "behaviour_ratio": "on",
            "min_length.tokens": 2, "adaptive_kl_penalty_per_token.target": 0.02,
            "adaptive_kl_penalty_per_token.gain": 0.5, "adaptive_kl_penalty_per_token.error_clip": 9.0,
            "advantage_standardisation": "on",
            "reward_reference_scaling": "on", "minibatches.count": 4, "target_kl_stop.target": 0.001,
            "skip_nonfinite_gradients": "on",
            "truncation_bootstrap": "on", "critic_from_scratch": "on", "value_output_norm": "on",
            "annealed_clip.rollouts": 4,
        },
        {
            "nlpo_share": 0.7, "guide_every": 1, "ratio": "drawn", "min_length": 2,
            "kl_penalty": "adaptive_per_token", "kl_weight": 0.1, "kl_target": 0.02, "kl_gain": 0.5,
            "kl_error_clip": 9.0,
            "advantage_norm": "standardise", "normaliser": "first_scaling",
            "minibatches": 4, "target_kl": 0.001, "truncation_bootstrap": True,
            "value_scale": "output_norm", "clip_final": 0.1, "clip_rollouts": 4,
        },
        critic="run",
    ),
    "another sampler": Case(
        TEXTBOOK,
        {
            "uncorrected_temperature": "on", "top_k.k": 7, "top_p.share": 0.9,
            "repetition_penalty.penalty": 1.3, "truncated_importance_sampling.low": 0.7,
            "truncated_importance_sampling.high": 0.9, "off_policy_mask.threshold": 0.01,
            "high_entropy_tokens.share": 0.6, "decoupled_gae": "on", "value_norm": "on",
            "reference_response_baseline": "on", "kl_loss.weight": 0.3, "adaptive_entropy.step": 0.1,
            "adaptive_entropy.target": 2.1, "reference_refresh.every": 1, "dual_clip.clip_range": 0.01,
            "dual_clip.ratio_cap": 1.02, "inverse_square_root_decay": "on", "constant_length.tokens": 7,
        },
        {
            "drawing_temperature": 0.8, "top_k": 7, "top_p": 0.9, "repetition_penalty": 1.3,
            "correction": "truncated", "correction_low": 0.7, "correction_high": 0.9,
            "off_policy_threshold": 0.01, "entropy_share": 0.6, "value_lambda": 1.0,
            "value_scale": "norm", "baseline": "own", "kl_loss": 0.3, "adaptive_entropy": 0.1,
            "entropy_target": 2.1, "reference_every": 1, "clip": 0.01, "ratio_cap": 1.02,
            "root_share": 0.1, "aggregation": "constant", "constant_length": 7,
        },
    ),
    "sequences": Case(
        TEXTBOOK,
        {
            "summed_ratio": "on", "log_ratio_clamp.max_abs": 0.05, "rloo": "on",
            "responses_per_prompt.count": 4, "sequence_kl_penalty": "on", "sequence_sum": "on",
            "dynamic_filtering.threshold": 2.0, "reward_reference_centring": "on",
            "sampling_temperature.temperature": 1.5, "top_p": "on", "icepop.low": 0.91,
            "icepop.high": 0.93, "rollout_advantage_centre": "on", "full_kl_loss.weight": 0.3,
        },
        {
            "ratio_level": "sum", "ratio_clamp": 0.05, "estimator": "rloo", "group_size": 4,
            "kl_penalty": "sequence", "kl_weight": 0.05, "aggregation": "sequence_sum",
            "dynamic_filtering": 2.0, "normaliser": "first_centring", "temperature": 1.5,
            "correction": "icepop", "correction_low": 0.91, "correction_high": 0.93, "top_p": 0.9,
            "rollout_centre": True, "kl_loss": 0.3, "kl_loss_estimator": "full",
        },
    ),
    "a group's standard": Case(
        TEXTBOOK,
        {
            "sequence_ratio": "on", "grpo": "on", "responses_per_prompt.count": 4,
            "clip_higher.clip_range_low": 0.003, "clip_higher.clip_range_high": 0.004,
            "extremes_of_group": "on", "token_reward_norm": "on",
        },
        {
            "ratio_level": "mean", "estimator": "grpo", "group_size": 4, "clip": 0.003,
            "clip_high": 0.004, "extremes_of_group": True, "norm_rewards": True,
        },
    ),
    "geometric mean": Case(
        TEXTBOOK,
        {
            "gmpo.clip_range": 0.01, "length_adaptive_gae.horizon_fraction": 0.6,
            "sequence_mean": "on", "sequence_mask_tis.low": 0.98, "sequence_mask_tis.high": 1.02,
            "repetition_penalty": "on", "drop_short.min_tokens": 2,
        },
        {
            "policy_loss": "gmpo", "clip": 0.01, "estimator": "length_adaptive",
            "horizon_fraction": 0.6, "aggregation": "sequence_mean", "correction": "sequence",
            "correction_low": 0.98, "correction_high": 1.02, "repetition_penalty": 1.1, "drop_short": 2,
        },
    ),
    "soft gate": Case(
        TEXTBOOK,
        {
            "sapo": "on", "dr_grpo": "on", "responses_per_prompt.count": 2, "drop_truncated": "on",
            "ppo_epochs.epochs": 3, "minibatches.count": 8, "single_shuffle": "on",
        },
        {
            "policy_loss": "sapo", "estimator": "dr_grpo", "group_size": 2, "drop_truncated": True,
            "epochs": 3, "minibatches": 8, "single_shuffle": True,
        },
    ),
    "clipped weights": Case(
        TEXTBOOK,
        {
            "cispo.clip_range_low": 0.01, "cispo.clip_range_high": 0.02, "gpg.normaliser": 2.0,
            "responses_per_prompt.count": 4, "best_of_group.kept": 3,
        },
        {
            "policy_loss": "cispo", "clip": 0.01, "clip_high": 0.02, "estimator": "gpg",
            "gpg_normaliser": 2.0, "group_size": 4, "best_of_group": 3,
        },
    ),
    "dropped by covariance": Case(
        TEXTBOOK,
        {
            "clip_cov.share": 0.1, "clip_cov.clip_range": 0.02, "group_mean_batch_std": "on",
            "responses_per_prompt.count": 2,
        },
        {
            "policy_loss": "clip_cov", "covariance_share": 0.1, "clip": 0.02,
            "estimator": "group_mean_batch_std", "group_epsilon": 1e-4, "group_size": 2,
        },
    ),
    "held back by covariance": Case(
        TEXTBOOK,
        {
            "kl_cov.share": 0.3, "policy_from_base": "on", "reference_ratio": "on",
            "opo": "on", "responses_per_prompt.count": 4, "score_range_filter.low": 0.6,
            "score_range_filter.high": 2.0,
        },
        {
            "policy_loss": "kl_cov", "ratio": "reference", "covariance_share": 0.3,
            "estimator": "opo", "group_size": 4, "score_range": (0.6, 2.0),
        },
        policy="base",
    ),
    "a penalty": Case(
        TEXTBOOK,
        {
            "ppo_penalty": "on", "pass_at_k": "on", "responses_per_prompt.count": 4,
            "minibatches.count": 1,
        },
        {
            "policy_loss": "penalty", "estimator": "pass_at_k", "group_size": 4, "minibatches": 1,
        },
    ),
    "reward-to-go": Case(
        TEXTBOOK,
        {"reinforce.discount": 0.9, "token_kl_penalty.estimator": "abs", "kl_loss.estimator": "k2"},
        {
            "estimator": "reinforce", "discount": 0.9, "kl_weight": 0.05, "kl_estimator": "abs",
            "kl_loss": 0.001, "kl_loss_estimator": "k2",
        },
    ),
    "reward-to-go over a baseline": Case(
        TEXTBOOK,
        {
            "reinforce_plus_plus_baseline": "on", "responses_per_prompt.count": 4,
            "token_kl_penalty.estimator": "k2", "rollout_advantage_norm.unbiased": False,
        },
        {
            "estimator": "reinforce_baseline", "group_size": 4, "kl_weight": 0.05, "kl_estimator": "k2",
            "rollout_norm": True, "rollout_unbiased": False,
        },
    ),
}  # fmt: skip
"""Cases that between them hold every trick, with numbers at which each changes something."""
