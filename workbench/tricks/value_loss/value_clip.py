"""Value-function loss clipping, in PPO2's max form."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import ValueLoss, hyper
from workbench.types import Rollout


class ValueClip(ValueLoss):
    """Take the worse of the clipped and the unclipped squared value error.

        L_t = ½ max[(V − R)², (V_old + clip(V − V_old, −ε, ε) − R)²]

    Variant: the max of PPO2, so the gradient vanishes only where the step overshoots the range;
    ε is in units of the score.
    Source: OpenAI baselines PPO2; detail 7 of arXiv:2307.04964; MOSS-RLHF, commit 4865d826.
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 1.0), log=True)
    neutral = {"clip_range": inf}

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        step = (value - minibatch.value).clamp(-self.clip_range, self.clip_range)
        clipped = minibatch.value + step
        target = minibatch.returns
        return 0.5 * torch.maximum((value - target) ** 2, (clipped - target) ** 2)
