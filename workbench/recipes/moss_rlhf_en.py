"""MOSS-RLHF's released English script, the code that goes with the PPO-max paper."""

from workbench.recipe import Recipe
from workbench.trick import Trick
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.logits.repetition_penalty import RepetitionPenalty
from workbench.tricks.logits.top_p import TopP
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.adam_epsilon import AdamEpsilon
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.sampling.experience_buffer import ExperienceBuffer
from workbench.tricks.sampling.uncorrected_temperature import UncorrectedTemperature
from workbench.tricks.schedule.inverse_square_root_decay import InverseSquareRootDecay
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.tricks.score.reward_scaling import RewardScaling
from workbench.tricks.value_loss.value_clip import ValueClip

ALIKE: tuple[tuple[Trick, str], ...] = (
    (CriticFromRewardModel(), "train_ppo_en.sh, MOSS-RLHF 4865d826: one path for both models"),
    (UncorrectedTemperature(temperature=0.8), "config_ppo.py, MOSS-RLHF 4865d826; log π is taken at 1"),
    (RepetitionPenalty(penalty=1.1), "config_ppo.py, MOSS-RLHF 4865d826: repetition_penalty 1.1"),
    (TopP(share=0.9), "config_ppo.py, MOSS-RLHF 4865d826: topp 0.9; log π is of the full softmax"),
    (
        ExperienceBuffer(responses=16),
        "train_ppo_en.sh, MOSS-RLHF 4865d826: 2 on each of 7 ranks; 16 because buffers divide 128",
    ),
    (PpoEpochs(epochs=1), "ppo_trainer.py, MOSS-RLHF 4865d826: no loop over epochs"),
    (Minibatches(count=1), "train_ppo_en.sh, MOSS-RLHF 4865d826: batch_size 2 of num_rollouts 2"),
    (RewardScaling(epsilon=1e-8), "train_ppo_en.sh, MOSS-RLHF 4865d826: --use_reward_scaling alone"),
    (Gae(trace=0.95, discount=1.0), "config_ppo.py, MOSS-RLHF 4865d826: lam 0.95, gamma 1"),
    (
        ClippedSurrogate(clip_range=0.2),
        "train_ppo_en.sh, MOSS-RLHF 4865d826: pg_clip 0.2; idle with one update per rollout",
    ),
    (ValueClip(clip_range=0.2), "train_ppo_en.sh, MOSS-RLHF 4865d826: value_clip 0.2; weight 1 on ½"),
    (AdamBetas(first=0.9, second=0.95), "config_ppo.py, MOSS-RLHF 4865d826: AdamW, no decay"),
    (AdamEpsilon(policy=1e-6, critic=1e-8), "ppo_trainer.py build_optimizer, MOSS-RLHF 4865d826"),
    (
        LearningRateWarmup(share=0.1),
        "train_ppo_en.sh, MOSS-RLHF 4865d826: 100 of 1,000 steps; it starts at a tenth at least",
    ),
    (
        InverseSquareRootDecay(share=0.1, final=1e-8),
        "ppo_trainer.py invsqrt_scheduler, MOSS-RLHF 4865d826",
    ),
    (GlobalGradientClip(max_norm=1.0), "accelerate_config.yaml, MOSS-RLHF 4865d826"),
)
"""What the English and the Chinese script have in common."""

MOSS_RLHF_EN = Recipe.cited(
    "moss_rlhf_en",
    "What MOSS-RLHF 4865d826 runs in train_ppo_en.sh, not what arXiv:2307.04964 calls PPO-max: scores"
    " are scaled but neither centred nor clipped, there is no critic pre-training and no pre-training"
    " loss, and λ is 0.95 where the paper has 0.9. One optimiser step per rollout leaves the policy's"
    " clip idle. Its critic learns at 3 times the policy's rate, as a run here does by default.",
    *ALIKE,
    (TokenKlPenalty(weight=0.01), "train_ppo_en.sh, MOSS-RLHF 4865d826: kl_penalty_weight 0.01"),
)
"""The English script."""
