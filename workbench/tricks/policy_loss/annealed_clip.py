"""A clip range that narrows over training."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import RunningNumber
from workbench.trick import PolicyLoss, hyper, state
from workbench.types import Evaluation, Rollout


class AnnealedClip(PolicyLoss):
    """Narrow the clip range linearly with the rollouts.

        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε_k, 1 + ε_k) Â_t)
        ε_k = ε (1 − (1 − f) min(k / N, 1))

    Variant: k counts rollouts and is 1 at the first; ε_k stays at f ε from the N-th on. Baselines
    anneals to f = 0 over the run, where a step no longer learns anything; the 37 details list it as
    situational, RL4LMs accepts any schedule.
    Source: OpenAI baselines PPO2; RL4LMs ppo.py, commit 97df0bd2.
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    final_share: float = hyper(default=0.1, at_least=0, at_most=1, search=(0.0, 1.0))
    rollouts: int = hyper(default=100, at_least=1, search=(10, 1000), log=True)
    neutral = {"clip_range": inf}
    seen: RunningNumber = state(RunningNumber)

    def observe(self, rollout: Rollout) -> None:
        self.seen.value = self.seen.value + 1

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        done = (self.seen.value / self.rollouts).clamp(max=1).to(log_ratio)
        clip_range = self.clip_range * (1 - (1 - self.final_share) * done)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        return -torch.minimum(ratio * advantage, clipped * advantage)
