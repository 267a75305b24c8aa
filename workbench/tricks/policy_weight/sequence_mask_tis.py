"""Importance weights for what was sampled from, in responses that stay within bounds."""

import torch
from torch import Tensor

from workbench.maths import response_mean
from workbench.trick import PolicyWeight, hyper
from workbench.types import Evaluation, Rollout


class SequenceMaskTis(PolicyWeight):
    """Weigh tokens by the importance ratio to what drew them, and drop responses outside bounds.

        w_t = ρ_t where low ≤ (Π_s ρ_s)^{1/|y|} ≤ high, 0 elsewhere      ρ_t = π_old(y_t) / μ_old(y_t)

    Variant: the bounds are on the geometric mean of a response's ratios; the tokens' weights inside are
    not truncated. Bounds 0.5 and 5 in OpenRLHF, which calls it seq-mask-tis.
    Source: OpenRLHF loss.py, commit 3c3be623.
    """

    group = "importance_weight"
    excludes = ("behaviour_ratio",)
    low: float = hyper(default=0.5, at_least=0, search=(0.0, 0.9))
    high: float = hyper(default=5.0, above=0, search=(1.1, 10.0), log=True)

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        mask = minibatch.mask
        log_ratio = torch.where(mask, minibatch.log_prob - minibatch.behaviour_log_prob, 0.0)
        mean = response_mean(log_ratio, mask).exp()
        is_inside = (mean >= self.low) & (mean <= self.high)
        return torch.where(mask & is_inside[:, None], log_ratio.exp(), 0.0)
