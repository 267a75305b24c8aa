"""What PPO learns from: responses, what the four models say of them, and how the update went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.forward import TokenStatistics, compare, critic_outputs, log_probabilities
from workbench.models import Batch, Models
from workbench.packing import Rows
from workbench.parallel import Share, collect
from workbench.recipe import Recipe
from workbench.sampling import Samples, sample
from workbench.seeding import generator
from workbench.stages.reward_model import score_rows
from workbench.tasks.base import Task, Tokens
from workbench.types import Optimisation, Rollout, Sampling


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


@dataclass
class Experience:
    """One buffer of responses: what was sampled, what the models say of it, how the update went.

    Attributes:
        samples: prompts and responses, without hidden states, which nothing reads again.
        statistics: what policy and reference say of the response tokens.
        prompt_log_prob: [B, P] log π_old of the prompt's tokens after the first; 0 elsewhere.
        score: [B] reward-model score as it is, before any trick.
        rollout: what PPO trains on.
        updates: statistics of each optimiser step.
        kept_share: share of the responses that the update learns from.
    """

    samples: Samples
    statistics: TokenStatistics
    prompt_log_prob: Tensor
    score: Tensor
    rollout: Rollout
    updates: list[UpdateStatistics] = field(default_factory=list)
    kept_share: float = 1.0


def make_experience(
    models: Models,
    recipe: Recipe,
    samples: Samples,
    sampling: Sampling,
    rivals: Mapping[str, Tensor],
) -> Experience:
    """Make experience of sampled responses: what reference, critic and reward model say of them.

    Args:
        models: all that the recipe needs; the policy's hidden states come with the samples.
        recipe: says what is needed.
        samples: B responses of at most T tokens; those to one prompt stand together.
        sampling: how they were sampled.
        rivals: `greedy_score` and `reference_score` [B] where the recipe needs them.
    Returns:
        experience whose rollout has no rewards yet, and raw outputs of the critic for values.
    """
    mask = samples.mask
    batch = Batch.of(samples.tokens, samples.prompt_length, mask)
    text = Rows(samples.tokens, samples.prompt_length + samples.text_length)
    raw = models.reward_model.last(text if sampling.is_fixed_length else batch.rows)
    policy = models.policy, samples.hidden[batch.row, batch.step]
    said = reference = compare(
        policy, (models.sft, models.sft.states(batch)), batch, sampling.log_prob_temperature
    )
    if models.reference is not models.sft:
        moved = models.reference, models.reference.states(batch)
        reference = compare(policy, moved, batch, sampling.log_prob_temperature)
    value, end_value = critic_outputs(models, recipe, batch)
    unset, unset_rows = torch.zeros_like(said.log_prob), torch.zeros_like(raw)
    rollout = Rollout(
        tokens=samples.tokens,
        prompt_length=samples.prompt_length,
        mask=mask,
        text_length=samples.text_length,
        is_truncated=samples.is_truncated,
        group=_groups(raw, sampling),
        log_prob=said.log_prob,
        behaviour_log_prob=samples.log_prob,
        ref_log_prob=reference.ref_log_prob,
        entropy=said.entropy,
        ref_kl=reference.kl,
        value=value,
        end_value=end_value,
        score=raw,
        greedy_score=rivals.get("greedy_score", unset_rows),
        reference_score=rivals.get("reference_score", unset_rows),
        reward=unset,
        advantage=unset,
        returns=unset,
    )
    prompt = log_probabilities(
        models.policy, samples.prompt_hidden, samples.prompts(), samples.prompt_length
    )
    return Experience(_samples(rollout), said, prompt, raw, rollout)


def assemble(mine: Experience, share: Share, sampling: Sampling, *, pad: int) -> Experience:
    """Put the experience of all processes together.

    Args:
        mine: experience of this process's rows.
        share: which rows those are.
        sampling: how they were sampled.
        pad: the padding token.
    Returns:
        experience of all rows, the same on every process.
    """
    if share.is_everything:
        return mine
    widths = mine.rollout.tokens.shape[1], mine.rollout.mask.shape[1], mine.prompt_log_prob.shape[1]
    length, cap, prompt = map(max, zip(*collect(widths), strict=True))

    def whole(values: Tensor, width: int = cap, padding: int = 0) -> Tensor:
        missing = width - values.shape[-1] if values.ndim > 1 else 0
        return share.gather(F.pad(values, (0, missing), value=padding))

    parts = {f.name: getattr(mine.rollout, f.name) for f in fields(Rollout) if f.name != "tokens"}
    rollout = Rollout(
        tokens=whole(mine.rollout.tokens, length, pad), **{n: whole(part) for n, part in parts.items()}
    )
    rollout.group = _groups(rollout.score, sampling)
    said = (whole(getattr(mine.statistics, f.name)) for f in fields(TokenStatistics))
    prompt_log_prob = whole(mine.prompt_log_prob, prompt)
    return Experience(_samples(rollout), TokenStatistics(*said), prompt_log_prob, rollout.score, rollout)


def rival_scores(
    models: Models,
    recipe: Recipe,
    task: Task,
    prompts: Sequence[Tokens],
    sampling: Sampling,
    *,
    eos: int,
    pad: int,
) -> dict[str, Tensor]:
    """Score other responses to the same prompts, where a trick of the recipe compares with them.

    Args:
        models: policy and reward model are used.
        recipe: says whether greedy responses are needed, or the task's own.
        task: has responses of its own.
        prompts: B prompts.
        sampling: how responses are sampled.
        eos: the end token.
        pad: the padding token.
    Returns:
        `greedy_score` and `reference_score` [B], each only if needed.
    Raises:
        ValueError: if the task has no response of its own to a prompt.
    """
    rivals: dict[str, list[Tokens]] = {}
    if "greedy_score" in recipe.needs:
        greedy = sample(models.policy, prompts, sampling, eos=eos, pad=pad, noise=None)
        rivals["greedy_score"] = greedy.responses()
    if "reference_score" in recipe.needs:
        rivals["reference_score"] = task.reference_responses(prompts)
    texts = {
        name: [(*prompt, *response) for prompt, response in zip(prompts, responses, strict=True)]
        for name, responses in rivals.items()
    }
    return {name: score_rows(models.reward_model, rows, pad) for name, rows in texts.items()}


def minibatches(
    rollout: Rollout, kept: Tensor, plan: Optimisation, stream: tuple[int, ...]
) -> Iterator[Rollout]:
    """Yield minibatches of the rows that are kept [b], in an order that the stream decides."""
    for epoch in range(plan.epochs):
        shuffle = generator(*stream, epoch if plan.is_reshuffled else 0, "minibatches")
        order = kept[torch.randperm(len(kept), generator=shuffle).to(kept.device)]
        for index in torch.split(order, plan.minibatch_size):
            yield rollout.rows(index)


def _groups(score: Tensor, sampling: Sampling) -> Tensor:
    """Number the prompts [B] of responses with these scores; those to one prompt stand together."""
    return torch.arange(len(score), device=score.device) // sampling.responses_per_prompt


def _samples(rollout: Rollout) -> Samples:
    """Return the samples that a rollout was made of, without hidden states."""
    blank = torch.empty(0, device=rollout.tokens.device)
    return Samples(
        tokens=rollout.tokens,
        prompt_length=rollout.prompt_length,
        mask=rollout.mask,
        text_length=rollout.text_length,
        log_prob=rollout.behaviour_log_prob,
        hidden=blank,
        prompt_hidden=blank,
        is_truncated=rollout.is_truncated,
    )
