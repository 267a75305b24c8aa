"""RL4LMs' PPO on IMDB."""

from workbench.recipe import Recipe
from workbench.trick import Trick
from workbench.tricks.advantage.advantage_standardisation import AdvantageStandardisation
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
from workbench.tricks.initialise.critic_from_sft import CriticFromSft
from workbench.tricks.initialise.value_head_init import ValueHeadInit
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.optimisation.weight_decay import WeightDecay
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.adaptive_kl_penalty_per_token import AdaptiveKlPenaltyPerToken
from workbench.tricks.sampling.experience_buffer import ExperienceBuffer
from workbench.tricks.value_loss.value_mse import ValueMse

ALIKE: tuple[tuple[Trick, str], ...] = (
    (CriticFromSft(), "causal_policy.py, RL4LMs 97df0bd2: a second copy of the language model"),
    (
        ValueHeadInit(std=3**-0.5, power=0.5),
        "causal_policy.py, RL4LMs 97df0bd2: uniform in ±1/√h, PyTorch's own; a normal of its variance",
    ),
    (
        ExperienceBuffer(responses=32),
        "gpt2_ppo.yml, RL4LMs 97df0bd2: 1,280 tokens, 27 responses of 48; 32 because buffers divide 128",
    ),
    (PpoEpochs(epochs=5), "gpt2_ppo.yml, RL4LMs 97df0bd2: n_epochs 5"),
    (
        Minibatches(count=16),
        "gpt2_ppo.yml, RL4LMs 97df0bd2: 20 of 64 tokens each; 16 of two responses come near it",
    ),
    (Gae(trace=0.95, discount=0.99), "ppo.py, RL4LMs 97df0bd2: gae_lambda, gamma of SB3"),
    (AdvantageStandardisation(epsilon=1e-8), "ppo.py, RL4LMs 97df0bd2: per minibatch"),
    (ClippedSurrogate(clip_range=0.2), "ppo.py, RL4LMs 97df0bd2: clip_range 0.2"),
    (ValueMse(), "ppo.py, RL4LMs 97df0bd2: no clip_range_vf; vf_coef 0.5 without ½ is weight 1 on ½"),
    (GlobalGradientClip(max_norm=0.5), "ppo.py, RL4LMs 97df0bd2: max_grad_norm 0.5, both models"),
    (WeightDecay(decay=1e-6), "base_policy.py, RL4LMs 97df0bd2: AdamW, weight_decay 1e-6"),
    (
        CriticLearningRate(factor=1 / 3),
        "gpt2_ppo.yml, RL4LMs 97df0bd2: one rate for both; a run's critic has 3 times the policy's",
    ),
)
"""What PPO and NLPO have in common."""

RL4LMS_PPO = Recipe.cited(
    "rl4lms_ppo",
    "RL4LMs 97df0bd2 on IMDB, gpt2_ppo.yml over Stable-Baselines3's PPO, arXiv:2210.01241. Its"
    " minibatches are of tokens, ours of responses. Its buffer ends in mid-response and bootstraps"
    " there; here buffers hold whole responses. A least length of 48 tokens, which is its cap too, is"
    " left to the run: add `min_length`.",
    *ALIKE,
    (
        AdaptiveKlPenaltyPerToken(weight=0.1, target=0.1, gain=0.1, error_clip=0.2),
        "gpt2_ppo.yml and kl_controllers.py, RL4LMs 97df0bd2: coeff 0.1, target_kl 0.1 per token",
    ),
)
"""The PPO of gpt2_ppo.yml."""
