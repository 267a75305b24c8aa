"""Sequence-level KL penalty in the reward."""

from torch import Tensor

from workbench.maths import at_last_token, response_sum
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class SequenceKlPenalty(RewardTransform):
    """Charge a response for its whole log-ratio to the reference policy, on its last token.

        r̃_T = r_T − η Σ_t (log π_old(y_t) − log π_ref(y_t))

    Variant: estimator k1, summed over the response, so that without discount and with λ = 1 the first
    token's return is that of `token_kl_penalty`, and the later ones also pay for tokens before them.
    TRL's RLOO subtracts it from the score, before the baseline; there η = 0.05.
    Source: TRL rloo_trainer.py, commit f2cd5771; Ahmadian et al. 2024, arXiv:2402.14740.
    """

    group = "kl_penalty"
    after = ("score_after_end",)
    weight: float = hyper(default=0.05, at_least=0, search=(0.005, 0.5), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        divergence = response_sum(rollout.log_prob - rollout.ref_log_prob, rollout.mask)
        return reward - self.weight * at_last_token(divergence, rollout.mask)
