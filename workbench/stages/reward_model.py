"""Stage 3: train a reward model on preference pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from workbench.models import Scorer, language_loss
from workbench.packing import Rows
from workbench.sampling import pad_right
from workbench.settings import RewardModelSettings
from workbench.stages.supervised import batches, fit, language_batch
from workbench.tasks.base import PreferencePair, Tokens

LOOKS, LOOKED_AT = 10, 512
"""Times that accuracy is measured during training, and most held-out pairs that it is measured on."""


@dataclass(frozen=True)
class RewardModelTraining:
    """How the training of a reward model went.

    Attributes:
        losses: the loss of every step.
        accuracies: optimiser steps done, and accuracy on held-out pairs at that point.
    """

    losses: list[float]
    accuracies: list[tuple[int, float]]


def train_reward_model(
    scorer: Scorer,
    pairs: Sequence[PreferencePair],
    settings: RewardModelSettings,
    *,
    held_out: Sequence[PreferencePair] = (),
    accelerator: Accelerator,
    pad: int,
    seed: int,
) -> RewardModelTraining:
    """Minimise the ranking loss, with a language-model term on the chosen response if asked.

        L = − mean log σ(r(x, y_w) − r(x, y_l))  −  β_rm mean log π_trunk(y_w | x)

    The score is read off the last token. The language model of the second term is the trunk with its
    own input embeddings as output layer.

    Args:
        scorer: model to train, in place; starts from the SFT model's trunk.
        pairs: preference pairs.
        settings: epochs, batch size, learning rate, β_rm.
        held_out: pairs on which the accuracy is watched while training, the first LOOKED_AT of them;
            looking changes nothing in the training.
        accelerator: device and precision.
        pad: padding token.
        seed: seed of the batches.
    Returns:
        the loss of every step; the accuracy before the first and then every tenth of the steps.
    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 1; β_rm of arXiv:2307.04964, eq. 2, where it is 1
    in the paper and 0 in the released code.
    """
    size = min(settings.batch_size, len(pairs))
    steps = settings.epochs * (len(pairs) // size)

    def loss_of(batch: list[int]) -> Tensor:
        picked = [pairs[i] for i in batch]
        chosen = [(*pair.prompt, *pair.chosen) for pair in picked]
        rejected = [(*pair.prompt, *pair.rejected) for pair in picked]
        score = score_rows(scorer, [*chosen, *rejected], pad)
        loss = -F.logsigmoid(score[: len(picked)] - score[len(picked) :]).mean()
        if settings.lm_weight:
            starts = [len(pair.prompt) for pair in picked]
            loss = loss + settings.lm_weight * _language_term(scorer, chosen, starts, pad)
        return loss

    accuracies: list[tuple[int, float]] = []
    drawn = batches(len(pairs), size, steps, (seed, "reward_model"))

    def look(step: int) -> None:
        if held_out:
            with accelerator.autocast():
                quality = measure(scorer, held_out[:LOOKED_AT], pad=pad)
            accuracies.append((step, quality.accuracy))

    losses = fit(
        scorer,
        loss_of,
        _watched(islice(drawn, settings.stop_after), max(1, steps // LOOKS), look),
        accelerator=accelerator,
        learning_rate=settings.learning_rate,
        steps=steps,
        title="reward model",
    )
    return RewardModelTraining(losses, accuracies)


def _watched(
    indices: Iterator[list[int]], every: int, look: Callable[[int], None]
) -> Iterator[list[int]]:
    """Pass batches on, and look at the model before the first of every so many."""
    for step, batch in enumerate(indices):
        if step % every == 0:
            look(step)
        yield batch


def score_rows(scorer: Scorer, rows: Sequence[Tokens], pad: int) -> Tensor:
    """Score sequences by their last token: B rows to scores [B]."""
    device = next(scorer.parameters()).device
    tokens, length = (part.to(device) for part in pad_right(rows, pad))
    return scorer.last(Rows(tokens, length))


@dataclass(frozen=True)
class RewardModelQuality:
    """How well a reward model tells held-out pairs apart.

    Attributes:
        accuracy: share of pairs with a positive margin.
        margins: [pairs] r(chosen) − r(rejected).
    """

    accuracy: float
    margins: list[float]


@torch.no_grad()
def measure(
    scorer: Scorer, pairs: Sequence[PreferencePair], *, pad: int, batch_size: int = 256
) -> RewardModelQuality:
    """Measure accuracy and margins on pairs the model has not seen.

    Args:
        scorer: reward model.
        pairs: held-out preference pairs.
        pad: padding token.
        batch_size: pairs per forward pass.
    """
    margins: list[float] = []
    for first in range(0, len(pairs), batch_size):
        part = pairs[first : first + batch_size]
        chosen = score_rows(scorer, [(*pair.prompt, *pair.chosen) for pair in part], pad)
        rejected = score_rows(scorer, [(*pair.prompt, *pair.rejected) for pair in part], pad)
        margins += (chosen - rejected).tolist()
    return RewardModelQuality(sum(m > 0 for m in margins) / len(margins), margins)


def _language_term(scorer: Scorer, rows: Sequence[Tokens], starts: list[int], pad: int) -> Tensor:
    embeddings = scorer.model.base_model.get_input_embeddings().weight
    tokens, mask = (part.to(scorer.model.device) for part in language_batch(rows, starts, pad))
    return language_loss(scorer, lambda states: states @ embeddings.T, tokens, mask)
