"""The plain reward-to-go: no baseline, no critic."""

import torch
from torch import Tensor

from workbench.maths import discounted_sum
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class Reinforce(AdvantageEstimator):
    """Take the discounted rewards from a token on as its advantage.

        Â_t = Σ_{s ≥ t} γ^{s−t} r_s

    Variant: equals `monte_carlo` with a critic that says 0. Token penalties count from their token on.
    REINFORCE++ is this with `rollout_advantage_norm`; verl normalises inside the estimator.
    Source: Williams 1992; REINFORCE++, arXiv:2501.03262; OpenRLHF `reinforce` at commit 3c3be623; verl
    `reinforce_plus_plus` at commit b178a3cd.
    """

    discount: float = hyper(default=1.0, at_least=0, at_most=1)

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        reward = torch.where(rollout.mask, rollout.reward, 0.0)
        returns = torch.where(rollout.mask, discounted_sum(reward, self.discount), 0.0)
        return returns, returns
