"""The N+ implementation details of RLHF with PPO, on TL;DR."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.optimisation.adam_epsilon import AdamEpsilon
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.optimisation.weight_decay import WeightDecay
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.sampling.sampling_temperature import SamplingTemperature
from workbench.tricks.schedule.linear_decay import LinearDecay
from workbench.tricks.score.missing_eos_score import MissingEosScore
from workbench.tricks.score.reward_reference_centring import RewardReferenceCentring
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.value_target.value_after_end import ValueAfterEnd
from workbench.tricks.value_weight.value_coefficient import ValueCoefficient

N_PLUS = Recipe.cited(
    "n_plus",
    "The N+ implementation details, arXiv:2403.17031, summarize_from_feedback_details ee77a9ab. Its"
    " reward model is centred beforehand on the data set's responses, here scores are centred on those"
    " of the first rollout. Sampling stops at the end token, where its code samples on"
    " and cuts. Its scheduler argument says cosine and is not used.",
    (CriticFromRewardModel(), "ppo.py, N+ ee77a9ab: the critic is a copy of the reward model"),
    (SamplingTemperature(temperature=0.7), "ppo.py, N+ ee77a9ab: temperature 0.7, in log π too"),
    (MissingEosScore(score=-1.0), "ppo.py, N+ ee77a9ab: penalty_reward_value −1, non_eos_penalty"),
    (RewardReferenceCentring(), "reward.py, N+ ee77a9ab: bias of the reward model"),
    (TokenKlPenalty(weight=0.05), "ppo.py, N+ ee77a9ab: kl_coef 0.05"),
    (ScoreAfterEnd(trace=0.95, discount=1.0), "ppo.py, N+ ee77a9ab: score at sequence_lengths + 1"),
    (ValueAfterEnd(), "ppo.py, N+ ee77a9ab: padding_mask_p1"),
    (Gae(trace=0.95, discount=1.0), "ppo.py, N+ ee77a9ab: lam 0.95, gamma 1"),
    (
        RolloutAdvantageNorm(epsilon=1e-8, unbiased=False),
        "ppo.py masked_whiten, N+ ee77a9ab: over the local rollout, biased",
    ),
    (ClippedSurrogate(clip_range=0.2), "ppo.py, N+ ee77a9ab: cliprange 0.2"),
    (ValueClip(clip_range=0.2), "ppo.py, N+ ee77a9ab: cliprange_value 0.2"),
    (ValueCoefficient(coefficient=0.1), "ppo.py, N+ ee77a9ab: vf_coef 0.1, on ½"),
    (PpoEpochs(epochs=4), "ppo.py, N+ ee77a9ab: noptepochs 4"),
    (Minibatches(count=1), "ppo.py, N+ ee77a9ab: nminibatches 1"),
    (AdamEpsilon(policy=1e-5, critic=1e-5), "ppo.py, N+ ee77a9ab: eps 1e-5"),
    (WeightDecay(decay=0.01), "ppo.py, N+ ee77a9ab: AdamW with PyTorch's own decay"),
    (
        CriticLearningRate(factor=1 / 3),
        "ppo.py, N+ ee77a9ab: one rate for both; a run's critic has 3 times the policy's",
    ),
    (LinearDecay(final=0.0), "ppo.py, N+ ee77a9ab: linear to 0 per update"),
)
"""The settings that reproduce the scaling of RLHF on TL;DR."""
