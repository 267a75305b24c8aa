"""The dialogue task: one language, one judge, and what the pipeline trains and measures on."""

import copy
import random
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from workbench.tasks.base import Demonstration, Preferences, Respond, Task, Tokens
from workbench.tasks.dialogue.grammar import Speaker
from workbench.tasks.dialogue.judge import Judge
from workbench.tasks.dialogue.preferences import make_pairs
from workbench.tasks.dialogue.prompts import benign_prompts, harmful_prompts, read_request
from workbench.tasks.dialogue.settings import DialogueSettings
from workbench.tasks.dialogue.tokenizer import build_tokenizer
from workbench.tasks.dialogue.vocabulary import BOS, EOS, SEP, Words, lexicon, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAIR_STRIDE = 7_919
"""Keeps the seeds of further draws of pairs apart from those of tasks with other seeds."""


class DialogueTask(Task):
    """A small helpful and harmless language with a gold judge.

    A prompt is `<bos> … ? <sep>`, a response `… <eos>`, a plain text `<bos> … <eos>`.
    """

    name: ClassVar[str] = "dialogue"

    def __init__(self, settings: DialogueSettings | None = None) -> None:
        """Split the prompts of the language; everything else is generated when asked for.

        Raises:
            ValueError: if the language has fewer prompts of a class than the settings ask for.
        """
        self.settings: DialogueSettings = settings or DialogueSettings()
        self.lexicon = lexicon(self.settings.grammar_seed)
        self.judge = Judge(self.settings.grammar_seed, self.settings.judge)
        self._draw = 0
        self._ids = {word: index for index, word in enumerate(vocabulary())}
        self._eval, self._held_out, self._train = self._split()

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Return the word-level tokenizer."""
        return build_tokenizer()

    def encode(self, words: Iterable[str]) -> Tokens:
        """Return the ids of words of the language."""
        return tuple(self._ids[word] for word in words)

    def pretraining_texts(self) -> list[Tokens]:
        """Return dialogues of all qualities on training prompts, statements and narrations."""
        return list(self._pretraining)

    def held_out_texts(self) -> list[Tokens]:
        """Return texts of the same kinds, distinct, none of which is a pre-training text."""
        rng = self._rng("held out texts")
        seen = set(self._pretraining)
        texts: list[Tokens] = []
        while len(texts) < self.settings.held_out_texts:
            text = self._text(rng, self._held_out)
            if text not in seen:
                seen.add(text)
                texts.append(text)
        return texts

    def demonstrations(self) -> list[Demonstration]:
        """Return responses of mixed quality to training prompts."""
        rng = self._rng("demonstrations")
        prompts = (rng.choice(self._train) for _ in range(self.settings.demonstrations))
        return [Demonstration(prompt, self.demonstrate(prompt, rng)) for prompt in prompts]

    def demonstrate(self, prompt: Tokens, rng: random.Random, quality: float | None = None) -> Tokens:
        """Answer a prompt with a quality in [0, 1], or with one drawn as the settings say."""
        if quality is None:
            settings = self.settings
            quality = rng.betavariate(settings.quality_alpha, settings.quality_beta)
        request = read_request(self.lexicon, self._words(prompt))
        return self.encode((*Speaker(self.lexicon, rng).response(request, quality), EOS))

    def reference_responses(self, prompts: Sequence[Tokens]) -> list[Tokens]:
        """Return one response of mixed quality to each prompt, always the same."""
        return [self.demonstrate(prompt, self._rng(f"reference {prompt}")) for prompt in prompts]

    def train_prompts(self) -> list[Tokens]:
        """Return the prompts that PPO samples from; pairs and demonstrations share them."""
        return list(self._train)

    def eval_prompts(self) -> list[Tokens]:
        """Return prompts that no stage trains on."""
        return list(self._eval)

    def preferences(self, respond: Respond) -> Preferences:
        """Return pairs on training prompts, and pairs on prompts that nothing trains on."""
        settings = self.settings
        sets = [
            make_pairs(
                prompts,
                count,
                coverage=settings.coverage,
                temperature=settings.label_temperature,
                seed=2 * (settings.seed + PAIR_STRIDE * self._draw) + 1_000_003 * part,
                respond=respond,
                demonstrate=self.demonstrate,
                score=self.judge.score,
            )
            for part, (prompts, count) in enumerate(
                [
                    (self._train, settings.preference_pairs),
                    (self._held_out, settings.held_out_pairs),
                ]
            )
        ]
        return Preferences(*sets)

    def redrawn(self, seed: int) -> "DialogueTask":
        """Return this task with another draw of preference pairs and labels."""
        other = copy.copy(self)
        other._draw = seed + 1
        return other

    def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float]:
        """Score responses by the judge, in units of gold."""
        return self.judge.score(prompts, responses)

    def prompt_class(self, prompt: Tokens) -> str:
        """Return the topic of a prompt, or "harmful"."""
        return read_request(self.lexicon, self._words(prompt)).kind

    @cached_property
    def _pretraining(self) -> tuple[Tokens, ...]:
        rng = self._rng("pretraining")
        return tuple(self._text(rng, self._train) for _ in range(self.settings.pretraining_texts))

    def _split(self) -> tuple[list[Tokens], list[Tokens], list[Tokens]]:
        """Deal distinct prompts to evaluation, held-out pairs and training, with classes in balance."""
        settings, rng = self.settings, self._rng("prompts")
        sizes = (settings.eval_prompts, settings.held_out_prompts, settings.train_prompts)
        harmful = list(harmful_prompts(self.lexicon))
        by_topic: dict[str, list[Words]] = {topic.name: [] for topic in self.lexicon.topics}
        for prompt in benign_prompts(self.lexicon):
            by_topic[read_request(self.lexicon, prompt).kind].append(prompt)
        decks = [harmful, *by_topic.values()]
        for deck in decks:
            rng.shuffle(deck)
        supplies = [iter(deck) for deck in decks]
        parts = []
        for size in sizes:
            words = [w for s, n in zip(supplies, self._shares(size), strict=True) for w in islice(s, n)]
            if len(words) < size:
                raise ValueError(
                    f"this language has too few prompts for {sum(sizes)} distinct ones with "
                    f"a harmful share of {settings.harmful_share:g}; ask for fewer"
                )
            rng.shuffle(words)
            parts.append([self.encode((BOS, *prompt, SEP)) for prompt in words])
        return parts[0], parts[1], parts[2]

    def _shares(self, size: int) -> list[int]:
        """Return how many of `size` prompts are harmful, then how many are of each topic."""
        harmful = round(size * self.settings.harmful_share)
        count = len(self.lexicon.topics)
        each, over = divmod(size - harmful, count)
        return [harmful, *(each + (index < over) for index in range(count))]

    def _text(self, rng: random.Random, prompts: Sequence[Tokens]) -> Tokens:
        speaker = Speaker(self.lexicon, rng)
        if rng.random() < self.settings.dialogue_share:
            prompt = rng.choice(prompts)
            return (*prompt, *self.demonstrate(prompt, rng))
        if rng.random() < 0.5:
            words: Words = speaker.narration()
        else:
            words = tuple(word for _ in range(rng.randint(1, 3)) for word in speaker.statement())
        return self.encode((BOS, *words, EOS))

    def _words(self, prompt: Tokens) -> Words:
        words = vocabulary()
        return tuple(words[index] for index in prompt)

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.settings.grammar_seed} {self.settings.seed} {purpose}")
