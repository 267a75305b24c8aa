"""OpenAI's lm-human-preferences, the first PPO on a language model's preferences."""

from workbench.recipe import Recipe
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_sft import CriticFromSft
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.optimisation.adam_epsilon import AdamEpsilon
from workbench.tricks.optimisation.adam_tensorflow_style import AdamTensorflowStyle
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.adaptive_kl_penalty import AdaptiveKlPenalty
from workbench.tricks.reward.token_reward_whitening import TokenRewardWhitening
from workbench.tricks.sampling.fixed_length import FixedLength
from workbench.tricks.sampling.sampling_temperature import SamplingTemperature
from workbench.tricks.schedule.linear_decay import LinearDecay
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.reward_reference_norm import RewardReferenceNorm
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.value_weight.value_coefficient import ValueCoefficient

LM_HUMAN_PREFERENCES = Recipe.cited(
    "lm_human_preferences",
    "lm-human-preferences cbfd210b as launch.py sets up sentiment, arXiv:1909.08593. Its policy starts"
    " from a pre-trained model that is the reference too; here both are the SFT policy. It whitens the"
    " rewards of a minibatch in the loss, here they are the rollout's: the same with one minibatch. Any"
    " end counts, where it asks for a full stop from token 16 on. Its value head has a bias. Its horizon"
    " is for a million episodes: 100 iterations of 128 move β by no more than from 0.15 to between 0.116"
    " and 0.194, so that it steers no KL in so short a run.",
    (CriticFromSft(), "language/model.py, lm-human-preferences cbfd210b: value head of zeros"),
    (SharedTrunk(), "policy.py, lm-human-preferences cbfd210b: value head on the policy's trunk"),
    (SamplingTemperature(temperature=0.7), "launch.py, lm-human-preferences cbfd210b: temperature 0.7"),
    (FixedLength(), "policy.py, lm-human-preferences cbfd210b: every response is sampled to the cap"),
    (
        MissingEosScore(score=-1.0),
        "launch.py, lm-human-preferences cbfd210b: penalty_reward_value −1 replaces the score",
    ),
    (
        RewardReferenceNorm(epsilon=1e-8),
        "rewards.py set_reward_norm, lm-human-preferences cbfd210b; from the first rollout here",
    ),
    (
        AdaptiveKlPenalty(weight=0.15, target=6.0, horizon=10000.0, error_clip=0.2),
        "launch.py, lm-human-preferences cbfd210b: adaptive; its data class is fixed at 0.2",
    ),
    (
        TokenRewardWhitening(unbiased=False, epsilon=1e-8),
        "train_policy.py, lm-human-preferences cbfd210b: whiten_rewards, mean kept",
    ),
    (Gae(trace=0.95, discount=1.0), "train_policy.py, lm-human-preferences cbfd210b: lam, gamma"),
    (
        AdvantageNorm(epsilon=1e-8, unbiased=False),
        "train_policy.py and utils/core.py whiten, lm-human-preferences cbfd210b: per minibatch",
    ),
    (ClippedSurrogate(clip_range=0.2), "train_policy.py, lm-human-preferences cbfd210b: cliprange"),
    (ValueClip(clip_range=0.2), "train_policy.py, lm-human-preferences cbfd210b: cliprange_value"),
    (ValueCoefficient(coefficient=0.1), "train_policy.py, lm-human-preferences cbfd210b: vf_coef, on ½"),
    (PpoEpochs(epochs=4), "train_policy.py, lm-human-preferences cbfd210b: noptepochs 4"),
    (Minibatches(count=1), "train_policy.py, lm-human-preferences cbfd210b: nminibatches 1"),
    (AdamEpsilon(policy=1e-5, critic=1e-5), "utils/core.py minimize, lm-human-preferences cbfd210b"),
    (AdamTensorflowStyle(), "lm-human-preferences cbfd210b runs TensorFlow 1's Adam"),
    (
        CriticLearningRate(factor=1 / 3),
        "train_policy.py, lm-human-preferences cbfd210b: one rate; a run's critic has 3 times it",
    ),
    (LinearDecay(final=0.0), "train_policy.py, lm-human-preferences cbfd210b: linear to 0"),
)
"""The sentiment task's settings."""
