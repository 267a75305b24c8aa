"""MOSS-RLHF's released Chinese script."""

from workbench.recipe import Recipe
from workbench.recipes.moss_rlhf_en import ALIKE
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty

MOSS_RLHF_ZH = Recipe.cited(
    "moss_rlhf_zh",
    "What MOSS-RLHF 4865d826 runs in train_ppo_zh.sh: `moss_rlhf_en` with ten times its KL weight, and"
    " like it far from what arXiv:2307.04964 calls PPO-max. The sources of what both scripts share name"
    " the English one.",
    *ALIKE,
    (TokenKlPenalty(weight=0.1), "train_ppo_zh.sh, MOSS-RLHF 4865d826: kl_penalty_weight 0.1"),
)
"""The Chinese script."""
