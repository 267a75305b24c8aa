"""A group baseline weighted by the responses' lengths."""

from torch import Tensor

from workbench.maths import at_every_token, group_sum, response_sum
from workbench.trick import AdvantageEstimator
from workbench.types import Rollout


class Opo(AdvantageEstimator):
    """Subtract the length-weighted mean total reward of the responses to the same prompt.

        Â_i = R_i − Σ_j |y_j| R_j/Σ_j |y_j|          R_i = Σ_t r_t

    Variant: the baseline of least variance if a response's squared gradient norm grows with its length
    and tokens are independent; the response itself is in it. With equal lengths it is `dr_grpo`. Meant
    for one exactly on-policy step per rollout. No critic. With G = 1 it is 0; verl leaves the total
    reward.
    Source: OPO, arXiv:2505.23585; verl core_algos.py at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        length = rollout.mask.sum(1).to(total.dtype)
        weighted = group_sum(length * total, rollout.group)
        baseline = weighted / group_sum(length, rollout.group).clamp(min=1)
        returns = at_every_token(total, rollout.mask)
        return returns - at_every_token(baseline, rollout.mask), returns
