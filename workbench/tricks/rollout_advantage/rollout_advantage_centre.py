"""Advantages centred over the whole rollout, their scale kept."""

import torch
from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import RolloutAdvantageTransform
from workbench.types import Rollout


class RolloutAdvantageCentre(RolloutAdvantageTransform):
    """Subtract the mean advantage of the rollout.

        Ã = Â − mean

    Variant: over all response tokens of the rollout, so long responses weigh more in the mean; the scale
    stays that of the score. OpenRLHF divides by the deviation too unless told not to.
    Source: OpenRLHF experience_maker.py at commit 3c3be623, `no_std_norm`.
    """

    group = "advantage_norm"
    batch_statistic = True

    def __call__(self, advantage: Tensor, rollout: Rollout) -> Tensor:
        centred = advantage - masked_mean(advantage, rollout.mask)
        return torch.where(rollout.mask, centred, 0.0)
