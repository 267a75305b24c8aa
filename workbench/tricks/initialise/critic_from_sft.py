"""Critic model initialisation from the SFT model: the textbook."""

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class CriticFromSft(Initialise):
    """Start the critic from the SFT model's trunk with a value head of zeros.

        V_φ: trunk ← SFT, head weight ← 0

    Variant: the head is linear without bias, and its zero start makes every first value 0.
    Source: detail 8 of arXiv:2307.04964, §5.3.3; zero head as lm-human-preferences, cbfd210b.
    """

    group = "critic_start"
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        models.critic.load_trunk(prepared.sft)
