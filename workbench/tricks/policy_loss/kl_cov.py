"""A penalty on tokens that would cost the most entropy: KL-Cov."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class KlCov(PolicyLoss):
    """Hold back tokens whose log-probability and advantage are high, or low, together.

        c_t = (Â_t − mean Â) (log π(y_t) − mean log π)
        L_t = −ρ_t Â_t + β |ℓ_t| for the k tokens of the highest c_t, −ρ_t Â_t elsewhere

    Variant: no clip; k = max(1, ⌊share · n⌋) of the minibatch's n response tokens, ties by place, means
    over those. At the first optimiser step ℓ is rounding, and its sign decides the gradient ±β. verl's
    default β is 0.1, and 1 where it is not set.
    Source: Cui et al. 2025, arXiv:2505.22617; verl core_algos.py, commit b178a3cd.
    """

    batch_statistic = True
    share: float = hyper(default=0.0002, above=0, at_most=1, search=(0.0002, 0.2), log=True)
    weight: float = hyper(default=0.1, at_least=0, search=(0.01, 1.0), log=True)
    neutral = {"weight": 0.0}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        mask, log_prob = minibatch.mask, new.log_prob.detach()
        covariance = (advantage - masked_mean(advantage, mask)) * (
            log_prob - masked_mean(log_prob, mask)
        )
        order = torch.where(mask, covariance, -inf).flatten().argsort(descending=True, stable=True)
        rank = order.argsort().view_as(mask)
        count = (self.share * mask.sum().double()).floor().clamp(min=1)
        penalty = torch.where(mask & (rank < count), self.weight * log_ratio.abs(), 0.0)
        return penalty - advantage * log_ratio.exp()
