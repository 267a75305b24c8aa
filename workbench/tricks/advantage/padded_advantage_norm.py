"""Advantage normalisation with padding in the statistics."""

import torch
from torch import Tensor

from workbench.trick import AdvantageTransform, hyper


class PaddedAdvantageNorm(AdvantageTransform):
    """Normalise the advantages of a minibatch by mean and variance over its padded rectangle.

        Ã = (Â − mean) / √(var + ε)          mean, var over all B·T places, padding counted as 0

    Variant: as trlX has it, most likely by oversight: the more padding, the closer the mean to 0 and the
    smaller the variance, so short responses get larger advantages the longer the longest one is.
    Unbiased, as in a single process; biased in trlX's distributed form. 0 at padding, which trlX leaves
    at −mean/σ and masks in the loss. `advantage_norm` leaves padding out.
    Source: trlX modeling.py `whiten` at commit 3340c2f3.
    """

    group = "advantage_norm"
    batch_statistic = True
    epsilon: float = hyper(default=1e-8, above=0)

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        padded = torch.where(mask, advantage, 0.0)
        deviation = padded - padded.mean()
        variance = (deviation**2).sum() / max(padded.numel() - 1, 1)
        return torch.where(mask, deviation * (variance + self.epsilon).rsqrt(), 0.0)
