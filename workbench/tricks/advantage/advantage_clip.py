"""Advantage clipping."""

from math import inf

from torch import Tensor

from workbench.trick import AdvantageTransform, hyper


class AdvantageClip(AdvantageTransform):
    """Clip advantages to a symmetric interval.

        Ã = clip(Â, −δ, δ)

    Variant: per token, after the normalisation of the minibatch, whichever it is.
    Source: detail 6 of arXiv:2307.04964, §5.3.1, with δ = 0.12 and 0.5.
    """

    after = ("advantage_norm",)
    max_abs: float = hyper(default=0.5, above=0, search=(0.05, 5.0), log=True)
    neutral = {"max_abs": inf}

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        return advantage.clamp(-self.max_abs, self.max_abs)
