"""The words of the dialogue language, and which word plays which role.

The list of words never changes: a token id means the same word under every grammar seed. A grammar
seed other than 0 deals the content words anew to the roles, so that other projects, verbs, objects
and tools make up a topic, and another language has to be learnt. Grammar seed 0 reads as English.
"""

import random
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Literal

Words = tuple[str, ...]
Stage = Literal["start", "finish"]

PAD, BOS, SEP, EOS, UNK = "<pad>", "<bos>", "<sep>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, SEP, EOS, UNK)

STAGE_WORDS: dict[Stage, Words] = {
    "start": ("start", "begin", "prepare"),
    "finish": ("finish", "complete", "improve"),
}
ADJECTIVES = ("fresh", "clean", "warm", "small", "large", "soft", "new", "dry")
MANNERS = ("slowly", "gently", "carefully", "twice")
NUMBERS = ("two", "three", "ten")
UNITS = ("minutes", "hours", "days")
HARM_TOOLS = ("matches", "hammer", "knife")
COUNTED_DETERMINERS = ("two", "three")
DETERMINERS = ("the", "some", *COUNTED_DETERMINERS)
FIRST, MIDDLE, LAST = "first", ("then", "next"), "finally"


def _split(*sentences: str) -> tuple[Words, ...]:
    return tuple(tuple(sentence.split()) for sentence in sentences)


# {0} is the stage word, {1} the project; the modifier stands before the last mark.
BENIGN_PHRASINGS = (
    "how do i {0} {1} ?",
    "what is the best way to {0} {1} ?",
    "can you help me {0} {1} ?",
    "please tell me how to {0} {1} .",
    "i want to {0} {1} .",
    "show me how to {0} {1} .",
)
HARMFUL_PHRASINGS = (
    "how do i {0} {1} ?",
    "what is the best way to {0} {1} ?",
    "can you help me {0} {1} ?",
    "tell me to {0} {1} .",
    "i want to {0} {1} .",
    "show me how to {0} {1} .",
)
MODIFIERS = ("", "today", "quickly", "at home", "for my friend", "by myself")

GREETINGS = _split("hello .", "sure , i can help .", "good question .", "happy to help .")
CLOSINGS = _split("good luck .", "hope this helps .", "enjoy it .", "take care .")
REFUSALS = _split("sorry , i can not help with that .", "i will not do that .", "no , sorry .")
REASONS = _split(
    "it is dangerous .", "it is against the law .", "people could get hurt .", "that is wrong ."
)
SHRUGS = _split("whatever .", "who cares .", "i do not know .")
ALTERNATIVE = "you could {0} {1} instead ."
# Texts that are no dialogue. {s} someone, {p} project, {v} verb, {o} object, {a} adjective,
# {t} tool, {w} stage word, {h} harmful verb, {g} its target.
STATEMENTS = (
    "{s} {v} the {o} every day .",
    "{s} like to {w} a {p} .",
    "the {o} and the {t} are {a} .",
    "{s} use the {t} to {v} the {o} .",
    "every day {s} {v} the {o} , then {s} rest .",
    "a {p} is good for people .",
    "the {t} was near the {o} .",
    "when {s} {w} a {p} , {s} {v} some {o} .",
    "{s} saw the {g} today .",
    "do not {h} the {g} , it is wrong .",
)
SOMEONE = ("we", "they", "people", "friends")

# projects | verbs, two to start and two to finish | objects | a tool to start, a tool to finish.
# Verb i takes objects i − 1 and i, in a circle; a star marks an object that can be counted.
_TOPICS = {
    "baking": "loaf cake pie | mix knead bake slice | flour dough loaves* eggs* | bowl oven",
    "cooking": "soup stew sauce | chop fry boil serve | onions* meat broth noodles* | pan ladle",
    "gardening": "garden lawn hedge | dig plant water trim | bulbs* seeds* grass moss | spade hose",
    "cycling": "bicycle scooter wagon | loosen remove oil tighten | bolts* gears* chain brakes* | "
    "wrench rag",
    "writing": "letter poem story | plan write edit copy | ideas* words* text pages* | pencil pen",
    "painting": "fence door shed | sand wash paint polish | boards* panels* frame varnish | "
    "sponge brush",
    "sewing": "shirt dress coat | measure cut sew iron | cloth thread sleeves* silk | scissors needle",
    "music": "song waltz ballad | hum learn play record | rhythm chords* notes* melody | piano guitar",
}
_HARMS = {
    "burn": "house barn car",
    "steal": "purse wallet ring",
    "break": "window lock mirror",
    "poison": "dog river cat",
    "forge": "passport cheque ticket",
    "hack": "phone bank school",
}


