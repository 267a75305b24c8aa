"""Reward scaling, as the paper's text has it: by the std of a rolling discounted sum."""

from torch import Tensor

from workbench.maths import RunningMoments, at_last_token
from workbench.trick import ScoreTransform, hyper, state
from workbench.types import Rollout


class ReturnScaling(ScoreTransform):
    """Divide each score by the running deviation of the rolling discounted sum of rewards.

        R_t = γ R_{t−1} + r [t = |y| − 1], R_{−1} = 0          r̃ = r / (σ_R + ε)

    Variant: the reward is the score on the last token, before any KL penalty, so R is the score there
    and 0 before it: γ drops out, and there is none to set. σ_R is unbiased over all response tokens of
    this run, this rollout's included, and 1 until two different ones have come. The paper's released
    code divides by the deviation of scores: `reward_scaling`.
    Source: Engstrom et al. 2020, arXiv:2005.12729, §3; detail 4 of arXiv:2307.04964, §5.3.1.
    """

    group = "reward_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: RunningMoments = state(RunningMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(at_last_token(rollout.score, rollout.mask), rollout.mask)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score / (self.moments.std + self.epsilon).to(score.dtype)
