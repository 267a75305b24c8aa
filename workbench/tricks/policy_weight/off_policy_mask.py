"""No learning from bad responses that the policy has moved away from."""

from math import inf

from torch import Tensor

from workbench.maths import response_mean
from workbench.trick import PolicyWeight, hyper
from workbench.types import Evaluation, Rollout


class OffPolicyMask(PolicyWeight):
    """Drop tokens of negative advantage in responses that have become unlikely.

        w_t = 0 where Â_t < 0 and 1/|y| Σ_s (log π_old(y_s) − log π(y_s)) > δ, 1 elsewhere

    Variant: estimator k1 of KL(π_old ‖ π), per response, signed. With one advantage per response, whole
    responses are dropped, as in the source; where it differs over tokens, only the negative ones are.
    Off by default in TRL. Dropped tokens still count in the aggregation.
    Source: DeepSeek-AI 2025, arXiv:2512.02556, §3.1; TRL grpo_trainer.py, commit f2cd5771.
    """

    threshold: float = hyper(default=0.5, at_least=0, search=(0.01, 2.0), log=True)
    neutral = {"threshold": inf}

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        mask = minibatch.mask
        moved = response_mean(minibatch.log_prob - new.log_prob.detach(), mask)
        is_kept = mask & ((advantage >= 0) | (moved <= self.threshold)[:, None])
        return is_kept.to(advantage.dtype)
