"""InstructGPT's PPO-ptx."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.regulariser.ppo_ptx import PpoPtx
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.tricks.weight_sync.policy_ema import PolicyEma

INSTRUCTGPT = Recipe.cited(
    "instructgpt",
    "PPO-ptx as appendix C.4 of arXiv:2203.02155 states it; there is no code. What the appendix leaves"
    " open (λ, value clipping and weight, normalisation of advantages, gradient clipping) is the"
    " textbook's. The paper's reward model is centred on the labellers' demonstrations: add"
    " `reward_reference_centring` for something near it. How its losses are averaged, hence what 27.8"
    " weighs, is not said; DeepSpeed-Chat found it unstable. Its critic's learning rate, 9e-6 at"
    " 1.3B and 6B, is left to the run, as the policy's is. Its moving average is still 45 % of the start"
    " after 100 iterations, and is what is evaluated.",
    (CriticFromRewardModel(), "arXiv:2203.02155, appendix C.4: value function initialised from the RM"),
    (PpoEpochs(epochs=1), "arXiv:2203.02155, appendix C.4: a single inner epoch"),
    (Minibatches(count=8), "arXiv:2203.02155, appendix C.4: minibatches of 64 of a batch of 512"),
    (TokenKlPenalty(weight=0.02), "arXiv:2203.02155, appendix C.4: β = 0.02, per token as in §3.5"),
    (Gae(trace=0.95, discount=1.0), "arXiv:2203.02155, appendix C.4: no discount; λ is the textbook's"),
    (ClippedSurrogate(clip_range=0.2), "arXiv:2203.02155, appendix C.4: PPO clip ratio 0.2"),
    (
        PpoPtx(weight=27.8),
        "arXiv:2203.02155, appendix C.4: γ = 27.8; 8 pre-training examples per episode there, 1 here",
    ),
    (AdamBetas(first=0.9, second=0.95), "arXiv:2203.02155, appendix C: Adam of all its models"),
    (
        LearningRateWarmup(share=0.02),
        "arXiv:2203.02155, appendix C.4: the first 10 of 500 iterations (256k episodes of 512)",
    ),
    (PolicyEma(decay=0.992), "arXiv:2203.02155, appendix C.4: moving average of the weights, 0.992"),
)
"""PPO with pre-training gradients, from the paper's appendix."""
