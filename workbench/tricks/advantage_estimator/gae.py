"""Generalised advantage estimation: the textbook."""

import torch
from torch import Tensor

from workbench.maths import discounted_sum, td_error
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class Gae(AdvantageEstimator):
    """Estimate advantages by an exponentially weighted sum of temporal-difference errors.

        δ_t = r_t + γ V_{t+1} − V_t          Â_t = Σ_l (γλ)^l δ_{t+l}          R_t = Â_t + V_t

    Variant: V after the last token is 0, also for a response cut at the cap; returns are the
    un-normalised TD(λ) target. Computed as one matrix product over the tokens, no loop.
    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16; detail 10 of arXiv:2307.04964, where the
    paper uses λ = 0.9 and its released code 0.95.
    """

    needs = frozenset({"value"})
    trace: float = hyper(default=0.95, at_least=0, at_most=1, search=(0.0, 1.0))
    discount: float = hyper(default=1.0, at_least=0, at_most=1)
    neutral = {"trace": 1.0, "discount": 1.0}

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        value = torch.where(rollout.mask, rollout.value, 0.0)
        delta = td_error(rollout.reward, value, rollout.mask, self.discount)
        advantage = discounted_sum(delta, self.discount * self.trace)
        advantage = torch.where(rollout.mask, advantage, 0.0)
        return advantage, advantage + value
