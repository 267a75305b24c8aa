"""The grammar that generates prompts, responses of a given quality, and plain texts."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.tasks.dialogue.sentences import read_sentence
from workbench.tasks.dialogue.vocabulary import (
    ALTERNATIVE,
    BENIGN_PHRASINGS,
    CLOSINGS,
    DETERMINERS,
    FIRST,
    GREETINGS,
    HARM_TOOLS,
    HARMFUL_PHRASINGS,
    LAST,
    MANNERS,
    MIDDLE,
    MODIFIERS,
    NUMBERS,
    REASONS,
    REFUSALS,
    SHRUGS,
    SOMEONE,
    STAGE_WORDS,
    STATEMENTS,
    UNITS,
    Lexicon,
    Stage,
    Topic,
    Words,
)

LONGEST_RESPONSE = 36
"""Words in the longest demonstration, without its end-of-sequence token."""


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


class Speaker:
    """Generate sentences, responses and texts of one language from a random generator."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self.lexicon = lexicon
        self.rng = rng

    def response(self, request: Request, quality: float) -> Words:
        """Answer a request with the given quality in [0, 1]: 0 careless, 1 as good as it gets."""
        answer = self._help if request.topic else self._react_to_harm
        while True:
            words = tuple(word for sentence in answer(request, quality) for word in sentence)
            if len(words) <= LONGEST_RESPONSE:
                return words

    def clause(self, topic: Topic, stage: Stage, order: str | None = None) -> Words:
        """Generate a grammatical clause of a topic and stage, with at most one modifier."""
        choice = self.rng.choice
        verb = choice(topic.verbs[:2] if stage == "start" else topic.verbs[2:])
        noun = choice(topic.takes(verb))
        determiner = choice(DETERMINERS if noun in self.lexicon.countable else DETERMINERS[:2])
        adjective: Words = ()
        modifier: Words = ()
        match self.rng.randrange(7):
            case 0:
                adjective = (choice(topic.adjectives),)
            case 1:
                modifier = ("with", "the", topic.tool(verb))
            case 2:
                modifier = (choice(MANNERS),)
            case 3:
                modifier = ("for", choice(NUMBERS), choice(UNITS))
        opening = () if order is None else (order,)
        return (*opening, verb, determiner, *adjective, noun, *modifier, ".")

    def harmful_step(self, verb: str, noun: str) -> Words:
        """Generate a step of a harmful act."""
        if self.rng.random() < 0.3:
            return ("take", "the", self.rng.choice(HARM_TOOLS), ".")
        tool = ("with", "the", self.rng.choice(HARM_TOOLS)) if self.rng.random() < 0.4 else ()
        return (verb, "the", noun, *tool, ".")

    def alternative(self) -> Words:
        """Propose a benign project."""
        project = self.rng.choice(list(self.lexicon.topic_of_project))
        stage = self.rng.choice([*STAGE_WORDS["start"], *STAGE_WORDS["finish"]])
        return tuple(ALTERNATIVE.format(stage, f"a {project}").split())

    def statement(self) -> Words:
        """Generate a sentence that belongs to no dialogue."""
        choice = self.rng.choice
        topic = choice(self.lexicon.topics)
        verb = choice(topic.verbs)
        harm = choice(list(self.lexicon.harms))
        fields = {
            "s": choice(SOMEONE), "p": choice(topic.projects), "v": verb,
            "o": choice(topic.takes(verb)), "a": choice(topic.adjectives), "t": topic.tool(verb),
            "w": choice(STAGE_WORDS[topic.stage(verb)]), "h": harm,
            "g": choice(self.lexicon.harms[harm]),
        }  # fmt: skip
        return tuple(choice(STATEMENTS).format(**fields).split())

    def narration(self) -> Words:
        """Tell the steps of a project from its start to its finish."""
        topic = self.rng.choice(self.lexicon.topics)
        stages: tuple[Stage, ...] = ("start", "start", "finish", "finish")
        orders = (FIRST, *(self.rng.choice(MIDDLE) for _ in range(2)), LAST)
        steps = (self.clause(topic, *pair) for pair in zip(stages, orders, strict=True))
        return tuple(word for step in steps for word in step)

    def _help(self, request: Request, quality: float) -> list[Words]:
        chance, carelessness = self._chance, _carelessness(quality)
        count = 1 + sum(chance(0.2 + 0.77 * quality) for _ in range(2))
        ordered = count > 1 and chance(0.5)
        body: list[Words] = []
        for index in range(count):
            order = self._order(index, count) if ordered else None
            body.append(self._step(request, quality, order, body))
        if chance(0.3 * carelessness):
            body.append(self.rng.choice(SHRUGS))
        return [
            *self._maybe(GREETINGS, 0.2 + 0.3 * quality),
            *body,
            *self._maybe(CLOSINGS, 0.1 + 0.6 * quality),
        ]

    def _step(self, request: Request, quality: float, order: str | None, body: list[Words]) -> Words:
        """Generate one clause; careless ones are of another topic, another stage, or a repeat."""
        assert request.topic is not None and request.stage is not None
        carelessness = _carelessness(quality)
        slip = self.rng.random()
        if slip < 0.53 * carelessness:
            other = self.rng.choice([t for t in self.lexicon.topics if t is not request.topic])
            return self.clause(other, self.rng.choice(tuple(STAGE_WORDS)), order)
        if slip < 0.65 * carelessness + 0.03:
            return self.clause(request.topic, _other(request.stage), order)
        clause = self.clause(request.topic, request.stage, order)
        said = {read_sentence(self.lexicon, step).act for step in body}
        while read_sentence(self.lexicon, clause).act in said and self._chance(quality):
            clause = self.clause(request.topic, request.stage, order)
        return clause

    def _order(self, index: int, count: int) -> str:
        if index == 0:
            return FIRST
        return LAST if index == count - 1 else self.rng.choice(MIDDLE)

    def _react_to_harm(self, request: Request, quality: float) -> list[Words]:
        carelessness = _carelessness(quality)
        if self._chance(0.6 * carelessness):
            steps = [self.harmful_step(request.verb, request.noun)]
            if self._chance(0.4):
                steps.append(self.harmful_step(request.verb, request.noun))
            return [*self._maybe(GREETINGS, 0.3), *steps, *self._maybe(CLOSINGS, 0.3)]
        return [
            self.rng.choice(REFUSALS),
            *self._maybe(REASONS, 0.3 + 0.6 * quality),
            *([self.alternative()] if self._chance(0.2 + 0.7 * quality) else []),
            *self._maybe(SHRUGS, 0.2 * carelessness),
            *self._maybe(CLOSINGS, 0.1 + 0.5 * quality),
        ]

    def _maybe(self, sentences: tuple[Words, ...], probability: float) -> list[Words]:
        return [self.rng.choice(sentences)] if self._chance(probability) else []

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def _carelessness(quality: float) -> float:
    """Return how often a demonstrator slips, as a share of the worst one's slips."""
    return math.pow(1 - quality, 1.5)


def _other(stage: Stage) -> Stage:
    return "finish" if stage == "start" else "start"
