"""RL4LMs' NLPO on IMDB, natural language policy optimisation."""

from workbench.recipe import Recipe
from workbench.recipes.rl4lms_ppo import ALIKE
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.ratio.behaviour_ratio import BehaviourRatio
from workbench.tricks.reward.adaptive_kl_penalty_per_token import AdaptiveKlPenaltyPerToken
from workbench.tricks.weight_sync.nlpo_mask_refresh import NlpoMaskRefresh

RL4LMS_NLPO = Recipe.cited(
    "rl4lms_nlpo",
    "NLPO as arXiv:2210.01241 describes it, with the numbers of RL4LMs 97df0bd2, gpt2_nlpo.yml. The"
    " released code never refreshes the mask that draws, as its logits processor keeps the first mask"
    " model: leave out `nlpo_mask_refresh` for that. What is said of `rl4lms_ppo` holds here too, and"
    " the sources of what both share name its file.",
    *ALIKE,
    (
        NlpoMask(share=0.9, min_tokens=2),
        "gpt2_nlpo.yml, RL4LMs 97df0bd2: top_mask 0.9; it keeps 100 of 50,257 tokens, here 2",
    ),
    (BehaviourRatio(), "nlpo.py, RL4LMs 97df0bd2: ratio under the mask, KL without it"),
    (
        NlpoMaskRefresh(every=1),
        "arXiv:2210.01241, algorithm 1; gpt2_nlpo.yml, RL4LMs 97df0bd2: target_update_iterations 5; an"
        " iteration here is 4 of its rollouts",
    ),
    (
        AdaptiveKlPenaltyPerToken(weight=0.1, target=0.1, gain=0.1, error_clip=0.2),
        "gpt2_nlpo.yml and kl_controllers.py, RL4LMs 97df0bd2: coeff 0.1",
    ),
)
"""NLPO with a mask that is refreshed, as in the paper."""
