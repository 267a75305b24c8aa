"""Normalisation of the critic's output as if it were a score."""

import torch
from torch import Tensor

from workbench.maths import RunningMoments
from workbench.trick import ValueTransform, hyper, state
from workbench.types import Rollout


class ValueOutputNorm(ValueTransform):
    """Normalise the critic's output by the mean and deviation of the scores.

        V = (v − μ) / (σ + ε)          v the critic's output

    Variant: for a critic that starts as the reward model, v is a raw score: V fits rewards that
    `reward_norm` normalises. μ and σ (unbiased) run over all scores of this run; OpenRLHF has fixed
    ones, stored with the reward model, and uses them for the rewards too.
    Source: OpenRLHF models/model.py, commit 3c3be623 (`normalize_enable`).
    """

    group = "value_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: RunningMoments = state(RunningMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, value: Tensor, mask: Tensor) -> Tensor:
        mean, std = self.moments.mean, self.moments.std + self.epsilon
        return torch.where(mask, (value - mean.to(value.dtype)) / std.to(value.dtype), 0.0)
