"""The monitors: what one iteration says of the policy, as the glossary defines it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import pairwise

import torch
from torch import Tensor, nn

from workbench.experience import Experience, UpdateStatistics
from workbench.glossary import CAP
from workbench.maths import kl_estimate, masked_mean, masked_variance
from workbench.tasks.base import Tokens
from workbench.types import Evaluation, Rollout

MONITOR_RANGE = 0.2
"""The range of `ppo/clip_fraction` and `ppo/value_clip_fraction`, whatever the recipe clips at."""


@torch.no_grad()
def update_statistics(
    trained: Sequence[Sequence[nn.Parameter]],
    new: Evaluation,
    minibatch: Rollout,
    losses: tuple[Tensor, Tensor, Tensor],
) -> UpdateStatistics:
    """Measure one optimiser step, after the backward pass and before the gradients are changed.

    Args:
        trained: parameters of the policy and of the critic, with gradients.
        new: what they said of the minibatch.
        minibatch: what π_old and V_old said.
        losses: policy loss, value loss, sum of regularising terms.
    """
    mask, (policy, critic) = minibatch.mask, trained
    log_ratio = torch.where(mask, new.log_prob - minibatch.log_prob, 0.0)
    ratio = log_ratio.exp()
    moved = torch.where(mask, new.value - minibatch.value, 0.0)
    policy_loss, value_loss, regulariser = (loss.detach() for loss in losses)
    return UpdateStatistics(
        policy_loss=policy_loss,
        value_loss=value_loss,
        regulariser=regulariser,
        approx_kl=masked_mean(kl_estimate(-log_ratio, "k3"), mask),
        clip_fraction=masked_mean(((ratio - 1).abs() > MONITOR_RANGE).float(), mask),
        value_clip_fraction=masked_mean((moved.abs() > MONITOR_RANGE).float(), mask),
        policy_gradient_norm=_norm(policy, policy_loss),
        critic_gradient_norm=_norm(critic, policy_loss),
    )


def iteration_metrics(
    experiences: Sequence[Experience], gold: Sequence[float] | None
) -> dict[str, float]:
    """Compute the metrics of one iteration: `reward/*`, `policy/*` and `ppo/*`.

    Args:
        experiences: the iteration's buffers.
        gold: the judge's score of every response, in order, if the task has a judge.
    Returns:
        floats by glossary name; may be infinite or NaN, see `finite`.
    """
    means = _average([_buffer_metrics(experience) for experience in experiences])
    means |= _update_metrics(experiences)
    scores = torch.cat([experience.score for experience in experiences])
    metrics = {name: float(value) for name, value in (means | score_metrics(scores)).items()}
    responses = [r for experience in experiences for r in experience.samples.responses()]
    metrics |= text_metrics(responses) | learning_metrics(experiences)
    sampled = sum(int(experience.rollout.mask.sum()) for experience in experiences)
    metrics["time/response_tokens"] = float(sampled)
    if gold is not None:
        metrics["reward/gold"] = sum(gold) / len(gold)
    return metrics


def learning_metrics(experiences: Sequence[Experience]) -> dict[str, float]:
    """Say how much of an iteration's responses was learnt from, in how many steps."""
    kept = [experience.kept_share for experience in experiences]
    return {
        "ppo/optimiser_steps": float(sum(len(experience.updates) for experience in experiences)),
        "ppo/kept_share": sum(kept) / len(kept),
    }


def score_metrics(scores: Tensor) -> dict[str, Tensor]:
    """Summarise reward-model scores [B]: mean, deviation, quantiles."""
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], device=scores.device)
    names = ("q05", "q25", "q50", "q75", "q95")
    quantiles = dict(zip(names, scores.quantile(levels), strict=True))
    summary = {"proxy": scores.mean(), "proxy_std": scores.std()} | quantiles
    return {f"reward/{name}": value for name, value in summary.items()}


def text_metrics(responses: Sequence[Tokens]) -> dict[str, float]:
    """Measure how diverse responses are: the share of distinct ones, the share of repeated bigrams."""
    repeated = [_repeated_bigrams(response) for response in responses]
    return {
        "policy/distinct": len(set(responses)) / len(responses),
        "policy/repeated": sum(repeated) / len(repeated),
    }


