"""What PPO learns from: responses, what the four models say of them, and how the update went."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.models import Batch, Models, TokenStatistics, compare, log_probabilities
from workbench.sampling import Samples
from workbench.types import Rollout


@dataclass(frozen=True)
class UpdateStatistics:
    """Scalars of one optimiser step, still on the device; their names are those of `ppo/*`."""

    policy_loss: Tensor
    value_loss: Tensor
    regulariser: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor
    value_clip_fraction: Tensor
    policy_gradient_norm: Tensor
    critic_gradient_norm: Tensor


@dataclass(frozen=True)
class Experience:
    """One buffer of responses: what was sampled, what the models say of it, how the update went.

    Attributes:
        samples: prompts and responses.
        statistics: what policy and reference say of the response tokens.
        prompt_log_prob: [B, P] log π_old of the prompt's tokens after the first; 0 elsewhere.
        score: [B] reward-model score as it is, before any trick.
        rollout: what PPO trains on.
        updates: statistics of each optimiser step.
    """

    samples: Samples
    statistics: TokenStatistics
    prompt_log_prob: Tensor
    score: Tensor
    rollout: Rollout
    updates: list[UpdateStatistics] = field(default_factory=list)


def score(models: Models, samples: Samples, temperature: float) -> Experience:
    """Let reference, critic and reward model judge sampled responses.

    Args:
        models: all four; the policy's hidden states come with the samples.
        samples: B responses of at most T tokens.
        temperature: of the log-probabilities.
    Returns:
        experience whose rollout has no rewards yet.
    """
    mask = samples.mask
    batch = Batch.of(samples.tokens, samples.prompt_length, mask)
    raw = models.reward_model.last(samples.tokens, batch.length)
    said = compare(
        (models.policy, samples.hidden[batch.row, batch.step]),
        (models.reference, models.reference.states(batch)),
        batch,
        temperature,
    )
    unset = torch.zeros_like(said.log_prob)
    rollout = Rollout(
        tokens=samples.tokens,
        prompt_length=samples.prompt_length,
        mask=mask,
        log_prob=said.log_prob,
        ref_log_prob=said.ref_log_prob,
        value=models.critic(batch),
        score=raw,
        is_truncated=samples.is_truncated,
        reward=unset,
        advantage=unset,
        returns=unset,
    )
    prompt = log_probabilities(
        models.policy, samples.prompt_hidden, samples.prompts(), samples.prompt_length
    )
    return Experience(samples, said, prompt, raw, rollout)
