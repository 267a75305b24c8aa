"""TRL's PPOTrainer with its defaults."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.sampling.sampling_temperature import SamplingTemperature
from workbench.tricks.schedule.linear_decay import LinearDecay
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.value_target.value_after_end import ValueAfterEnd
from workbench.tricks.value_weight.value_coefficient import ValueCoefficient

TRL = Recipe.cited(
    "trl",
    "PPOTrainer of TRL f2cd5771 with PPOConfig's defaults. These know no end token; as in its example"
    " scripts (stop_token eos), responses end at theirs here. The scripts also subtract 1 where it is"
    " missing: add `missing_eos_penalty`. TRL averages losses per micro-batch, here a mean is over the"
    " minibatch. Its loop never clips gradients, although its configuration has a max_grad_norm.",
    (CriticFromRewardModel(), "examples/scripts/ppo, TRL f2cd5771: value model from reward_model_path"),
    (
        SamplingTemperature(temperature=0.7),
        "ppo_config.py, TRL f2cd5771: temperature 0.7, in log π too, where 1e-7 is added to it",
    ),
    (TokenKlPenalty(weight=0.05, estimator="k1"), "ppo_config.py, TRL f2cd5771: kl_coef, kl_estimator"),
    (ScoreAfterEnd(trace=0.95, discount=1.0), "ppo_trainer.py, TRL f2cd5771: score behind the end"),
    (ValueAfterEnd(), "ppo_trainer.py, TRL f2cd5771: padding_mask_p1"),
    (Gae(trace=0.95, discount=1.0), "ppo_config.py, TRL f2cd5771: lam 0.95, gamma 1"),
    (
        RolloutAdvantageNorm(epsilon=1e-8, unbiased=True),
        "ppo_trainer.py masked_whiten, TRL f2cd5771: over the rollout, unbiased",
    ),
    (ClippedSurrogate(clip_range=0.2), "ppo_config.py, TRL f2cd5771: cliprange 0.2"),
    (ValueClip(clip_range=0.2), "ppo_config.py, TRL f2cd5771: cliprange_value 0.2"),
    (ValueCoefficient(coefficient=0.1), "ppo_config.py, TRL f2cd5771: vf_coef 0.1, on ½"),
    (PpoEpochs(epochs=4), "ppo_config.py, TRL f2cd5771: num_ppo_epochs 4"),
    (Minibatches(count=1), "ppo_config.py, TRL f2cd5771: num_mini_batches 1"),
    (
        CriticLearningRate(factor=1 / 3),
        "ppo_config.py, TRL f2cd5771: one rate for both; a run's critic has 3 times the policy's",
    ),
    (LinearDecay(final=0.0), "ppo_trainer.py, TRL f2cd5771: linear to 0, one step per rollout"),
)
"""PPOConfig's defaults."""
