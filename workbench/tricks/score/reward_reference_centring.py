"""Reward centring by the mean of the first rollout's scores."""

from torch import Tensor

from workbench.maths import FirstMoments
from workbench.trick import ScoreTransform, state
from workbench.types import Rollout


class RewardReferenceCentring(ScoreTransform):
    """Subtract the mean of the first rollout's scores.

        r̃ = r − μ₀

    Variant: μ₀ is taken once, while the policy is still the reference, and then frozen; the scale is
    left alone. N+ takes the mean over the data set's own responses instead, and stores it in the reward
    model.
    Source: N+ details reward.py, commit ee77a9ab.
    """

    group = "reward_normaliser"
    moments: FirstMoments = state(FirstMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score - self.moments.mean.to(score.dtype)
