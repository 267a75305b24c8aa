"""Token-level KL penalty in the reward."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import KL_ESTIMATORS, kl_estimate
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class TokenKlPenalty(RewardTransform):
    """Charge every response token for its divergence from the reference policy.

        r̃_t = r_t − η clip(k̂_t, −c, c)          d_t = log π_old(y_t) − log π_ref(y_t)

    Variant: k̂ = k1 = d by default, signed and unbiased; "full" is the sum over the vocabulary. η is
    fixed. OpenRLHF clips at c = 10, others do not. All response tokens pay by default, as in OpenAI's
    code also those behind a text's end; in TRL and N+ those up to the end token ("until_end"), the same
    where sampling stops there; "before_end" leaves the end token free. trlX and DeepSpeed-Chat charge a
    token of padding too, which we do not copy. Zero at the SFT policy. Not normalised or clipped with
    the score.
    Source: detail 1 of arXiv:2307.04964, §5.3.2, with η = 0.05; Ouyang et al. 2022, arXiv:2203.02155.
    """

    group = "kl_penalty"
    after = ("score_after_end",)
    weight: float = hyper(default=0.05, at_least=0, search=(0.005, 0.5), log=True)
    estimator: str = hyper(default="k1", choices=(*KL_ESTIMATORS, "full"))
    clamp: float = hyper(default=inf, above=0)
    tokens: str = hyper(default="all", choices=("all", "until_end", "before_end"))
    neutral = {"weight": 0.0}

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        if self.estimator == "full":
            divergence = rollout.ref_kl
        else:
            divergence = kl_estimate(rollout.log_prob - rollout.ref_log_prob, self.estimator)
        step = torch.arange(rollout.mask.shape[1], device=rollout.mask.device)
        left = rollout.text_length[:, None] - step
        pays = {"all": rollout.mask, "until_end": left > 0, "before_end": left > 1}[self.tokens]
        charged = divergence.clamp(-self.clamp, self.clamp)
        return reward - self.weight * torch.where(rollout.mask & pays, charged, 0.0)
