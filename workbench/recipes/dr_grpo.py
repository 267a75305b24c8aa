"""Dr. GRPO: GRPO done right, without the divisions by deviation and length."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.dr_grpo import DrGrpo
from workbench.tricks.aggregation.constant_length import ConstantLength
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt

DR_GRPO = Recipe.cited(
    "dr_grpo",
    "GRPO without its two biases, arXiv:2503.20783: neither the group's deviation nor the response's"
    " length divides anything. No critic and no KL term. The constant that divides instead is the cap"
    " of 64 tokens that a run has by default: `constant_length.tokens` sets another. Adam cancels it.",
    (ResponsesPerPrompt(count=8), "arXiv:2503.20783, experiments: 8 responses per question"),
    (DrGrpo(), "arXiv:2503.20783, §3.2: rewards centred within the group, not scaled"),
    (ClippedSurrogate(clip_range=0.2), "arXiv:2503.20783, §3: PPO's loss; 0.2 as PPO's"),
    (ConstantLength(tokens=64), "arXiv:2503.20783, §3.2: a constant such as the generation budget"),
    (PpoEpochs(epochs=1), "arXiv:2503.20783, experiments: one pass over each rollout"),
)
"""GRPO without the divisions that bias it."""
