"""Every response's sum divided by one constant: Dr. GRPO."""

import torch
from torch import Tensor

from workbench.trick import Aggregation, hyper


class ConstantLength(Aggregation):
    """Divide the sum of the loss over a response's tokens by a constant, whatever its length.

        L = 1/(B L) Σ_b Σ_t m_bt L_bt

    Variant: `sequence_sum` divided by L, so long responses weigh more, and the weight of a token does
    not depend on the minibatch. L is the cap on response tokens in Dr. GRPO and TRL's dr_grpo; set it to
    that of the run, as the trick does not see it.
    Source: Liu et al. 2025, arXiv:2503.20783; TRL grpo_trainer.py, commit f2cd5771.
    """

    batch_statistic = True
    tokens: int = hyper(default=128, at_least=1)

    def __call__(self, loss: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, loss, 0.0).sum() / (mask.shape[0] * self.tokens)
