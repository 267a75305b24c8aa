"""Total rewards centred within the group."""

from torch import Tensor

from workbench.maths import at_every_token, group_mean, response_sum
from workbench.trick import AdvantageEstimator
from workbench.types import Rollout


class DrGrpo(AdvantageEstimator):
    """Subtract the mean total reward of the responses to the same prompt.

        Â_i = R_i − μ_g          R_i = Σ_t r_t

    Variant: `grpo` without the division by σ, which favours prompts that are very easy or very hard. The
    response's own reward is in the mean, so it equals `rloo` times (G − 1)/G. R includes token
    penalties; OpenRLHF centres the raw score and adds them afterwards. The other half of Dr. GRPO, a
    constant instead of the response's length in the loss, is an aggregation. No critic. With G = 1 it
    is 0; verl leaves the total reward.
    Source: Liu et al. 2025, arXiv:2503.20783; verl core_algos.py at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        baseline = group_mean(total, rollout.group)
        returns = at_every_token(total, rollout.mask)
        return returns - at_every_token(baseline, rollout.mask), returns
