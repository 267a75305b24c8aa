"""One ratio per response: that of the whole response's probability."""

from torch import Tensor

from workbench.maths import at_every_token, response_sum
from workbench.trick import RatioTransform
from workbench.types import Evaluation, Rollout


class SummedRatio(RatioTransform):
    """Give every token of a response the sum of the log-ratios of its tokens.

        ℓ̃_t = Σ_s ℓ_s          so ρ̃ = π(y) / π_old(y)

    Variant: the response as one action, so the ratio's spread grows with length; not length-normalised
    as `sequence_ratio` is. The gradient reaches every token of the response from each of them:
    `sequence_mean` makes it that of one action per response.
    Source: TRL rloo_trainer.py, commit f2cd5771; Ahmadian et al. 2024, arXiv:2402.14740.
    """

    group = "ratio_level"
    after = ("ratio_base",)

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        return at_every_token(response_sum(log_ratio, minibatch.mask), minibatch.mask)
