"""A judge that is learnt: a reward model in the judge's seat."""

from collections.abc import Sequence
from pathlib import Path

import torch

from workbench.evaluation import deviation, mean
from workbench.models import Scorer
from workbench.stages.reward_model import score_rows
from workbench.tasks.base import PreferencePair, Tokens

BATCH = 128
"""Rows scored at once."""


class LearntJudge:
    """Scores responses by a model, standardised by its scores of held-out responses.

        gold(x, y) = (r(x, y) − mean R) / std R     R = {r(x', y'): y' chosen or rejected, x' held out}

    Attributes:
        folder: the model.
    Source: the gold reward model of Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 2; theirs
    also labels the pairs of the reward model under test, which here are labelled by people.
    """

    def __init__(
        self,
        folder: Path,
        held_out: Sequence[PreferencePair],
        *,
        pad: int,
        device: torch.device,
        rows_at_once: int | None = None,
    ) -> None:
        """Load the model, and score the held-out pairs for zero and unit.

        Args:
            folder: sequence-classification model with one output, safetensors.
            held_out: pairs that the model was not trained on.
            pad: padding token.
            device: where to score.
            rows_at_once: rows that it reads at a time; None for BATCH.
        """
        self.folder = folder
        self._pad = pad
        self._scorer = Scorer(rows_at_once)
        self._scorer.load_weights(folder)
        self._scorer.to(device).requires_grad_(False)
        prompts = [pair.prompt for pair in held_out]
        responses = [*(pair.chosen for pair in held_out), *(pair.rejected for pair in held_out)]
        scores = self._scores([*prompts, *prompts], responses)
        self._zero, self._unit = mean(scores), max(deviation(scores), 1e-6)

    def score(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float]:
        """Return the gold score of each response."""
        return [(score - self._zero) / self._unit for score in self._scores(prompts, responses)]

    @torch.no_grad()
    def _scores(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float]:
        rows = [(*prompt, *response) for prompt, response in zip(prompts, responses, strict=True)]
        scores: list[float] = []
        for first in range(0, len(rows), BATCH):
            scores += score_rows(self._scorer, rows[first : first + BATCH], self._pad).tolist()
        return scores
