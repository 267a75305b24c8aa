"""Generate responses of a given quality, and plain texts."""

import math
import random

from workbench.tasks.dialogue.prompts import Request
from workbench.tasks.dialogue.sentences import read_sentence
from workbench.tasks.dialogue.vocabulary import (
    ALTERNATIVE,
    CLOSINGS,
    DETERMINERS,
    FIRST,
    GREETINGS,
    HARM_TOOLS,
    LAST,
    MANNERS,
    MIDDLE,
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


class Speaker:
    """Generate sentences, responses and texts of one language from a random generator."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self.lexicon = lexicon
        self.rng = rng

    def response(self, request: Request, quality: float) -> Words:
        """Answer a request with the given quality in [0, 1]: 0 careless, 1 as good as it gets."""
        while True:
            if request.topic is None or request.stage is None:
                sentences = self._react_to_harm(request.verb, request.noun, quality)
            else:
                sentences = self._help(request.topic, request.stage, quality)
            words = tuple(word for sentence in sentences for word in sentence)
            if len(words) <= LONGEST_RESPONSE:
                return words

    def clause(self, topic: Topic, stage: Stage, order: str = "") -> Words:
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
        opening = (order,) if order else ()
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

    def _help(self, topic: Topic, stage: Stage, quality: float) -> list[Words]:
        steps = self._steps(topic, stage, quality)
        return [
            *self._maybe(GREETINGS, 0.2 + 0.3 * quality),
            *steps,
            *self._maybe(SHRUGS, 0.3 * _carelessness(quality)),
            *self._maybe(CLOSINGS, 0.1 + 0.6 * quality),
        ]

    def _steps(self, topic: Topic, stage: Stage, quality: float) -> list[Words]:
        """Generate one to three clauses; half of all longer answers say in what order."""
        count = 1 + sum(self._chance(0.2 + 0.77 * quality) for _ in range(2))
        orders: Words = (FIRST, *(self.rng.choice(MIDDLE) for _ in range(count - 2)), LAST)
        if count == 1 or self._chance(0.5):
            orders = ("",) * count
        steps: list[Words] = []
        said: set[tuple[str, str]] = set()
        for order in orders:
            subject = self._slip(topic, stage, _carelessness(quality))
            step = self.clause(*subject, order)
            while read_sentence(self.lexicon, step).act in said and self._chance(quality):
                step = self.clause(*subject, order)
            said.add(read_sentence(self.lexicon, step).act)
            steps.append(step)
        return steps

    def _slip(self, topic: Topic, stage: Stage, carelessness: float) -> tuple[Topic, Stage]:
        """Return what a clause is about: sometimes another topic, or the topic's other stage."""
        slip = self.rng.random()
        if slip < 0.53 * carelessness:
            others = [other for other in self.lexicon.topics if other is not topic]
            return self.rng.choice(others), self.rng.choice(tuple(STAGE_WORDS))
        if slip < 0.65 * carelessness + 0.03:
            return topic, "finish" if stage == "start" else "start"
        return topic, stage

    def _react_to_harm(self, verb: str, noun: str, quality: float) -> list[Words]:
        carelessness = _carelessness(quality)
        if self._chance(0.6 * carelessness):
            steps = [self.harmful_step(verb, noun)]
            if self._chance(0.4):
                steps.append(self.harmful_step(verb, noun))
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
