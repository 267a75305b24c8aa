"""REINFORCE with a leave-one-out baseline."""

import torch
from torch import Tensor

from workbench.maths import at_every_token, group_sum, response_sum
from workbench.trick import AdvantageEstimator
from workbench.types import Rollout


class Rloo(AdvantageEstimator):
    """Subtract the mean total reward of the other responses to the same prompt.

        Â_i = R_i − Σ_{j≠i} R_j/(G − 1)          R_i = Σ_t r_t

    Variant: unbiased, as the baseline does not contain the response itself. R includes token penalties,
    as in TRL and verl; OpenRLHF takes the baseline of the raw score and adds the penalties per token
    afterwards. One number for every token, no critic. With G = 1 the baseline is an empty sum, 0, so
    the total reward is left, as in verl's `rloo`; its `rloo_vectorized` gives 0, TRL and OpenRLHF
    demand G ≥ 2.
    Source: Ahmadian et al. 2024, arXiv:2402.14740; verl core_algos.py at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        others = group_sum(torch.ones_like(total), rollout.group) - 1
        baseline = (group_sum(total, rollout.group) - total) / others.clamp(min=1)
        returns = at_every_token(total, rollout.mask)
        return returns - at_every_token(baseline, rollout.mask), returns
