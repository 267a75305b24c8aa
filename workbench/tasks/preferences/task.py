"""The preferences task: human comparisons, split so that no dialogue is on both sides."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from workbench.progress import track
from workbench.tasks.base import Demonstration, PreferencePair, Preferences, Respond, Task, Tokens
from workbench.tasks.preferences.encoding import Encoder
from workbench.tasks.preferences.formats import ChatFormat, Format, MarkedFormat
from workbench.tasks.preferences.pairs import Flaw, TextPair, read_pair
from workbench.tasks.preferences.settings import PreferencesSettings
from workbench.tasks.preferences.sources import read_rows
from workbench.tasks.preferences.tokenizer import load_given_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T", TextPair, PreferencePair)


class PreferencesTask(Task):
    """Human preference pairs. Nothing depends on where the data lies or on the order of its rows.

    Attributes:
        rows: rows read.
        dropped: number of rows dropped, by reason.
        truncated: number of prompts, chosen and rejected responses that were cut to their cap.
    """

    name: ClassVar[str] = "preferences"
    tokenizer: "PreTrainedTokenizerBase"

    def __init__(self, settings: PreferencesSettings) -> None:
        """Read, check, split and encode the data.

        Raises:
            FileNotFoundError: if the data or the tokenizer is not there.
            ValueError: if either cannot be used; in one sentence.
        """
        self.settings: PreferencesSettings = settings
        self.rows = 0
        self.dropped: Counter[Flaw] = Counter()
        given = load_given_tokenizer(settings.tokenizer) if settings.tokenizer else None
        train, held_out = self._split(self._read(given))
        self.tokenizer = given or self._own_tokenizer(train)
        encoder = Encoder(self.tokenizer, settings)
        self._train = self._usable(encoder.encode(train))
        seen = {pair.prompt for pair in self._train}
        encoded = (_unseen(pair, seen) for pair in encoder.encode(held_out))
        self._held_out = self._usable(encoded)
        self.truncated = encoder.truncated
        self._refuse_nothing(self._train, "train on")
        self._refuse_nothing(self._held_out, "hold out")

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
        return _prompts(self._train)

    def eval_prompts(self) -> list[Tokens]:
        """Return distinct held-out prompts, as many as the settings allow."""
        return _prompts(self._held_out)[: self.settings.eval_prompts]

    def preferences(self, respond: Respond) -> Preferences:
        """Return the human pairs; nothing is sampled."""
        return Preferences(list(self._train), list(self._held_out))

    def fingerprint(self) -> str:
        """Name the content: a hash of the vocabulary, the pairs and the prompts held out."""
        return f"{self.name} {self._content}"

    def summary(self) -> str:
        """Say in one sentence how many pairs there are, and what was dropped and cut."""
        used = f"{len(self._train)} pairs to train on and {len(self._held_out)} held out"
        cut = ", ".join(f"{count} {what}" for what, count in sorted(self.truncated.items()))
        dropped = _counts(self.dropped)
        return f"{used}, of {self.rows} rows; dropped: {dropped}; cut to their cap: {cut or 'none'}"

    @cached_property
    def _content(self) -> str:
        digest = hashlib.sha256(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        parts = (self._train, self._held_out)
        sequences = ((p.prompt, p.chosen, p.rejected) for part in parts for p in part)
        shape = (len(self._train), self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        for tokens in chain([shape], *sequences, self.eval_prompts(), self.held_out_texts()):
            digest.update(np.array([len(tokens), *tokens], "<i8").tobytes())
        return digest.hexdigest()

    def _read(self, tokenizer: "PreTrainedTokenizerBase | None") -> list[TextPair]:
        """Read all usable pairs in an order that the seed and their content decide."""
        settings = self.settings
        form: Format = MarkedFormat(settings.roles)
        if tokenizer is not None and tokenizer.chat_template is not None:
            form = ChatFormat(tokenizer)
        rows = list(read_rows(settings))
        self.rows = len(rows)
        steps = track(rows, total=len(rows), title="reading preferences")
        pairs = self._usable(read_pair(row, form, settings.roles) for row in steps)
        self._refuse_nothing(pairs, "train on")
        pairs.sort(key=lambda pair: self._rank(pair.prompt, pair.chosen, pair.rejected))
        return pairs[: settings.limit]

    def _split(self, pairs: list[TextPair]) -> tuple[list[TextPair], list[TextPair]]:
        """Hold out whole dialogues, drawn by the seed, until they have their share of the pairs."""
        sizes = Counter(pair.opening for pair in pairs)
        if len(sizes) < 2:
            raise ValueError(f"{self.settings.data} has one prompt only, so none can be held out")
        wanted = self.settings.held_out_share * len(pairs)
        held_out: set[str] = set()
        count = 0
        for opening in sorted(sizes, key=self._rank)[:-1]:
            if held_out and count >= wanted:
                break
            held_out.add(opening)
            count += sizes[opening]
        sides: tuple[list[TextPair], list[TextPair]] = ([], [])
        for pair in pairs:
            sides[pair.opening in held_out].append(pair)
        return sides

    def _own_tokenizer(self, train: Sequence[TextPair]) -> "PreTrainedTokenizerBase":
        pairs = track(train, total=len(train), title="training a tokenizer")
        texts = (text for pair in pairs for text in (pair.prompt, pair.chosen, pair.rejected))
        return train_tokenizer(texts, self.settings.vocabulary_size)

    def _usable(self, read: Iterable[T | Flaw]) -> list[T]:
        """Count the flaws and return the rest."""
        usable: list[T] = []
        for pair in read:
            if isinstance(pair, Flaw):
                self.dropped[pair] += 1
            else:
                usable.append(pair)
        return usable

    def _refuse_nothing(self, pairs: Sequence[object], purpose: str) -> None:
        if not pairs:
            raise ValueError(
                f"no usable pair is left to {purpose} in the {self.rows} rows of "
                f"{self.settings.data}; dropped: {_counts(self.dropped)}"
            )

    def _rank(self, *texts: str) -> bytes:
        """Give texts a place in a random order that the seed decides and other rows do not move."""
        return hashlib.sha256(repr((self.settings.seed, texts)).encode()).digest()


def _unseen(pair: PreferencePair | Flaw, seen: set[Tokens]) -> PreferencePair | Flaw:
    """Refuse a held-out pair whose prompt, once cut to its last tokens, is a training prompt."""
    return Flaw.SEEN if isinstance(pair, PreferencePair) and pair.prompt in seen else pair


def _prompts(pairs: Sequence[PreferencePair]) -> list[Tokens]:
    return list(dict.fromkeys(pair.prompt for pair in pairs))


def _texts(pairs: Sequence[PreferencePair]) -> list[Tokens]:
    return list(dict.fromkeys((*pair.prompt, *pair.chosen) for pair in pairs))


def _counts(counter: Counter[Flaw]) -> str:
    return ", ".join(f"{count} with {what}" for what, count in sorted(counter.items())) or "none"
