"""Lite PPO: two tricks on PPO's loss without a critic."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.group_mean_batch_std import GroupMeanBatchStd
from workbench.tricks.aggregation.token_mean import TokenMean
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt

LITE_PPO = Recipe.cited(
    "lite_ppo",
    "Lite PPO, arXiv:2508.08221: the two tricks that the paper finds enough for a policy without a"
    " critic, on PPO's plain loss. No KL, no filter, no overlong shaping. Epochs and minibatches are"
    " left to the run.",
    (
        ResponsesPerPrompt(count=8),
        "arXiv:2508.08221 needs groups; 8 is the default of TRL f2cd5771's GRPO",
    ),
    (
        GroupMeanBatchStd(epsilon=1e-4),
        "arXiv:2508.08221, Lite PPO: mean of the group, deviation of the batch; ε is TRL f2cd5771's",
    ),
    (ClippedSurrogate(clip_range=0.2), "arXiv:2508.08221: the vanilla PPO loss; 0.2 as PPO's"),
    (TokenMean(), "arXiv:2508.08221, Lite PPO: token-level loss"),
)
"""Group mean, batch deviation, token-level loss."""
