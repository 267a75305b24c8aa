"""Every prompt of the language, and what a prompt asks for."""

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.tasks.dialogue.vocabulary import (
    BENIGN_PHRASINGS,
    HARMFUL_PHRASINGS,
    MODIFIERS,
    STAGE_WORDS,
    Lexicon,
    Stage,
    Topic,
    Words,
)


@dataclass(frozen=True)
class Request:
    """What a prompt asks for: help with a stage of a project, or a harmful act on a target."""

    topic: Topic | None
    stage: Stage | None
    verb: str
    noun: str

    @property
    def kind(self) -> str:
        """Return the topic's name, or "harmful"."""
        return "harmful" if self.topic is None else self.topic.name


def benign_prompts(lexicon: Lexicon) -> Iterator[Words]:
    """Yield every benign prompt: project × stage word × determiner × phrasing × modifier."""
    for project in lexicon.topic_of_project:
        for words in STAGE_WORDS.values():
            for verb in words:
                yield from _phrased(BENIGN_PHRASINGS, verb, project, ("a", "my"))


def harmful_prompts(lexicon: Lexicon) -> Iterator[Words]:
    """Yield every harmful prompt: act × target × determiner × phrasing × modifier."""
    for verb, targets in lexicon.harms.items():
        for target in targets:
            yield from _phrased(HARMFUL_PHRASINGS, verb, target, ("a", "the"))


def _phrased(phrasings: Words, verb: str, noun: str, determiners: Words) -> Iterator[Words]:
    for phrasing in phrasings:
        for determiner in determiners:
            for modifier in MODIFIERS:
                *words, mark = phrasing.format(verb, f"{determiner} {noun}").split()
                yield (*words, *modifier.split(), mark)


def read_request(lexicon: Lexicon, prompt: Words) -> Request:
    """Find what a prompt asks for.

    Raises:
        ValueError: if the prompt names no project with a stage, and no harmful act.
    """
    for verb, noun in zip(prompt, prompt[2:], strict=False):
        if verb in lexicon.harms:
            return Request(None, None, verb, noun)
        for stage, words in STAGE_WORDS.items():
            if verb in words and noun in lexicon.topic_of_project:
                return Request(lexicon.topic_of_project[noun], stage, verb, noun)
    raise ValueError(f"the dialogue task does not know what this prompt asks: {' '.join(prompt)}")
