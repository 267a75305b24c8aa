"""A value head of two layers."""

import torch
from torch import nn

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class ValueHeadMlp(Initialise):
    """Put a small network in place of the critic's linear head.

        V(s) = W₂ relu(W₁ h + b₁) + b₂          W₁: [2H, H], W₂: [1, 2H]

    Variant: weights and biases start uniform in ±1/√(inputs), PyTorch's own start, drawn from the run's
    seed, so first values are small and not 0; `value_head_init` changes the last layer. What the
    head learnt as a reward model is lost. trlX has this head in float32, lm-human-preferences and N+
    a linear one with bias, the others a linear one without.
    Source: trlX make_head in utils/modeling.py, commit 3340c2f3.
    """

    after = ("critic_start",)
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        width = models.critic.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first, last = nn.Linear(width, 2 * width), nn.Linear(2 * width, 1)
        models.critic.model.score = nn.Sequential(first, nn.ReLU(), last)
