"""What published systems have that is no trick here, and why: the last section of docs/tricks.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Omission:
    """One detail that is not a trick.

    Attributes:
        what: the detail, and the systems or papers that have it.
        why: the reason, or where it is found instead.
    """

    what: str
    why: str


LEFT_OUT = (
    Omission(
        "Engines for several GPUs: ZeRO, FSDP, tensor and pipeline parallelism, hybrid engines"
        " (MOSS-RLHF, OpenRLHF, verl, DeepSpeed-Chat, NeMo)",
        "they change where numbers are computed, not which; here each process of a run holds all models",
    ),
    Omission(
        "Asynchronous and partial rollouts (OpenRLHF, verl)",
        "they trade exactness for throughput of an engine that is not here",
    ),
    Omission(
        "LoRA and other adapters (TRL, trlX, OpenRLHF, verl, DeepSpeed-Chat)",
        "the small policies train whole; an adapter is another model, not another PPO",
    ),
    Omission(
        "Hydra reference and adapters switched off as the reference (trlX, TRL)",
        "they save memory: the reference's numbers are those of a frozen copy",
    ),
    Omission(
        "Vectorised environments, Atari wrappers, observation normalisation and clipping, Gaussian"
        " actions, LSTM states (the 37 details)",
        "a prompt and a response have no frames, no continuous actions and no recurrent state",
    ),
    Omission(
        "Orthogonal initialisation (the 37 details)",
        "policy and critic start from pre-trained weights",
    ),
    Omission(
        "Masks of invalid actions (the 37 details)",
        "every token is valid; what forbids tokens stands in the slot `logits`",
    ),
    Omission(
        "Re-tokenised responses (trlX)",
        "responses are token ids from sampling to loss and are never decoded in between, so what is"
        " trained on is what was sampled",
    ),
    Omission(
        "Left padding and position ids (TRL, lm-human-preference-details, trlX, OpenRLHF)",
        "rows hold prompt, response, padding in this order, and packed rows hold no padding, so there"
        " is nothing to get wrong",
    ),
    Omission(
        "A padding token other than the end token (lm-human-preferences, TRL, trlX)",
        "masks come from lengths, never from token ids, so the end token is trained on either way",
    ),
    Omission(
        "Truncation at a stop token or stop string (lm-human-preferences, TRL, trlX)",
        "a response ends at its end token; tasks have no other stop",
    ),
    Omission(
        "Prompt pipelines: truncation side, start and end periods, priorities (MOSS-RLHF,"
        " lm-human-preferences, RL4LMs)",
        "prompts belong to the task and are the same for every arm",
    ),
    Omission(
        "One seed per rank (lm-human-preferences, N+, TRL)",
        "every random stream is named by seed, iteration, buffer and purpose; all ranks draw the same",
    ),
    Omission(
        "Dense rewards given by the reward function (trlX, RL4LMs)",
        "the reward model scores whole responses; a trick of the slot `reward` may spread the score",
    ),
    Omission(
        "Ensembles of reward models, weighted sums of several (TRL's GRPO)",
        "a study has one reward model, shared by all arms; no PPO trainer that was read has an ensemble",
    ),
    Omission(
        "Auxiliary loss of a mixture of experts (OpenRLHF, TRL's GRPO)",
        "the models are dense",
    ),
    Omission(
        "TRPO, A2C, RFT, ILQL (RL4LMs, trlX)",
        "other algorithms than PPO: they replace the update, not a line of it",
    ),
    Omission(
        "Losses in float32 (DeepSpeed-Chat, TRL, OpenRLHF)",
        "always so here: logits and values are float32 before any log-probability or loss",
    ),
    Omission(
        "Ways to keep padding out of ratios, values and rewards (every system has its own)",
        "always so here: what lies outside a response is 0, and the contract holds every trick to it",
    ),
    Omission(
        "Value targets made of advantages before they are normalised (every system)",
        "always so here: an estimator returns both, and what changes advantages comes later",
    ),
    Omission(
        "Token counts over the whole step in gradient accumulation (OpenRLHF, verl, TRL's GRPO)",
        "a minibatch is one optimiser step, so a mean over it is already over the whole step",
    ),
    Omission(
        "Best checkpoint by reward (MOSS-RLHF, trlX)",
        "choosing by the reward that is over-optimised is what the monitors warn of; the last policy"
        " counts",
    ),
)
"""Details that are left out."""

SETTINGS = (
    Omission(
        "Learning rates of policy and critic", "`ppo.policy_learning_rate`, `critic_learning_rate`"
    ),
    Omission("Sizes of rollout and minibatch", "`ppo.rollout_size`, `ppo.minibatch_size`"),
    Omission("Cap on the response", "`ppo.max_response_tokens`"),
    Omission("Number of iterations", "`ppo.iterations`"),
    Omission("Size of the models, or a folder with your own", "`prepare.policy`"),
    Omission(
        "LM loss of the reward model's training, β_rm (arXiv:2307.04964)",
        "`prepare.reward_model.lm_weight`: of the reward model's stage, shared by all arms",
    ),
    Omission(
        "First weights of the reward model's head (lm-human-preferences, N+)",
        "`prepare.reward_model.head_std`: of the reward model's stage, shared by all arms",
    ),
    Omission("Decoding of held-out prompts", "the task's evaluation, the same for every arm"),
)
"""Details that are settings of a study: the same for every arm, so that arms differ in tricks alone."""