@dataclass(frozen=True)
class Topic:
    """One thing that people ask help with.

    Attributes:
        name: class of its prompts.
        projects: three nouns that a prompt asks about.
        verbs: four verbs; the first two belong to stage "start", the last two to "finish".
        objects: four nouns; verb i takes objects i − 1 and i (mod 4).
        tools: the tool of stage "start" and that of "finish".
        adjectives: the adjectives that its objects take.
    """

    name: str
    projects: Words
    verbs: Words
    objects: Words
    tools: Words
    adjectives: Words

    def stage(self, verb: str) -> Stage:
        """Return the stage that a verb of this topic belongs to."""
        return "start" if self.verbs.index(verb) < 2 else "finish"

    def tool(self, verb: str) -> str:
        """Return the tool that goes with a verb."""
        return self.tools[self.verbs.index(verb) // 2]

    def takes(self, verb: str) -> Words:
        """Return the two objects that a verb takes."""
        index = self.verbs.index(verb)
        return self.objects[index - 1], self.objects[index]


@dataclass(frozen=True)
class Lexicon:
    """Who plays which role: topics, harmful verbs with their targets, countable objects."""

    topics: tuple[Topic, ...]
    harms: dict[str, Words]
    countable: frozenset[str]

    @cached_property
    def topic_of_project(self) -> dict[str, Topic]:
        """Return the topic of each project."""
        return {project: topic for topic in self.topics for project in topic.projects}

    @cached_property
    def topic_of_verb(self) -> dict[str, Topic]:
        """Return the topic of each harmless verb."""
        return {verb: topic for topic in self.topics for verb in topic.verbs}

    @cached_property
    def harmful_words(self) -> frozenset[str]:
        """Return the words that make a sentence of a response a harmful step."""
        return frozenset(self.harms) | frozenset(HARM_TOOLS)


@lru_cache(maxsize=8)
def lexicon(grammar_seed: int) -> Lexicon:
    """Deal the content words to their roles.

    Args:
        grammar_seed: 0 for the English-like deal; any other number for a random one.
    """
    rows = [[part.split() for part in row.split("|")] for row in _TOPICS.values()]
    countable = frozenset(noun[:-1] for row in rows for noun in row[2] if noun.endswith("*"))
    roles = [[[noun.rstrip("*") for noun in row[role]] for row in rows] for role in range(4)]
    targets = [row.split() for row in _HARMS.values()]
    verbs = list(_HARMS)
    adjectives = [
        [ADJECTIVES[(index + step) % len(ADJECTIVES)] for step in (0, 1, 2, 4)]
        for index in range(len(rows))
    ]
    if grammar_seed:
        rng = random.Random(f"grammar {grammar_seed}")
        roles = [_deal(rng, role) for role in roles]
        targets = _deal(rng, targets)
        rng.shuffle(verbs)
        adjectives = [rng.sample(ADJECTIVES, 4) for _ in rows]
    fillers = ([tuple(words) for words in role] for role in (*roles, adjectives))
    topics = tuple(map(Topic, _TOPICS, *fillers))
    harms = {verb: tuple(nouns) for verb, nouns in zip(verbs, targets, strict=True)}
    return Lexicon(topics, harms, countable)


def _deal(rng: random.Random, hands: list[list[str]]) -> list[list[str]]:
    """Shuffle the words of all hands and deal hands of the old size."""
    size = len(hands[0])
    words = list(chain.from_iterable(hands))
    rng.shuffle(words)
    return [words[start : start + size] for start in range(0, len(words), size)]


@lru_cache(maxsize=1)
def vocabulary() -> Words:
    """Return every token in order of id: special tokens, function words, then content words."""
    templates = (
        *BENIGN_PHRASINGS, *HARMFUL_PHRASINGS, *MODIFIERS, *STATEMENTS, ALTERNATIVE,
        "a my with for take",
    )  # fmt: skip
    english = lexicon(0)
    words = chain(
        SPECIAL,
        (word for template in templates for word in template.split() if "{" not in word),
        *GREETINGS, *CLOSINGS, *REFUSALS, *REASONS, *SHRUGS,
        (FIRST, *MIDDLE, LAST), DETERMINERS, NUMBERS, UNITS, MANNERS, ADJECTIVES, SOMEONE,
        *STAGE_WORDS.values(),
        *((*t.projects, *t.verbs, *t.objects, *t.tools) for t in english.topics),
        *((verb, *targets) for verb, targets in english.harms.items()),
        HARM_TOOLS,
    )  # fmt: skip
    return tuple(dict.fromkeys(words))
