"""Turn pairs of text into pairs of token ids within the caps."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from workbench.progress import track
from workbench.tasks.base import PreferencePair, Tokens
from workbench.tasks.preferences.pairs import Flaw, TextPair
from workbench.tasks.preferences.settings import PreferencesSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 512
"""Rows tokenised at once."""


class Encoder:
    """Encodes pairs, and counts what it cuts.

    Attributes:
        truncated: number of prompts, chosen and rejected responses that were cut.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", settings: PreferencesSettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self.truncated: Counter[str] = Counter()
        self._eos = int(tokenizer.eos_token_id)
        self._bos = tokenizer.bos_token_id
        self._adds_bos = self._bos is not None and tokenizer("a").input_ids[0] == self._bos
        self._ids = tuple(range(len(tokenizer)))  # one int object per token id saves 4/5 of the memory

    def encode(self, pairs: Sequence[TextPair]) -> list[PreferencePair | Flaw]:
        """Encode pairs of text.

        A prompt above its cap loses its beginning, except a beginning-of-sequence token. A response
        ends with the end-of-sequence token; above its cap it loses its end, or the pair is dropped.

        Returns:
            for each pair its token ids, or why it is dropped.
        """
        return list(track(self._encoded(pairs), total=len(pairs), title="encoding preferences"))

    def _encoded(self, pairs: Sequence[TextPair]) -> Iterator[PreferencePair | Flaw]:
        rows = iter(pairs)
        while batch := list(islice(rows, BATCH)):
            columns = (
                [getattr(pair, part) for pair in batch] for part in ("prompt", "chosen", "rejected")
            )
            ids = (self._tokens(texts) for texts in columns)
            yield from (self._pair(*parts) for parts in zip(*ids, strict=True))

    def _tokens(self, texts: list[str]) -> list[Tokens]:
        rows = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [tuple([self._ids[token] for token in row]) for row in rows]

    def _pair(self, prompt: Tokens, chosen: Tokens, rejected: Tokens) -> PreferencePair | Flaw:
        settings = self.settings
        if self._eos in chosen or self._eos in rejected:
            return Flaw.END_INSIDE
        if self._adds_bos and prompt[:1] != (self._bos,):
            prompt = (self._ids[self._bos], *prompt)
        whole = {
            "prompts": prompt,
            "chosen": (*chosen, self._eos),
            "rejected": (*rejected, self._eos),
        }
        cap = settings.max_response_tokens
        if settings.long_responses == "drop" and max(len(whole["chosen"]), len(whole["rejected"])) > cap:
            return Flaw.TOO_LONG
        cut = {name: response[:cap] for name, response in whole.items()}
        cut["prompts"] = self._last(prompt)
        if not all(cut.values()):
            return Flaw.EMPTY
        if cut["chosen"] == cut["rejected"]:
            return Flaw.EQUAL_UP_TO_CAP
        self.truncated.update(name for name in whole if len(cut[name]) < len(whole[name]))
        return PreferencePair(cut["prompts"], cut["chosen"], cut["rejected"])

    def _last(self, prompt: Tokens) -> Tokens:
        """Return the last tokens of a prompt, behind its beginning-of-sequence token if it has one."""
        over = len(prompt) - self.settings.max_prompt_tokens
        if over <= 0:
            return prompt
        kept = int(prompt[0] == self._bos)
        return prompt[:kept] + prompt[over + kept :]
