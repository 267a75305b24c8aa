"""OpenRLHF's PPO with the defaults of its command line."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.gradient.separate_gradient_clip import SeparateGradientClip
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.ratio.log_ratio_clamp import LogRatioClamp
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.schedule.cosine_decay import CosineDecay
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.tricks.score.reward_clip import RewardClip
from workbench.tricks.value_loss.value_clip import ValueClip

OPENRLHF = Recipe.cited(
    "openrlhf",
    "OpenRLHF 3c3be623 with the defaults of train_ppo_ray.py and estimator gae. Its variance is raised"
    " to 1e-8 where it is less, here 1e-8 is added. Its example script also normalises scores and"
    " values by the reward model's own moments and corrects for its sampling engine: near it are"
    " `reward_reference_norm`, `value_output_norm` and `truncated_importance_sampling`.",
    (CriticFromRewardModel(), "train_ppo_ray.py, OpenRLHF 3c3be623: the critic's path is the RM's"),
    (RewardClip(max_abs=10.0), "train_ppo_ray.py, OpenRLHF 3c3be623: reward.clip_range (−10, 10)"),
    (
        TokenKlPenalty(weight=0.01, estimator="k1", clamp=10.0),
        "train_ppo_ray.py and models/utils.py, OpenRLHF 3c3be623: init_coef 0.01, clamped at ±10",
    ),
    (Gae(trace=1.0, discount=1.0), "train_ppo_ray.py, OpenRLHF 3c3be623: lambd 1, gamma 1"),
    (
        RolloutAdvantageNorm(epsilon=1e-8, unbiased=False),
        "experience_maker.py, OpenRLHF 3c3be623: over all rollouts, biased",
    ),
    (LogRatioClamp(max_abs=20.0), "models/loss.py, OpenRLHF 3c3be623: ±20"),
    (ClippedSurrogate(clip_range=0.2), "train_ppo_ray.py, OpenRLHF 3c3be623: eps_clip 0.2"),
    (ValueClip(clip_range=0.5), "train_ppo_ray.py, OpenRLHF 3c3be623: value_clip 0.5"),
    (PpoEpochs(epochs=1), "train_ppo_ray.py, OpenRLHF 3c3be623: max_epochs 1"),
    (Minibatches(count=8), "train_ppo_ray.py, OpenRLHF 3c3be623: 128 of 1,024"),
    (SeparateGradientClip(max_norm=1.0), "train_ppo_ray.py, OpenRLHF 3c3be623: max_norm 1.0 each"),
    (AdamBetas(first=0.9, second=0.95), "train_ppo_ray.py, OpenRLHF 3c3be623: adam betas"),
    (
        CriticLearningRate(factor=9 / 3),
        "train_ppo_ray.py, OpenRLHF 3c3be623: 9e-6 to 1e-6; a run's critic has 3 times already",
    ),
    (LearningRateWarmup(share=0.03), "train_ppo_ray.py, OpenRLHF 3c3be623: warm-up over 3 %"),
    (CosineDecay(final=0.1), "train_ppo_ray.py, OpenRLHF 3c3be623: cosine_with_min_lr, 0.1"),
)
"""The defaults of the command line."""
