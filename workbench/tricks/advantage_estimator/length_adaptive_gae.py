"""GAE whose trace grows with the response's length."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import discounted_sum, td_error
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class LengthAdaptiveGae(AdvantageEstimator):
    """Choose the policy's trace so that errors reach back over a fixed fraction of the response.

        λ_i = max(1 − 1/(α|y_i|), 0)          Â_t = Σ_l (γλ_i)^l δ_{t+l}          R_t = Σ_l γ^l r_{t+l}

    Variant: Σ_l λ_i^l = α|y_i|, so α is the horizon as a fraction of the length. The critic's target is
    the plain return, λ_V = 1. Below |y| = 1/α tokens the published λ is negative; here it is 0, which is
    every response of up to 20 tokens at the published α = 0.05: raise α for short responses.
    Source: VAPO, arXiv:2504.05118, §4.2, with α = 0.05 and responses of thousands of tokens.
    """

    needs = frozenset({"value"})
    horizon_fraction: float = hyper(default=0.05, above=0, search=(0.05, 10.0), log=True)
    discount: float = hyper(default=1.0, at_least=0, at_most=1)
    neutral = {"horizon_fraction": inf, "discount": 1.0}

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        mask = rollout.mask
        value = torch.where(mask, rollout.value, 0.0)
        delta = td_error(rollout.reward, value, mask, self.discount)
        length = mask.sum(1).clamp(min=1).to(value.dtype)
        decay = self.discount * (1 - 1 / (self.horizon_fraction * length)).clamp(min=0)
        step = torch.arange(mask.shape[1], device=mask.device)
        ahead = step[:, None] - step[None, :]
        weight = decay[:, None, None] ** ahead.clamp(min=0).to(value.dtype)
        advantage = (delta[:, None, :] @ torch.where(ahead >= 0, weight, 0.0))[:, 0]
        returns = discounted_sum(torch.where(mask, rollout.reward, 0.0), self.discount)
        return torch.where(mask, advantage, 0.0), torch.where(mask, returns, 0.0)
