"""Total rewards standardised within the group."""

from torch import Tensor

from workbench.maths import at_every_token, group_mean, group_variance, response_sum
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class Grpo(AdvantageEstimator):
    """Standardise the total reward among the responses to the same prompt.

        Â_i = (R_i − μ_g)/(σ_g + ε)          R_i = Σ_t r_t

    Variant: σ is unbiased and ε outside the root: 1e-6 as in verl, 1e-9 in OpenRLHF, 1e-4 in TRL. R
    includes token penalties, as in verl; OpenRLHF standardises the raw score and adds them afterwards,
    GRPO itself has them in the loss. Outcome supervision: one number for every token, no critic. With
    G = 1 it is 0; verl leaves the total reward (μ = 0, σ = 1).
    Source: Shao et al. 2024, arXiv:2402.03300, §4.1.2; verl core_algos.py at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True
    epsilon: float = hyper(default=1e-6, above=0)

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        deviation = total - group_mean(total, rollout.group)
        std = group_variance(total, rollout.group, unbiased=True).sqrt()
        returns = at_every_token(total, rollout.mask)
        return at_every_token(deviation / (std + self.epsilon), rollout.mask), returns
