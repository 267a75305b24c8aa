"""What the pipeline gets from two sides of encoded pairs: one to train on, one held out."""

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.tasks.base import Demonstration, PreferencePair, Preferences, Respond, Task, Tokens
from workbench.tasks.preferences.settings import PreferencesSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PairedTask(Task):
    """Texts, prompts and preferences of given pairs."""

    name: ClassVar[str] = "preferences"
    tokenizer: "PreTrainedTokenizerBase"

    def __init__(
        self,
        settings: PreferencesSettings,
        tokenizer: "PreTrainedTokenizerBase",
        train: Sequence[PreferencePair],
        held_out: Sequence[PreferencePair],
        *,
        draw: int = 0,
    ) -> None:
        """Keep both sides.

        Args:
            settings: caps on what is returned.
            tokenizer: of the pairs.
            train: pairs to train on.
            held_out: pairs that nothing trains on.
            draw: which of the training pairs the reward model gets, where it gets few.
        """
        self.settings: PreferencesSettings = settings
        self.tokenizer = tokenizer
        self._train, self._held_out, self._draw = train, held_out, draw

    def pretraining_texts(self) -> list[Tokens]:
        """Return the training dialogues, each a prompt with its chosen response."""
        return _texts(self._train)

    def held_out_texts(self) -> list[Tokens]:
        """Return held-out dialogues, as many as the settings allow."""
        return _texts(self._held_out)[: self.settings.held_out_texts]

    def demonstrations(self) -> list[Demonstration]:
        """Return each training prompt with its chosen responses."""
        return list(dict.fromkeys(Demonstration(pair.prompt, pair.chosen) for pair in self._train))

    def train_prompts(self) -> list[Tokens]:
        """Return the distinct training prompts."""
        return prompts_of(self._train)

    def eval_prompts(self) -> list[Tokens]:
        """Return distinct held-out prompts, as many as the settings allow."""
        return prompts_of(self._held_out)[: self.settings.eval_prompts]

    def preferences(self, respond: Respond) -> Preferences:
        """Return the human pairs, or as many as the settings allow; nothing is sampled."""
        pairs = list(self._train)
        if (count := self.settings.preference_pairs) is not None:
            random.Random(f"{self.settings.seed} {self._draw} pairs").shuffle(pairs)
            pairs = pairs[:count]
        return Preferences(pairs, list(self._held_out))

    def redrawn(self, seed: int) -> "PairedTask":
        """Return another draw of the reward model's pairs; all of them are the same in any draw."""
        return PairedTask(self.settings, self.tokenizer, self._train, self._held_out, draw=seed + 1)

    def fingerprint(self) -> str:
        """Name the content: a hash of the vocabulary, the pairs and the prompts held out."""
        count = self.settings.preference_pairs
        return f"{self.name} {self._content}" + (f" {count} pairs" if count is not None else "")

    @cached_property
    def _content(self) -> str:
        digest = hashlib.sha256(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        parts = (self._train, self._held_out)
        sequences = ((p.prompt, p.chosen, p.rejected) for part in parts for p in part)
        shape = (len(self._train), self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        for tokens in chain([shape], *sequences, self.eval_prompts(), self.held_out_texts()):
            digest.update(np.array([len(tokens), *tokens], "<i8").tobytes())
        return digest.hexdigest()


def prompts_of(pairs: Sequence[PreferencePair]) -> list[Tokens]:
    """Return the distinct prompts of pairs, in order."""
    return list(dict.fromkeys(pair.prompt for pair in pairs))


def _texts(pairs: Sequence[PreferencePair]) -> list[Tokens]:
    return list(dict.fromkeys((*pair.prompt, *pair.chosen) for pair in pairs))
