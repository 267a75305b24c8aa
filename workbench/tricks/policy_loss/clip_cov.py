"""No gradient for tokens that would cost the most entropy: Clip-Cov."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class ClipCov(PolicyLoss):
    """Drop tokens whose log-probability and advantage are high, or low, together.

        c_t = (Â_t − mean Â) (log π(y_t) − mean log π)
        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t), but 0 for k tokens with low < c_t < high

    Variant: k = max(1, ⌊share · n⌋) of the minibatch's n response tokens, means over those. The paper
    and verl draw the k at random; we take those of the highest c_t, ties by place, so that a run can
    be repeated. Tokens that the clip has already stopped are not chosen. A dropped token still counts
    in the aggregation. verl's bounds are 1 and 5; as the highest come first, low matters only in a
    minibatch that has none above 1.
    Source: Cui et al. 2025, arXiv:2505.22617; verl core_algos.py, commit b178a3cd.
    """

    batch_statistic = True
    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    share: float = hyper(default=0.0002, above=0, at_most=1, search=(0.0002, 0.2), log=True)
    low: float = hyper(default=0.1, at_least=0, search=(0.1, 2.0), log=True)
    high: float = hyper(default=5.0, above=0, search=(1.0, 10.0), log=True)
    neutral = {"clip_range": inf, "low": inf}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        mask, ratio = minibatch.mask, log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        loss, stopped = -ratio * advantage, -clipped * advantage
        log_prob = new.log_prob.detach()
        covariance = (advantage - masked_mean(advantage, mask)) * (
            log_prob - masked_mean(log_prob, mask)
        )
        may_drop = mask & (stopped <= loss) & (covariance > self.low) & (covariance < self.high)
        order = torch.where(may_drop, covariance, -inf).flatten().argsort(descending=True, stable=True)
        rank = order.argsort().view_as(mask)
        count = (self.share * mask.sum().double()).floor().clamp(min=1)
        return torch.where(may_drop & (rank < count), 0.0, torch.maximum(loss, stopped))