def policy_metrics(
    log_prob: Tensor, ref_log_prob: Tensor, entropy: Tensor, kl: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Compute perplexities, entropy and KL estimates from token statistics.

    Args:
        log_prob: [B, T] log π_old.
        ref_log_prob: [B, T] log π_ref.
        entropy: [B, T] entropy of π_old in nats.
        kl: [B, T] exact KL per state in nats.
        mask: [B, T] bool.
    """
    length = mask.sum(1).clamp(min=1)
    log_ratio = torch.where(mask, log_prob - ref_log_prob, 0.0)
    mean_entropy = masked_mean(entropy, mask)
    return {
        "policy/perplexity": (-log_prob.sum(1) / length).mean().exp(),
        "policy/true_perplexity": mean_entropy.exp(),
        "policy/reference_perplexity": (-ref_log_prob.sum(1) / length).mean().exp(),
        "policy/kl_to_sft": log_ratio.sum(1).mean(),
        "policy/kl_to_sft_k3": kl_estimate(log_ratio, "k3").sum(1).mean(),
        "policy/kl_to_sft_exact": kl.sum(1).mean(),
        "policy/kl_per_token": (log_ratio.sum(1) / length).mean(),
        "policy/entropy": mean_entropy,
    }


def moss_perplexity(
    prompt_log_prob: Tensor, prompt_length: Tensor, log_prob: Tensor, mask: Tensor
) -> Tensor:
    """Compute MOSS-RLHF's `ppl`, which falls when responses lengthen.

        exp(Σ_s NLL_s / Σ_s |y_s|)          NLL_s = mean cross-entropy over prompt and response

    Args:
        prompt_log_prob: [B, P] log π_old of prompt tokens, 0 on the first and on padding.
        prompt_length: [B].
        log_prob: [B, T] log π_old of response tokens, 0 outside the mask.
        mask: [B, T] bool.
    Source: MOSS-RLHF ppo_trainer.py and metric.py, commit 4865d826.
    """
    predicted = prompt_length - 1 + mask.sum(1)
    nll = -(prompt_log_prob.sum(1) + log_prob.sum(1)) / predicted
    return (nll.sum() / mask.sum()).exp()


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Cap infinities at ±1e9, keep NaN, and count both in `stability/nonfinite_count`."""
    tensor = torch.tensor(list(metrics.values()), dtype=torch.float64)
    capped = tensor.clamp(-CAP, CAP).tolist()
    count = float((~tensor.isfinite()).sum())
    return dict(zip(metrics, capped, strict=True)) | {"stability/nonfinite_count": count}


class Stopwatch:
    """Seconds of wall clock by phase, read and reset once per iteration."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time inside to the phase; waits for the accelerator, if there is one."""
        start = time.perf_counter()
        yield
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def lap(self) -> dict[str, float]:
        """Return `time/<phase>_seconds` since the last lap."""
        lap = {f"time/{phase}_seconds": seconds for phase, seconds in self.seconds.items()}
        self.seconds = {}
        return lap


def _buffer_metrics(experience: Experience) -> dict[str, Tensor]:
    said, rollout, samples = experience.statistics, experience.rollout, experience.samples
    mask = rollout.mask
    error = rollout.returns - rollout.value
    spread = masked_variance(rollout.returns, mask, unbiased=False)
    unexplained = masked_variance(error, mask, unbiased=False)
    return policy_metrics(said.log_prob, said.ref_log_prob, said.entropy, said.kl, mask) | {
        "policy/moss_perplexity": moss_perplexity(
            experience.prompt_log_prob, samples.prompt_length, said.log_prob, mask
        ),
        "policy/response_length": samples.text_length.float().mean(),
        "policy/truncated": samples.is_truncated.float().mean(),
        "ppo/explained_variance": 1 - unexplained / spread,
        "ppo/advantage_mean": masked_mean(rollout.advantage, mask),
        "ppo/advantage_std": masked_variance(rollout.advantage, mask, unbiased=False).sqrt(),
        "ppo/return_mean": masked_mean(rollout.returns, mask),
        "ppo/value_mean": masked_mean(rollout.value, mask),
    }


def _update_metrics(experiences: Sequence[Experience]) -> dict[str, Tensor]:
    updates = [update for experience in experiences for update in experience.updates]
    names = [field.name for field in fields(UpdateStatistics)] if updates else []
    return {f"ppo/{n}": torch.stack([getattr(u, n) for u in updates]).mean() for n in names}


def _average(dictionaries: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([d[name] for d in dictionaries]).mean() for name in dictionaries[0]}


def _repeated_bigrams(response: Tokens) -> float:
    bigrams = list(pairwise(response))
    return 1 - len(set(bigrams)) / len(bigrams) if bigrams else 0.0


def _norm(parameters: Sequence[nn.Parameter], like: Tensor) -> Tensor:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else like.new_zeros(())
