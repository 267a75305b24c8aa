"""Log-ratios kept within bounds before they are exponentiated."""

from math import inf

from torch import Tensor

from workbench.trick import RatioTransform, hyper
from workbench.types import Evaluation, Rollout


class LogRatioClamp(RatioTransform):
    """Clamp the log-ratio, so that its exponential cannot overflow.

        ℓ̃_t = clip(ℓ_t, −c, c)

    Variant: last in its slot, right before exp; the gradient is 0 outside the bounds. OpenRLHF and
    verl clamp at 20, verl's GSPO from above at 10; TRL, trlX, MOSS-RLHF and lm-human-preferences do
    not clamp.
    Source: verl core_algos.py, commit b178a3cd; OpenRLHF loss.py, commit 3c3be623.
    """

    after = ("ratio_base", "ratio_level")
    max_abs: float = hyper(default=20.0, above=0, search=(0.5, 20.0), log=True)
    neutral = {"max_abs": inf}

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        return log_ratio.clamp(-self.max_abs, self.max_abs)
