"""PPO-max, as the paper describes it; its released scripts differ in most of these choices."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.regulariser.ppo_ptx import PpoPtx
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.schedule.critic_pretraining import CriticPretraining
from workbench.tricks.score.reward_clip import RewardClip
from workbench.tricks.score.reward_norm import RewardNorm
from workbench.tricks.value_loss.value_clip import ValueClip

PPO_MAX = Recipe.cited(
    "ppo_max",
    "The set that arXiv:2307.04964 calls PPO-max: the starred details of its Figure 5 with the"
    " additions of §5.4. The paper also uses a small experience buffer without naming its size: add"
    " `experience_buffer`. Its released scripts differ in most of these choices.",
    (TokenKlPenalty(weight=0.05), "Figure 5, starred 1; the weight is that of Figure 7"),
    (RewardNorm(), "Figure 5, starred 5: running mean and deviation"),
    (RewardClip(max_abs=5.0), "Figure 5, starred 5; the paper leaves δ open and advises a relaxed one"),
    (ValueClip(clip_range=0.2), "Figure 5, starred 7"),
    (CriticFromRewardModel(), "Figure 5, starred 8"),
    (Gae(trace=0.9, discount=1.0), "Figure 5, starred 10; appendix C.3 sets λ = 0.9"),
    (ClippedSurrogate(clip_range=0.2), "Figure 5, starred 11; 0.2 is MOSS-RLHF 4865d826's"),
    (GlobalGradientClip(max_norm=1.0), "Figure 5, starred 12; 1.0 is MOSS-RLHF 4865d826's"),
    (CriticPretraining(iterations=8), "§5.4; the paper stops at a value loss near 0"),
    (PpoPtx(weight=0.1), "§5.4; the paper leaves the weight open"),
)
"""The set that the paper calls PPO-max: Figure 5's starred details with §5.4's additions."""
