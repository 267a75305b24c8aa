"""Advantage normalisation."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import AdvantageTransform, hyper


class AdvantageNorm(AdvantageTransform):
    """Normalise the advantages of a minibatch to mean 0 and variance 1.

        Ã = (Â − mean) / √(var + ε)

    Variant: per minibatch, over response tokens only; the variance is biased and ε sits inside the
    root, as in MOSS-RLHF. `rollout_advantage_norm` is over the rollout, as in TRL, verl and OpenRLHF.
    Source: detail 6 of arXiv:2307.04964, §5.3.1; MOSS-RLHF utils.py whiten, commit 4865d826.
    """

    group = "advantage_norm"
    batch_statistic = True
    epsilon: float = hyper(default=1e-6, at_least=0)
    unbiased: bool = hyper(default=False, choices=(False, True))

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        variance = masked_variance(advantage, mask, unbiased=self.unbiased)
        scaled = (advantage - masked_mean(advantage, mask)) * (variance + self.epsilon).rsqrt()
        return torch.where(mask, scaled, 0.0)
