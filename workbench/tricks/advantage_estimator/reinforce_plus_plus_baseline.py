"""The reward-to-go minus the group's mean score."""

import torch
from torch import Tensor

from workbench.maths import at_every_token, discounted_sum, group_mean
from workbench.trick import AdvantageEstimator
from workbench.types import Rollout


class ReinforcePlusPlusBaseline(AdvantageEstimator):
    """Subtract the mean score of the responses to the same prompt from the reward-to-go.

        Â_t = Σ_{s ≥ t} r_s − μ_g(score)

    Variant: the baseline is the mean score, own response included, without the token penalties, and
    these count from their token on; no discount, as OpenRLHF forces γ = 1. verl puts the mean total
    reward on every token, penalties included: that is `dr_grpo`. Meant to be followed by
    `rollout_advantage_norm`, which both systems build in. No critic. A trick that rescales `reward`
    rescales the score in it but not the baseline.
    Source: REINFORCE++, arXiv:2501.03262; OpenRLHF `reinforce_baseline` at commit 3c3be623; verl
    `reinforce_plus_plus_baseline` at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        reward = torch.where(rollout.mask, rollout.reward, 0.0)
        returns = torch.where(rollout.mask, discounted_sum(reward, 1.0), 0.0)
        baseline = at_every_token(group_mean(rollout.score, rollout.group), rollout.mask)
        return returns - baseline, returns
