"""Credit for the best response of a group only."""

import torch
from torch import Tensor

from workbench.maths import at_every_token, response_sum
from workbench.trick import AdvantageEstimator
from workbench.types import Rollout


class PassAtK(AdvantageEstimator):
    """Credit the best response to a prompt with its lead over the second best, the others with nothing.

        Â_i = max(R_i − max_{j≠i} R_j, 0)          R_i = Σ_t r_t

    Variant: a leave-one-out gradient of the group's maximum; advantages are never negative. Ties for the
    best give 0. R includes token penalties. verl divides by the group's σ + 1e-6 unless told not to:
    left out, as the paper has none. No critic. With G = 1 it is 0; verl refuses it.
    Source: Tang et al. 2025, arXiv:2503.19595; verl `grpo_passk` at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        same = rollout.group[:, None] == rollout.group[None, :]
        other = same & ~torch.eye(len(total), dtype=torch.bool, device=total.device)
        rival = torch.where(other, total[None, :], -torch.inf).amax(1)
        lead = torch.where(other.any(1), total - rival, 0.0).clamp(min=0)
        return at_every_token(lead, rollout.mask), at_every_token(total, rollout.mask)
