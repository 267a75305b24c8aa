"""The coefficient of the critic's loss."""

from torch import Tensor

from workbench.trick import ValueWeight, hyper
from workbench.types import Rollout


class ValueCoefficient(ValueWeight):
    """Multiply the critic's loss by a constant.

        w_t = c

    Variant: on ½ (V − R)². c is 0.1 in TRL, N+ and OpenAI's code, 1 in MOSS-RLHF and trlX, 0.5 in the
    37 details; RL4LMs has 0.5 without the ½, which is 1 here. Under Adam a constant factor cancels for a
    critic of its own, where c acts through a gradient clip and ε only; with `shared_trunk` it weighs
    the critic against the policy. OpenRLHF, verl and DeepSpeed-Chat have no c.
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 9; TRL ppo_config.py, commit f2cd5771.
    """

    coefficient: float = hyper(default=0.1, at_least=0, search=(0.05, 2.0), log=True)
    neutral = {"coefficient": 1.0}

    def __call__(self, minibatch: Rollout) -> Tensor:
        return self.coefficient * minibatch.mask.to(minibatch.value.dtype)
