"""What an update does, in the oracle's own words."""

from dataclasses import dataclass
from math import inf


@dataclass
class Args:
    """What an update does; the defaults are the textbook, where 0, "", None and False mean off."""

    iterations: int = 3
    eos: int = 1
    cap: int = 5

    # responses
    group_size: int = 1
    temperature: float = 1.0
    drawing_temperature: float = 0.0
    min_length: int = 0
    repetition_penalty: float = 0.0
    top_k: int = 0
    top_p: float = 0.0
    nlpo_share: float = 0.0
    nlpo_min_tokens: int = 2

    # slow copies of the policy
    guide_every: int = 0
    reference_every: int = 0
    reference_share: float = 0.6
    average_decay: float = 0.0

    # scores
    length_penalty: float = 0.0
    overlong_factor: float = 0.0
    overlong_cap: int = 64
    overlong_buffer: int = 16
    missing_eos_penalty: float = 0.0
    missing_eos_score: float | None = None
    missing_eos_share: float | None = None
    baseline: str = ""
    raw_reward_clip: float = 0.0
    normaliser: str = ""
    reward_clip: float = 0.0
    value_scale: str = ""

    # rewards
    score_after_end: bool = False
    kl_penalty: str = "token"
    kl_weight: float = 0.0
    kl_estimator: str = "k1"
    kl_clamp: float = inf
    kl_tokens: str = "all"
    kl_target: float = 6.0
    kl_horizon: float = 10_000.0
    kl_gain: float = 0.1
    kl_error_clip: float = 0.2
    whiten_rewards: bool = False
    whiten_unbiased: bool = False
    norm_rewards: bool = False
    truncation_bootstrap: bool = False

    # advantages
    estimator: str = "gae"
    gae_lambda: float = 0.95
    value_lambda: float | None = None
    horizon_fraction: float = 0.05
    discount: float = 1.0
    group_epsilon: float = 1e-6
    gpg_normaliser: float = 1.0
    rollout_norm: bool = False
    rollout_unbiased: bool = True
    rollout_centre: bool = False

    # minibatches
    epochs: int = 2
    minibatches: int = 0
    minibatch_size: int = 4
    single_shuffle: bool = False
    drop_short: int = 0
    drop_truncated: bool = False
    best_of_group: int = 0
    extremes_of_group: bool = False
    dynamic_filtering: float | None = None
    score_range: tuple[float, float] | None = None
    advantage_norm: str = ""
    advantage_unbiased: bool = False
    advantage_epsilon: float = 1e-6
    advantage_clip: float = 0.0

    # the policy's loss
    ratio: str = "old"
    ratio_level: str = "token"
    ratio_clamp: float = inf
    policy_loss: str = "clipped"
    clip: float = 0.2
    clip_high: float = 0.0
    ratio_cap: float = inf
    clip_final: float = 1.0
    clip_rollouts: int = 100
    covariance_share: float = 0.0002
    covariance_low: float = 0.1
    covariance_high: float = 5.0
    covariance_weight: float = 0.1
    gate_positive: float = 1.0
    gate_negative: float = 1.05
    penalty: float = 3.0
    entropy_share: float = 1.0
    off_policy_threshold: float = inf
    correction: str = ""
    correction_low: float = 0.5
    correction_high: float = 5.0

    # the critic's loss
    value_after_end: bool = False
    value_states: str = ""
    value_loss: str = "mse"
    value_clip: float = 0.2
    huber: float = 1.0
    value_coefficient: float = 1.0

    # from tokens to one number
    aggregation: str = "token_mean"
    constant_length: int = 128

    # what is added
    entropy_bonus: float = 0.0
    entropy_clip: float = 0.0
    entropy_target: float = 1.0
    adaptive_entropy: float = 0.0
    adaptive_entropy_high: float = 1.0
    kl_loss: float = 0.0
    kl_loss_estimator: str = "k3"
    ptx: float = 0.0
    target_kl: float = inf

    # the optimiser
    trained_blocks: int = 0
    policy_lr: float = 1e-3
    critic_lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    policy_epsilon: float = 1e-8
    critic_epsilon: float = 1e-8
    tensorflow_style: bool = False
    weight_decay: float = 0.0
    max_gradient: float = 0.0
    max_gradient_norm: float = 0.0
    separate_norms: bool = False
    warmup: float = 0.0
    linear_final: float | None = None
    cosine_final: float | None = None
    root_share: float | None = None
    root_final: float = 0.0
    critic_pretraining: int = 0

    @property
    def has_critic(self) -> bool:
        """Whether the estimator of advantages uses values."""
        return self.estimator in ("gae", "monte_carlo", "length_adaptive")
