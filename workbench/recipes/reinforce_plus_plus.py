"""REINFORCE++: PPO's loss and token KL without a critic, advantages normalised over the batch."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.reinforce import Reinforce
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.rollout_advantage.rollout_advantage_norm import RolloutAdvantageNorm
from workbench.tricks.score.reward_clip import RewardClip

REINFORCE_PLUS_PLUS = Recipe.cited(
    "reinforce_plus_plus",
    "REINFORCE++, arXiv:2501.03262, in the form for one response per prompt; the paper gives no"
    " numbers for what it clips, so these are its system's, OpenRLHF 3c3be623 with estimator"
    " `reinforce`. No critic. For its other form, several responses per prompt, use"
    " `reinforce_plus_plus_baseline`.",
    (RewardClip(max_abs=10.0), "experience maker, OpenRLHF 3c3be623: reward.clip_range (−10, 10)"),
    (
        TokenKlPenalty(weight=0.01, estimator="k1", clamp=10.0),
        "arXiv:2501.03262, token-level KL penalty, 0.01 for general tasks; ±10 as OpenRLHF 3c3be623",
    ),
    (Reinforce(discount=1.0), "arXiv:2501.03262: score minus the KL of the tokens from t on, γ = 1"),
    (
        RolloutAdvantageNorm(epsilon=1e-8, unbiased=False),
        "arXiv:2501.03262, normalised over the global batch; biased as OpenRLHF 3c3be623",
    ),
    (ClippedSurrogate(clip_range=0.2), "arXiv:2501.03262, PPO-clip integration: ε 0.2"),
    (PpoEpochs(epochs=1), "train_ppo_ray.py, OpenRLHF 3c3be623: max_epochs 1"),
)
"""PPO's loss on rewards-to-go, normalised over the rollout."""
