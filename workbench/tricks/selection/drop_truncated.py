"""Responses cut at the cap, dropped."""

from torch import Tensor

from workbench.trick import Selection
from workbench.types import Rollout


class DropTruncated(Selection):
    """Keep the responses that ended by themselves.

        keep_i = the end token was drawn before the cap

    Variant: the whole response leaves the loss, after advantages and group statistics were taken with
    it. Length is then limited by no penalty. Off by default in TRL.
    Source: DAPO, arXiv:2503.14476, §3.4, overlong filtering; TRL `mask_truncated_completions` at commit
    f2cd5771.
    """

    def __call__(self, rollout: Rollout) -> Tensor:
        return ~rollout.is_truncated
