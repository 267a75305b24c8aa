"""What the supervised stages share: batches by seed, one optimiser, one schedule, one loop."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from workbench.progress import track
from workbench.sampling import pad_right
from workbench.seeding import generator
from workbench.tasks.base import Tokens


def batches(count: int, size: int, steps: int, seed: tuple[int | str, ...]) -> Iterator[list[int]]:
    """Yield `steps` lists of indices below `count`: every epoch a new permutation, none skipped.

    Args:
        count: number of examples.
        size: examples per batch; all of them if there are fewer.
        steps: batches to yield.
        seed: names the stream of random numbers.
    """
    size = min(size, count)
    pool: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(pool) < size:
            pool += torch.randperm(count, generator=generator(*seed, epoch)).tolist()
            epoch += 1
        yield pool[:size]
        pool = pool[size:]


def warmup_cosine(step: int, steps: int) -> float:
    """Learning-rate factor: linear over the first 5 %, then a cosine down to a tenth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def fit(
    model: nn.Module,
    loss_of: Callable[[list[int]], Tensor],
    indices: Iterator[list[int]],
    *,
    accelerator: Accelerator,
    learning_rate: float,
    steps: int,
    title: str,
) -> list[float]:
    """Minimise a loss with AdamW, gradients clipped to norm 1.

    Args:
        model: module to train, in place.
        loss_of: indices of examples -> scalar loss.
        indices: the examples of each step.
        accelerator: device and precision.
        learning_rate: peak.
        steps: optimiser steps, for the schedule and the progress bar.
        title: what the progress bar says.
    Returns:
        the loss of every step.
    """
    model.to(accelerator.device)
    trained = list(model.parameters())
    optimiser = AdamW(trained, lr=learning_rate, weight_decay=0.0, fused=True)
    optimiser = accelerator.prepare(optimiser)
    schedule = LambdaLR(optimiser, lambda step: warmup_cosine(step, steps))
    losses: list[Tensor] = []
    for batch in track(indices, total=steps, title=title):
        with accelerator.autocast():
            loss = loss_of(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist() if losses else []


def language_batch(rows: Sequence[Tokens], start: Sequence[int], pad: int) -> tuple[Tensor, Tensor]:
    """Stack sequences for a language-model loss.

    Args:
        rows: B token sequences.
        start: index of the first token to predict in each row.
        pad: padding token.
    Returns:
        tokens [B, L] and mask [B, L], True on the tokens to predict.
    """
    tokens, length = pad_right(rows, pad)
    column = torch.arange(tokens.shape[1])
    return tokens, (column >= torch.tensor(start)[:, None]) & (column < length[:, None])


def draw_texts(
    texts: Sequence[Tokens], count: int, pad: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw texts with replacement for a language-model loss: tokens [B, L] and mask [B, L]."""
    draw = torch.randint(len(texts), (count,), generator=random)
    return language_batch([texts[i] for i in draw.tolist()], [1] * count, pad)
