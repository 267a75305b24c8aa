"""Vanilla PPO, the starting point of the paper's ablations."""

from workbench.recipe import Recipe
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate

VANILLA = Recipe.cited(
    "vanilla",
    "PPO as the textbook has it, without any constraint that ties it to the SFT policy: the starting"
    " point of the ablations in arXiv:2307.04964, §5.2, where it collapses. The paper starts its"
    " critic from the reward model (§5.1); here that is a trick, `critic_from_reward_model`, and without"
    " it the critic starts from the SFT policy, its head from 0. Whether the paper's vanilla PPO"
    " normalises advantages is not said; where they are, a constant scale of the reward hardly matters.",
    (
        Gae(trace=0.95, discount=1.0),
        "MOSS-RLHF 4865d826, config_ppo.py: lam 0.95, gamma 1; the paper has λ = 0.9",
    ),
    (ClippedSurrogate(clip_range=0.2), "Schulman et al. 2017, arXiv:1707.06347, table 3"),
    (AdvantageNorm(), "arXiv:2307.04964, §5.3.1: usual in PPO, per minibatch"),
)
"""PPO as the textbook has it, without any constraint that ties it to the SFT policy."""
