"""A cap on what a bad token may cost: dual clip."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class DualClip(PolicyLoss):
    """Stop punishing a bad token once its ratio has passed a cap.

        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t)
        L̃_t = min(L_t, −c Â_t) where Â_t < 0, L_t elsewhere

    Variant: the plain clip leaves the branch Â < 0 unbounded as ρ grows; here it is flat beyond ρ = c.
    c = 3 always on in verl, off in OpenRLHF; TRL's two-sided clip, min(ρ, δ) in the first branch, is
    the same at δ = c > 1 + ε.
    Source: Ye et al. 2019, arXiv:1912.09729; verl core_algos.py, commit b178a3cd.
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    ratio_cap: float = hyper(default=3.0, above=1, search=(1.5, 10.0), log=True)
    neutral = {"clip_range": inf, "ratio_cap": inf}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        loss = -torch.minimum(ratio * advantage, clipped * advantage)
        highest = torch.where(advantage < 0, -self.ratio_cap * advantage, inf)
        return torch.minimum(loss, highest)
