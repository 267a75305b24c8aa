"""The preferences task: human comparisons, split so that no dialogue is on both sides."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.progress import track
from workbench.tasks.base import JudgePlan, PreferencePair, Tokens
from workbench.tasks.preferences.encoding import Encoder
from workbench.tasks.preferences.formats import ChatFormat, Format, MarkedFormat
from workbench.tasks.preferences.paired import PairedTask
from workbench.tasks.preferences.pairs import Flaw, TextPair, read_pair
from workbench.tasks.preferences.settings import PreferencesSettings
from workbench.tasks.preferences.sources import read_rows
from workbench.tasks.preferences.tokenizer import load_given_tokenizer, train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from workbench.tasks.preferences.judge import LearntJudge

T = TypeVar("T", TextPair, PreferencePair)


class PreferencesTask(PairedTask):
    """Human preference pairs. Nothing depends on where the data lies or on the order of its rows.

    Attributes:
        rows: rows read.
        dropped: number of rows dropped, by reason.
        truncated: number of prompts, chosen and rejected responses that were cut to their cap.
    """

    def __init__(self, settings: PreferencesSettings) -> None:
        """Read, check, split and encode the data.

        Raises:
            FileNotFoundError: if the data or the tokenizer is not there.
            ValueError: if either cannot be used; in one sentence.
        """
        self.settings = settings
        self.rows = 0
        self.dropped: Counter[Flaw] = Counter()
        self._judge: LearntJudge | None = None
        given = None
        if settings.tokenizer:
            given = load_given_tokenizer(settings.tokenizer, settings.end_token)
        train, held_out = self._split(self._read(given), settings.held_out_share)
        judged: list[TextPair] = []
        if settings.judge:
            held_out, judged = self._split(held_out, settings.judge.share)
        tokenizer = given or self._own_tokenizer(train)
        encoder = Encoder(tokenizer, settings)
        seen: set[Tokens] = set()
        sides = [self._encoded(encoder, side, seen) for side in (train, held_out, judged)]
        super().__init__(settings, tokenizer, sides[0], sides[1])
        self._judged, self.truncated = sides[2], encoder.truncated
        self._refuse_nothing(self._train, "train on")
        self._refuse_nothing(self._held_out, "hold out")
        if settings.judge:
            self._refuse_nothing(self._judged, "train the judge on")

    @property
    def judge_plan(self) -> JudgePlan | None:
        """Train the judge, where one is asked for, on its own side of the held-out pairs."""
        settings = self.settings
        if settings.judge is None:
            return None
        every = settings.model_copy(update={"preference_pairs": None})
        return JudgePlan(PairedTask(every, self.tokenizer, self._judged, self._held_out), settings.judge)

    def seat_judge(self, folder: Path, device: "torch.device", rows_at_once: int | None = None) -> None:
        """Load the judge, unless it has its seat already."""
        from workbench.tasks.preferences.judge import LearntJudge

        if self._judge is None or self._judge.folder != folder:
            pad = int(self.tokenizer.pad_token_id)
            self._judge = LearntJudge(
                folder, self._held_out, pad=pad, device=device, rows_at_once=rows_at_once
            )

    def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float] | None:
        """Score responses by the learnt judge; None where none is asked for.

        Raises:
            ValueError: if the judge has not been seated yet.
        """
        if self.settings.judge is None:
            return None
        if not responses:
            return []
        if self._judge is None:
            raise ValueError(f"the judge of task {self.name} is not there yet; prepare the models first")
        return self._judge.score(prompts, responses)

    def summary(self) -> str:
        """Say in one sentence how many pairs there are, and what was dropped and cut."""
        used = f"{len(self._train)} pairs to train on and {len(self._held_out)} held out"
        used += f" and {len(self._judged)} for the judge" if self._judged else ""
        cut = ", ".join(f"{count} {what}" for what, count in sorted(self.truncated.items()))
        dropped = _counts(self.dropped)
        return f"{used}, of {self.rows} rows; dropped: {dropped}; cut to their cap: {cut or 'none'}"

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

    def _encoded(
        self, encoder: Encoder, pairs: Sequence[TextPair], seen: set[Tokens]
    ) -> list[PreferencePair]:
        """Encode one side without prompts that another has once they are cut; add its own to them."""
        usable = self._usable(_unseen(pair, seen) for pair in encoder.encode(pairs))
        seen.update(pair.prompt for pair in usable)
        return usable

    def _split(self, pairs: list[TextPair], share: float) -> tuple[list[TextPair], list[TextPair]]:
        """Hold out whole dialogues, drawn by the seed, until they have their share of the pairs."""
        sizes = Counter(pair.opening for pair in pairs)
        if len(sizes) < 2:
            raise ValueError(f"{self.settings.data} has one prompt only, so none can be held out")
        wanted = share * len(pairs)
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
    """Refuse a pair whose prompt, once cut to its last tokens, is on another side."""
    return Flaw.SEEN if isinstance(pair, PreferencePair) and pair.prompt in seen else pair


def _counts(counter: Counter[Flaw]) -> str:
    return ", ".join(f"{count} with {what}" for what, count in sorted(counter.items())) or "none"
