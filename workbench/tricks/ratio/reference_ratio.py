"""Importance sampling against the reference policy: the paper's ablation of that name."""

import torch
from torch import Tensor

from workbench.trick import RatioTransform
from workbench.types import Evaluation, Rollout


class ReferenceRatio(RatioTransform):
    """Take the policy ratio against the reference policy instead of the rollout policy.

        ℓ_t = log π(y_t) − log π_ref(y_t)

    Variant: what the paper calls importance sampling, as if the buffer were infinite and filled by
    the reference. The paper's code has no such option; its other reading, no ratio at all, is
    `policy_gradient`. The clip is that of the policy's loss.
    Source: detail 2 of arXiv:2307.04964, §5.3.2 and Figure 7.
    """

    group = "ratio_base"

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        return torch.where(minibatch.mask, new.log_prob - minibatch.ref_log_prob, 0.0)
