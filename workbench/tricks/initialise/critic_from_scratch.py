"""Critic model initialisation at random: an ablation of its pre-training."""

import torch

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class CriticFromScratch(Initialise):
    """Start the critic from random weights, in the SFT model's architecture.

        V_φ: trunk ← the architecture's own random start, head weight ← 0

    Variant: all draws come from the run's seed; the head is zero as in `critic_from_sft`, so that the
    two differ in the trunk alone. No language-model system starts so: it is how the 37 details' critics
    start, and shows what pre-trained features are worth to a critic.
    Source: critic start of detail 8, arXiv:2307.04964, §5.3.3; separate networks of fbef824e.
    """

    group = "critic_start"
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        critic = models.critic
        critic.load_trunk(prepared.sft)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            critic.model = type(critic.model)(critic.model.config).eval()
        torch.nn.init.zeros_(critic.model.score.weight)
