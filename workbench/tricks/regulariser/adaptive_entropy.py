"""Entropy bonus whose weight follows a target."""

import torch
from torch import Tensor

from workbench.maths import RunningNumber, masked_mean
from workbench.trick import Regulariser, hyper, state
from workbench.types import Evaluation, Rollout


class AdaptiveEntropy(Regulariser):
    """Raise the weight of the entropy bonus while the entropy is below a target, else lower it.

        c ← clip(c + Δ, low, high) where H_old ≤ H*, clip(c − Δ, low, high) elsewhere
        L = −c · mean_t H(π(·|s_t)) where H_old ≤ H*, 0 elsewhere

    Variant: H_old is the mean over the rollout's tokens, H over those of the minibatch, in nats. c
    starts at 0 and moves once per rollout, before that is learned from; TRL moves it after every
    optimiser step. H* is 0.2 in the source and in TRL, whose docs say that this almost never triggers.
    Source: He et al. 2025, arXiv:2505.22312; TRL grpo_trainer.py, commit f2cd5771.
    """

    group = "entropy"
    needs = frozenset({"entropy"})
    step: float = hyper(default=0.005, at_least=0, search=(5e-4, 0.05), log=True)
    target: float = hyper(default=1.0, at_least=0, search=(0.1, 3.0))
    low: float = hyper(default=0.0, at_least=0, search=(0.0, 0.02))
    high: float = hyper(default=1.0, at_least=0, search=(0.001, 1.0), log=True)
    neutral = {"step": 0.0}
    weight: RunningNumber = state(RunningNumber)
    entropy: RunningNumber = state(RunningNumber)

    def observe(self, rollout: Rollout) -> None:
        self.entropy.value = masked_mean(rollout.entropy, rollout.mask).double()
        sign = 2 * (self.entropy.value <= self.target).double() - 1
        self.weight.value = (self.weight.value + self.step * sign).clamp(self.low, self.high)

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        weight = torch.where(self.entropy.value <= self.target, self.weight.value, 0.0)
        return -weight.to(new.entropy) * masked_mean(new.entropy, minibatch.mask)
