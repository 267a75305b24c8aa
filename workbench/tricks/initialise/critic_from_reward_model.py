"""Critic model initialisation from the reward model."""

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class CriticFromRewardModel(Initialise):
    """Start the critic from the reward model, trunk and head.

        V_φ ← r_ψ

    Variant: the critic takes the reward model's architecture with its weights.
    Source: detail 8 of arXiv:2307.04964, §5.3.3; MOSS-RLHF, commit 4865d826.
    """

    group = "critic_start"
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        models.critic.load_weights(prepared.reward_model)
