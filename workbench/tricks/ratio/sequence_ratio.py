"""One ratio per response, length-normalised: GSPO."""

from torch import Tensor

from workbench.maths import at_every_token, response_mean
from workbench.trick import RatioTransform
from workbench.types import Evaluation, Rollout


class SequenceRatio(RatioTransform):
    """Give every token of a response the mean log-ratio of its tokens.

        ℓ̃_t = 1/|y| Σ_s ℓ_s          so ρ̃ = (π(y) / π_old(y))^{1/|y|}

    Variant: the gradient goes through the mean, as in GSPO. verl's form, ρ̃ · π(y_t) / sg[π(y_t)] at
    token t (GSPO-token), has the same value and the same gradient where the advantage is one number
    per response; where it differs over tokens only the gradient's sum over a response agrees, as
    ours spreads it evenly. So a trick of slot `policy_weight` weighs tokens' values here, not their
    gradients. GSPO's clip ranges are of the order of 3e-4, and its aggregation is
    `sequence_mean`.
    Source: Zheng et al. 2025, arXiv:2507.18071; verl core_algos.py, commit b178a3cd.
    """

    group = "ratio_level"
    after = ("ratio_base",)

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        return at_every_token(response_mean(log_ratio, minibatch.mask), minibatch.mask)
