"""Every token counts the same: the textbook."""

from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import Aggregation


class TokenMean(Aggregation):
    """Average the loss over the response tokens of the minibatch.

        L = Σ_b Σ_t m_bt L_bt / Σ_b Σ_t m_bt

    Variant: one mean over the minibatch, so long responses weigh more.
    Source: MOSS-RLHF ppo_trainer.py, commit 4865d826.
    """

    batch_statistic = True

    def __call__(self, loss: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(loss, mask)
