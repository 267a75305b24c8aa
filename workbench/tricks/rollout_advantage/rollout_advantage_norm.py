"""Advantage normalisation over the whole rollout."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import RolloutAdvantageTransform, hyper
from workbench.types import Rollout


class RolloutAdvantageNorm(RolloutAdvantageTransform):
    """Normalise the advantages of the rollout to mean 0 and variance 1, once.

        Ã = (Â − mean) / √(var + ε)

    Variant: over all response tokens of the rollout, before it is split, so a minibatch's mean need not
    be 0; `advantage_norm` does it per minibatch. Unbiased, as in TRL and verl; biased in N+, LHD and
    OpenRLHF, which raises a variance below 1e-8 to it instead of adding ε. All have ε = 1e-8. Value
    targets are computed before and stay as they are.
    Source: TRL ppo_trainer.py masked_whiten at commit f2cd5771; verl core_algos.py at commit b178a3cd;
    OpenRLHF experience_maker.py at commit 3c3be623.
    """

    group = "advantage_norm"
    batch_statistic = True
    epsilon: float = hyper(default=1e-8, above=0)
    unbiased: bool = hyper(default=True, choices=(False, True))

    def __call__(self, advantage: Tensor, rollout: Rollout) -> Tensor:
        mask = rollout.mask
        variance = masked_variance(advantage, mask, unbiased=self.unbiased)
        scaled = (advantage - masked_mean(advantage, mask)) * (variance + self.epsilon).rsqrt()
        return torch.where(mask, scaled, 0.0)
