"""Centred total rewards, scaled up for the groups that say nothing."""

from torch import Tensor

from workbench.maths import at_every_token, group_max, group_mean, response_sum
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class Gpg(AdvantageEstimator):
    """Centre the total reward within its group and make up for groups in which all are equal.

        Â_i = α (R_i − μ_g)/f          α = B/#{i: the rewards of i's group differ}          R_i = Σ_t r_t

    Variant: α as in the paper, B/(B − M) with M the responses of groups without a gradient; verl divides
    B by the number of responses whose total reward is not 0, so that wrong answers count as silent ones
    and failed groups as speaking ones: not copied. α = 1 where no two scores are equal, as with most
    reward models, and the trick is then `dr_grpo`. f is a constant. No critic.
    Source: GPG, arXiv:2504.02546; verl core_algos.py at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True
    normaliser: float = hyper(default=1.0, above=0)

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        spread = group_max(total, rollout.group) + group_max(-total, rollout.group)
        speaking = (spread > 0).to(total.dtype).sum().clamp(min=1)
        scale = len(total) / speaking / self.normaliser
        deviation = total - group_mean(total, rollout.group)
        return (
            at_every_token(scale * deviation, rollout.mask),
            at_every_token(total, rollout.mask),
        )
