"""Reward normalisation by the first rollout's scores: the gain and bias of OpenAI's reward model."""

from torch import Tensor

from workbench.maths import FirstMoments
from workbench.trick import ScoreTransform, hyper, state
from workbench.types import Rollout


class RewardReferenceNorm(ScoreTransform):
    """Give the reference policy's scores mean 0 and deviation 1, and keep that gain and bias.

        r̃ = g r + b          g = 1 / (σ₀ + ε)          b = −g μ₀

    Variant: μ₀ and σ₀ (unbiased) are those of the first rollout, where the policy is the reference, and
    then frozen. OpenAI takes them from samples drawn for it before training, of which this run has
    none, so that "the KL coefficient always has the same meaning".
    Source: OpenAI lm-human-preferences rewards.py, commit cbfd210b (`set_reward_norm`).
    """

    group = "reward_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: FirstMoments = state(FirstMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        mean, std = self.moments.mean, self.moments.std + self.epsilon
        return (score - mean.to(score.dtype)) / std.to(score.dtype)
