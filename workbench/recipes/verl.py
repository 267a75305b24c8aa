"""verl's PPO with its defaults."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.aggregation.token_mean import TokenMean
from workbench.tricks.gradient.separate_gradient_clip import SeparateGradientClip
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.optimisation.weight_decay import WeightDecay
from workbench.tricks.policy_loss.dual_clip import DualClip
from workbench.tricks.ratio.log_ratio_clamp import LogRatioClamp
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.value_loss.value_clip import ValueClip

VERL = Recipe.cited(
    "verl",
    "verl b178a3cd with the defaults of its PPO configuration: no KL term at all, neither in the"
    " reward nor in the loss, dual clip always on, λ = 1. The critic's path is its own there; here it"
    " is the SFT policy with a head of zeros, the textbook's. Minibatches are taken in order there and"
    " shuffled here, which one epoch over fresh responses makes the same.",
    (Gae(trace=1.0, discount=1.0), "trainer/config, verl b178a3cd: lam 1, gamma 1"),
    (
        RolloutAdvantageNorm(epsilon=1e-8, unbiased=True),
        "core_algos.py compute_gae, verl b178a3cd: over the batch, unbiased",
    ),
    (LogRatioClamp(max_abs=20.0), "core_algos.py, verl b178a3cd: ±20"),
    (
        DualClip(clip_range=0.2, ratio_cap=3.0),
        "trainer/config, verl b178a3cd: clip_ratio 0.2, clip_ratio_c 3",
    ),
    (ValueClip(clip_range=0.5), "trainer/config, verl b178a3cd: cliprange_value 0.5"),
    (TokenMean(), "trainer/config, verl b178a3cd: loss_agg_mode token-mean"),
    (PpoEpochs(epochs=1), "trainer/config, verl b178a3cd: ppo_epochs 1"),
    (Minibatches(count=4), "trainer/config, verl b178a3cd: ppo_mini_batch_size 256 of 1,024"),
    (SeparateGradientClip(max_norm=1.0), "trainer/config, verl b178a3cd: grad_clip 1.0 each"),
    (WeightDecay(decay=0.01), "trainer/config, verl b178a3cd: weight_decay 0.01"),
    (
        CriticLearningRate(factor=10 / 3),
        "trainer/config, verl b178a3cd: 1e-5 to 1e-6; a run's critic has 3 times already",
    ),
)
"""The defaults of the configuration."""
