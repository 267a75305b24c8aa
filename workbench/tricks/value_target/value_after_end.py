"""The critic fitted on one more state, behind the end token."""

from dataclasses import replace

import torch
from torch import Tensor

from workbench.trick import ValueTarget
from workbench.types import Evaluation, Rollout, append


class ValueAfterEnd(ValueTarget):
    """Fit the critic also on the state behind the end token, to the score.

        L_V over t = 0 … T and end          R_end = s

    Variant: the state counts like any other in the aggregation. A response cut at the cap has none, as
    in TRL and N+. Meant for `score_after_end`, whose advantages use that value. Other systems leave the
    state out of the loss, trlX although its advantages use it. Not beside rewards that are whitened or
    normalised per token: there TRL fits the state to the whitened score, which is not to be had here,
    and s would be on another scale than the other targets.
    Source: TRL ppo_trainer.py, commit f2cd5771 (`padding_mask_p1`); N+ details ppo.py, commit ee77a9ab.
    """

    needs = frozenset({"end_value"})
    excludes = ("token_reward_whitening", "token_reward_norm")

    def __call__(self, new: Evaluation, minibatch: Rollout) -> tuple[Tensor, Rollout]:
        longer = minibatch.with_end()
        within = torch.nn.functional.pad(minibatch.mask, (0, 1))
        mask = within | (longer.mask & ~minibatch.is_truncated[:, None])
        value = append(new.value, minibatch.mask, new.end_value)
        fitted = replace(
            longer,
            mask=mask,
            value=torch.where(mask, longer.value, 0.0),
            returns=torch.where(mask, longer.returns, 0.0),
        )
        return torch.where(mask, value, 0.0), fitted
