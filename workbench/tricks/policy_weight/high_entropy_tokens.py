"""Learning from the tokens at which the policy is undecided."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import PolicyWeight, hyper
from workbench.types import Evaluation, Rollout


class HighEntropyTokens(PolicyWeight):
    """Keep the tokens of the highest entropy.

        w_t = [H_t ≥ q]          q = the (1 − share)-quantile of H over the minibatch's response tokens

    Variant: the quantile interpolates linearly, as torch.quantile; ties at q are all kept. π's entropy
    now, not that of the rollout. Dropped tokens still count in the aggregation, as in TRL. The paper
    keeps 0.2, TRL keeps all by default.
    Source: Wang et al. 2025, arXiv:2506.01939; TRL grpo_trainer.py, commit f2cd5771.
    """

    needs = frozenset({"entropy"})
    batch_statistic = True
    share: float = hyper(default=0.2, above=0, at_most=1, search=(0.05, 1.0), log=True)
    neutral = {"share": 1.0}

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        mask, entropy = minibatch.mask, new.entropy.detach()
        ordered = torch.where(mask, entropy, inf).flatten().sort().values
        place = (1 - self.share) * (mask.sum() - 1).clamp(min=0).to(entropy.dtype)
        below, above = (ordered.gather(0, at.long()[None])[0] for at in (place.floor(), place.ceil()))
        threshold = torch.lerp(below, above, place - place.floor())
        return (mask & (entropy >= threshold)).to(entropy.dtype)
