"""Importance sampling against the reference policy: the paper's ablation of that name."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class ReferenceRatio(PolicyLoss):
    """Take the policy ratio against the reference policy instead of the rollout policy.

        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t)          ρ_t = π(y_t) / π_ref(y_t)

    Variant: what the paper calls importance sampling, as if the buffer were infinite and filled by
    the reference. The paper's code has no such option; its other reading, no ratio at all, is
    `policy_gradient`.
    Source: detail 2 of arXiv:2307.04964, §5.3.2 and Figure 7.
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    neutral = {"clip_range": inf}

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        ratio = (new.log_prob - minibatch.ref_log_prob).exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        return -torch.minimum(ratio * advantage, clipped * advantage)
