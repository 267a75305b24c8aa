"""Reward scaling by the deviation of the first rollout's scores."""

from torch import Tensor

from workbench.maths import FirstMoments
from workbench.trick import ScoreTransform, hyper, state
from workbench.types import Rollout


class RewardReferenceScaling(ScoreTransform):
    """Divide each score by the standard deviation of the first rollout's scores.

        r̃ = r / (σ₀ + ε)

    Variant: σ₀ is unbiased, taken once, while the policy is still the reference, and then frozen; the
    mean is not removed. trlX has no ε, and takes a given σ₀ instead where there is one.
    Source: trlX accelerate_ppo_trainer.py, commit 3340c2f3 (`scale_reward="ref"`).
    """

    group = "reward_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: FirstMoments = state(FirstMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score / (self.moments.std + self.epsilon).to(score.dtype)
