"""Advantage normalisation with ε outside the root."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import AdvantageTransform, hyper


class AdvantageStandardisation(AdvantageTransform):
    """Divide the centred advantages of a minibatch by their standard deviation plus ε.

        Ã = (Â − mean) / (σ + ε)

    Variant: per minibatch, over response tokens only; σ is unbiased and ε outside the root, so it bounds
    the scale at 1/ε where `advantage_norm` has 1/√ε. RL4LMs' minibatches are tokens, ours responses.
    Source: Stable-Baselines3 as used by RL4LMs ppo.py, commit 97df0bd2; ppo-implementation-details
    ppo.py, commit fbef824e; both with ε = 1e-8.
    """

    group = "advantage_norm"
    batch_statistic = True
    epsilon: float = hyper(default=1e-8, above=0)

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        std = masked_variance(advantage, mask, unbiased=True).sqrt()
        scaled = (advantage - masked_mean(advantage, mask)) / (std + self.epsilon)
        return torch.where(mask, scaled, 0.0)
