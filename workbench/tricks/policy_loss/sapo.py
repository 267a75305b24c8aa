"""A soft gate in place of the clip: SAPO."""

import torch
from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class Sapo(PolicyLoss):
    """Fade a token's gradient out as its ratio leaves 1, on either side.

        L_t = −(4/τ) σ(τ (ρ_t − 1)) Â_t          τ = τ₊ where Â_t > 0, τ₋ elsewhere

    Variant: per token. The loss is −2Â/τ at ρ = 1, but its slope in ρ there is −Â, that of
    `unclipped_surrogate`; the slope falls off as sech²(τ (ρ − 1)/2). A larger τ₋ fades out bad tokens
    sooner. verl aggregates by `sequence_mean`, and clamps the log-ratio, which is `log_ratio_clamp`.
    Source: Gao et al. 2025, arXiv:2511.20347; verl core_algos.py, commit b178a3cd.
    """

    temperature_positive: float = hyper(default=1.0, above=0, search=(0.3, 10.0), log=True)
    temperature_negative: float = hyper(default=1.05, above=0, search=(0.3, 10.0), log=True)

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        good = torch.full_like(log_ratio, self.temperature_positive)
        steep = torch.where(advantage > 0, good, self.temperature_negative)
        return -4 / steep * torch.sigmoid(steep * (log_ratio.exp() - 1)) * advantage
