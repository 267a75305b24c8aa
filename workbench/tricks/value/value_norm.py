"""Value normalisation: the critic's output in units of the scores' deviation."""

import torch
from torch import Tensor

from workbench.maths import RunningMoments
from workbench.trick import ValueTransform, state
from workbench.types import Rollout


class ValueNorm(ValueTransform):
    """Let the critic predict values in deviations of the score from its mean.

        V = μ + σ v          v the critic's output

    Variant: μ and σ (unbiased) run over all scores of this run, before any reparameterisation of them;
    not to be combined with one that removes their mean or scale. The loss stays in units of the score:
    its gradient in v is σ times what it was. PopArt and Andrychowicz et al. take the moments of the
    returns and the loss in normalised units; PopArt also corrects the last layer when the moments move,
    so that values stay: here they move along.
    Source: van Hasselt et al. 2016, arXiv:1602.07714; Andrychowicz et al. 2020, arXiv:2006.05990, §3.3.
    """

    group = "value_normaliser"
    moments: RunningMoments = state(RunningMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, value: Tensor, mask: Tensor) -> Tensor:
        mean, std = self.moments.mean.to(value.dtype), self.moments.std.to(value.dtype)
        return torch.where(mask, mean + std * value, 0.0)
