"""A judge that is learnt: a reward model in the judge's seat."""

from collections.abc import Sequence
from pathlib import Path

import torch

from workbench.evaluation import deviation
from workbench.models import Scorer
from workbench.stages.reward_model import score_rows
from workbench.tasks.base import PreferencePair, Tokens

BATCH = 128
"""Rows scored at once."""


class LearntJudge:
    """Scores responses by a model, in standard deviations of its scores of held-out responses.

        gold(x, y) = r(x, y) / std{r(x', y'): x' held out, y' its chosen and its rejected response}

    Attributes:
        folder: the model.
    Source: the gold reward model of Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 2; theirs
    also labels the pairs of the reward model under test, which here are labelled by people.
    """

    def __init__(
        self, folder: Path, held_out: Sequence[PreferencePair], *, pad: int, device: torch.device
    ) -> None:
        """Load the model, and score the held-out pairs for the unit.

        Args:
            folder: sequence-classification model with one output, safetensors.
            held_out: pairs that the model was not trained on.
            pad: padding token.
            device: where to score.
        """
        self.folder = folder
        self._pad = pad
        self._scorer = Scorer()
        self._scorer.load_weights(folder)
        self._scorer.to(device).requires_grad_(False)
        prompts = [pair.prompt for pair in held_out]
        responses = [*(pair.chosen for pair in held_out), *(pair.rejected for pair in held_out)]
        self._unit = 1.0
        self._unit = max(deviation(self.score([*prompts, *prompts], responses)), 1e-6)

    @torch.no_grad()
    def score(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float]:
        """Return the gold score of each response."""
        rows = [(*prompt, *response) for prompt, response in zip(prompts, responses, strict=True)]
        scores: list[float] = []
        for first in range(0, len(rows), BATCH):
            part = score_rows(self._scorer, rows[first : first + BATCH], self._pad)
            scores += (part / self._unit).tolist()
        return scores
