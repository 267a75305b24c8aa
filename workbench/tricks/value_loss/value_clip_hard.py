"""Value-function loss clipping without the max."""

from math import inf

from torch import Tensor

from workbench.trick import ValueLoss, hyper
from workbench.types import Rollout


class ValueClipHard(ValueLoss):
    """Take the squared error of the value clipped around the rollout's value.

        L_t = ½ (V_old + clip(V − V_old, −ε, ε) − R)²

    Variant: no max, so a value outside the range has no gradient, also where its error grew;
    `value_clip` keeps that one. The ½ is ours: Stable-Baselines3 and RL4LMs have none, and leave the
    clip off by default. ε is in units of the score.
    Source: RL4LMs ppo.py, commit 97df0bd2, after Stable-Baselines3 (`clip_range_vf`).
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 1.0), log=True)
    neutral = {"clip_range": inf}

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        step = (value - minibatch.value).clamp(-self.clip_range, self.clip_range)
        return 0.5 * (minibatch.value + step - minibatch.returns) ** 2
