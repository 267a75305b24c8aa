"""Entropy bonus."""

from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import Regulariser, hyper
from workbench.types import Evaluation, Rollout


class EntropyBonus(Regulariser):
    """Reward the policy for its entropy.

        L = −c · mean_t H(π(·|s_t))

    Variant: exact entropy over the vocabulary, mean over response tokens of the minibatch; unbounded.
    `entropy_clip` is the bounded form of the paper's code.
    Source: Mnih et al. 2016, arXiv:1602.01783; detail 3 of arXiv:2307.04964, §5.3.2.
    """

    group = "entropy"
    needs = frozenset({"entropy"})
    weight: float = hyper(default=0.01, at_least=0, search=(1e-4, 0.1), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return -self.weight * masked_mean(new.entropy, minibatch.mask)
