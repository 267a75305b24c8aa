"""Monte Carlo returns instead of GAE."""

import torch
from torch import Tensor

from workbench.maths import discounted_sum
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class MonteCarlo(AdvantageEstimator):
    """Estimate advantages by the observed return minus the value.

        R_t = Σ_l γ^l r_{t+l}          Â_t = R_t − V_t

    Variant: equals `gae` with λ = 1; the value is a baseline only and never bootstrapped from.
    Source: Sutton & Barto 2018, ch. 5; "GAE off" in detail 10 of arXiv:2307.04964.
    """

    needs = frozenset({"value"})
    discount: float = hyper(default=1.0, at_least=0, at_most=1)

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        reward = torch.where(rollout.mask, rollout.reward, 0.0)
        returns = torch.where(rollout.mask, discounted_sum(reward, self.discount), 0.0)
        return returns - torch.where(rollout.mask, rollout.value, 0.0), returns
