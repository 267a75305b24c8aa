"""Importance weights for what was sampled from, 0 outside bounds: IcePop."""

import torch
from torch import Tensor

from workbench.trick import PolicyWeight, hyper
from workbench.types import Evaluation, Rollout


class Icepop(PolicyWeight):
    """Weigh tokens by the importance ratio to what drew them, and drop those outside bounds.

        w_t = ρ_t where low ≤ ρ_t ≤ high, 0 elsewhere          ρ_t = π_old(y_t) / μ_old(y_t)

    Variant: per token; dropped where `truncated_importance_sampling` truncates. Bounds 0.5 and 5 in
    OpenRLHF; the paper has 0.5 and 5 for its mixture-of-experts model.
    Source: Ling team 2025, arXiv:2510.18855; OpenRLHF loss.py, commit 3c3be623.
    """

    group = "importance_weight"
    excludes = ("behaviour_ratio",)
    low: float = hyper(default=0.5, at_least=0, search=(0.0, 0.9))
    high: float = hyper(default=5.0, above=0, search=(1.1, 10.0), log=True)

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        ratio = (minibatch.log_prob - minibatch.behaviour_log_prob).exp()
        is_inside = minibatch.mask & (ratio >= self.low) & (ratio <= self.high)
        return torch.where(is_inside, ratio, 0.0)
