"""The Huber value error."""

from math import inf

from torch import Tensor

from workbench.trick import ValueLoss, hyper
from workbench.types import Rollout


class ValueHuber(ValueLoss):
    """Let the squared value error grow only linearly from a threshold on.

        L_t = ½ e² if |e| ≤ δ else δ |e| − ½ δ²          e = V_t − R_t

    Variant: with the ½ of `value_mse`, which it equals for small errors; the gradient in V is
    clip(e, −δ, δ). δ is in units of the score. No surveyed RLHF system has it; Andrychowicz et al.
    found it worse than the squared error in control tasks.
    Source: Andrychowicz et al. 2020, arXiv:2006.05990, §3.4.
    """

    delta: float = hyper(default=1.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"delta": inf}

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        error = (value - minibatch.returns).abs()
        quadratic = error.clamp(max=self.delta)
        return quadratic * (error - 0.5 * quadratic)
