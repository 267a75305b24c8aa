"""The squared value error: the textbook."""

from torch import Tensor

from workbench.trick import ValueLoss
from workbench.types import Rollout


class ValueMse(ValueLoss):
    """Half the squared distance from the value to its target.

        L_t = ½ (V_t − R_t)²

    Variant: per token, with the ½ of PPO2; the target is `returns`, un-normalised.
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 9.
    """

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        return 0.5 * (value - minibatch.returns) ** 2
