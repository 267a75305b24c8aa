"""KL to the reference policy in the loss."""

import torch
from torch import Tensor

from workbench.maths import KL_ESTIMATORS, kl_estimate, masked_mean
from workbench.trick import Regulariser, hyper
from workbench.types import Evaluation, Rollout


class KlLoss(Regulariser):
    """Add an estimate of the KL divergence from the reference policy, with its gradient.

        L = β · mean_t k̂(log π(y_t) − log π_ref(y_t))

    Variant: tokens are samples of π_old, not of π, with no ratio; mean over response tokens of the
    minibatch. The gradient of k2 is that of KL(π ‖ π_ref) at the first optimiser step; that of k3 is
    KL(π_ref ‖ π)'s, and that of k1 is 0 in expectation. verl's k3+ and the like are meant to have k2's
    gradient whatever their value, so they are k2 here; at this commit verl raises for them. β is 0.001
    in verl with k3; off by default in verl, OpenRLHF and TRL. The ±10 of OpenRLHF and verl's ±20 on
    log-ratios are left out. In verl and OpenRLHF it takes the place of the KL penalty in the reward.
    Source: Shao et al. 2024, arXiv:2402.03300; verl core_algos.py, commit b178a3cd.
    """

    group = "kl_loss"
    weight: float = hyper(default=0.001, at_least=0, search=(1e-4, 1.0), log=True)
    estimator: str = hyper(default="k3", choices=KL_ESTIMATORS)
    neutral = {"weight": 0.0}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        log_ratio = torch.where(minibatch.mask, new.log_prob - minibatch.ref_log_prob, 0.0)
        return self.weight * masked_mean(kl_estimate(log_ratio, self.estimator), minibatch.mask)
