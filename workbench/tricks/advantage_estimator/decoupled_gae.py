"""GAE with one trace for the policy and another for the critic."""

import torch
from torch import Tensor

from workbench.maths import discounted_sum, td_error
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class DecoupledGae(AdvantageEstimator):
    """Estimate the policy's advantages and the critic's targets with different traces.

        δ_t = r_t + γ V_{t+1} − V_t
        Â_t = Σ_l (γλ_π)^l δ_{t+l}          R_t = V_t + Σ_l (γλ_V)^l δ_{t+l}

    Variant: λ_V = 1 makes the critic's target the plain return, which no value enters; λ_π = λ_V is
    `gae`. V after the last token is 0. None of the systems surveyed has it.
    Source: VC-PPO, arXiv:2503.01491, with λ_π = 0.95 and λ_V = 1; VAPO, arXiv:2504.05118.
    """

    needs = frozenset({"value"})
    trace_policy: float = hyper(default=0.95, at_least=0, at_most=1, search=(0.0, 1.0))
    trace_value: float = hyper(default=1.0, at_least=0, at_most=1, search=(0.0, 1.0))
    discount: float = hyper(default=1.0, at_least=0, at_most=1)
    neutral = {"trace_policy": 1.0, "trace_value": 1.0, "discount": 1.0}

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        value = torch.where(rollout.mask, rollout.value, 0.0)
        delta = td_error(rollout.reward, value, rollout.mask, self.discount)
        advantage = discounted_sum(delta, self.discount * self.trace_policy)
        returns = value + discounted_sum(delta, self.discount * self.trace_value)
        return torch.where(rollout.mask, advantage, 0.0), torch.where(rollout.mask, returns, 0.0)
