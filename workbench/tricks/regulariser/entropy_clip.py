"""Entropy term pulled to a target: the paper's clipped entropy bonus, as its code has it."""

from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import Regulariser, hyper
from workbench.types import Evaluation, Rollout


class EntropyClip(Regulariser):
    """Pull the mean entropy towards a target.

        L = c · |mean_t H(π(·|s_t)) − δ|

    Variant: δ in nats per token. The released δ of 30 and 35 exceed ln|V| = 10.4, so there the term
    never bends and equals `entropy_bonus` up to a constant; a δ that binds must lie below ln|V|.
    Source: MOSS-RLHF ppo_trainer.py, commit 4865d826; arXiv:2307.04964, appendix B.3, Figure 16.
    """

    group = "entropy"
    needs = frozenset({"entropy"})
    weight: float = hyper(default=0.01, at_least=0, search=(1e-4, 0.1), log=True)
    target: float = hyper(default=1.0, at_least=0, search=(0.1, 3.0))
    neutral = {"weight": 0.0}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return self.weight * (masked_mean(new.entropy, minibatch.mask) - self.target).abs()
