"""Stage 1: pre-train a language model on plain texts."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.models import CHUNK_ELEMENTS, Policy
from workbench.settings import TrainingSettings
from workbench.stages.supervised import batches, fit, language_batch
from workbench.tasks.base import Tokens

TRUNK_TOKENS = 2**13
"""Held-out tokens that the trunk reads at a time; more where the logits of more are CHUNK_ELEMENTS."""


def pretrain(
    policy: Policy,
    texts: Sequence[Tokens],
    settings: TrainingSettings,
    *,
    accelerator: Accelerator,
    pad: int,
    seed: int,
) -> list[float]:
    """Minimise the cross-entropy of every token given the tokens before it.

        L = − mean_{x, t ≥ 1} log π(x_t | x_<t)

    Args:
        policy: model to train, in place.
        texts: token sequences.
        settings: steps, batch size, learning rate.
        accelerator: device and precision.
        pad: padding token.
        seed: seed of the batches.
    Returns:
        the loss of every step, in nats per token.
    """

    def loss_of(batch: list[int]) -> Tensor:
        tokens, mask = language_batch([texts[i] for i in batch], [1] * len(batch), pad)
        return policy.language_loss(tokens.to(accelerator.device), mask.to(accelerator.device))

    return fit(
        policy,
        loss_of,
        batches(len(texts), settings.batch_size, settings.steps, (seed, "pretrain")),
        accelerator=accelerator,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        title="pre-training",
    )


def held_out_perplexity(policy: Policy, texts: Sequence[Tokens], *, pad: int) -> float:
    """Measure the perplexity of held-out language; its rise under PPO is the alignment tax.

        exp(− mean_{x, t ≥ 1} log π(x_t | x_<t))

    Args:
        policy: model to measure.
        texts: token sequences never trained on.
        pad: padding token.
    Returns:
        perplexity.
    """
    return perplexity(*held_out_nats(policy, texts, pad=pad))


@torch.no_grad()
def held_out_nats(policy: Policy, texts: Sequence[Tokens], *, pad: int) -> tuple[float, int]:
    """Return the summed cross-entropy of every token but each text's first, and how many they are."""
    device = next(policy.parameters()).device
    chunk = max(1, CHUNK_ELEMENTS // policy.vocabulary)
    batch_size = max(1, min(256, max(chunk, TRUNK_TOKENS) // max(map(len, texts))))
    nats, count = 0.0, 0
    for first in range(0, len(texts), batch_size):
        part = texts[first : first + batch_size]
        tokens, mask = (t.to(device) for t in language_batch(part, [1] * len(part), pad))
        states, target = policy.predicting(tokens, mask)
        wanted = torch.split(target, chunk)
        chunks = zip(torch.split(states, chunk), wanted, strict=True)
        means = [cross_entropy(policy.logits(hidden).float(), token) for hidden, token in chunks]
        sizes = map(len, wanted)
        nats += sum(mean * size for mean, size in zip(torch.stack(means).tolist(), sizes, strict=True))
        count += len(target)
    return nats, count


def perplexity(nats: float, tokens: float) -> float:
    """Return e to the mean cross-entropy; infinite, rather than an error, where that is too large."""
    return float(torch.tensor(nats / tokens, dtype=torch.float64).exp())
