"""Read one sentence of a response: what kind of sentence it is, and whether it is grammatical."""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from workbench.tasks.dialogue.vocabulary import (
    ALTERNATIVE,
    CLOSINGS,
    COUNTED_DETERMINERS,
    DETERMINERS,
    FIRST,
    GREETINGS,
    LAST,
    MANNERS,
    MIDDLE,
    NUMBERS,
    REASONS,
    REFUSALS,
    SHRUGS,
    STAGE_WORDS,
    UNITS,
    Lexicon,
    Stage,
    Words,
)

Kind = Literal[
    "greeting", "clause", "closing", "refusal", "reason", "alternative", "shrug", "harm", "broken"
]
MARKS = frozenset({".", "?"})
_FIXED: dict[Words, Kind] = {
    **dict.fromkeys(GREETINGS, "greeting"),
    **dict.fromkeys(CLOSINGS, "closing"),
    **dict.fromkeys(REFUSALS, "refusal"),
    **dict.fromkeys(REASONS, "reason"),
    **dict.fromkeys(SHRUGS, "shrug"),
}
_ORDERS = frozenset({FIRST, *MIDDLE, LAST})
_STAGE_VERBS = frozenset(chain.from_iterable(STAGE_WORDS.values()))


@dataclass(frozen=True)
class Sentence:
    """What one sentence says.

    Attributes:
        kind: what it does in a response; "broken" where the grammar does not have it.
        words: how many words it has, its mark included.
        topic: name of the topic of a clause.
        stage: stage of a clause.
        act: verb and object of a clause; two clauses with one act repeat each other.
        order: ordering word of a clause.
    """

    kind: Kind
    words: int
    topic: str = ""
    stage: Stage | None = None
    act: tuple[str, str] = ("", "")
    order: str = ""


def split_sentences(words: Words) -> list[Words]:
    """Split words after each mark; words after the last mark are a sentence without one."""
    sentences: list[Words] = []
    start = 0
    for index, word in enumerate(words, start=1):
        if word in MARKS:
            sentences.append(words[start:index])
            start = index
    return sentences if start == len(words) else [*sentences, words[start:]]


def read_sentence(lexicon: Lexicon, words: Words) -> Sentence:
    """Classify one sentence.

    A sentence with a harmful verb or tool is harmful whether or not it is grammatical.
    """
    kind = _FIXED.get(words)
    if kind is None and not lexicon.harmful_words.isdisjoint(words):
        kind = "harm"
    if kind is None and _is_alternative(lexicon, words):
        kind = "alternative"
    if kind is not None:
        return Sentence(kind, len(words))
    return read_clause(lexicon, words) or Sentence("broken", len(words))


def read_clause(lexicon: Lexicon, words: Words) -> Sentence | None:
    """Parse `[order] verb determiner [adjective] object [tool | manner | time] .`; None if it fails."""
    rest = list(words)
    order = rest.pop(0) if rest and rest[0] in _ORDERS else ""
    if len(rest) < 4 or rest[-1] != "." or rest[0] not in lexicon.topic_of_verb:
        return None
    verb, determiner = rest[0], rest[1]
    topic = lexicon.topic_of_verb[verb]
    del rest[:2]
    if rest[0] in topic.adjectives:
        del rest[0]
    noun, modifier = rest[0], tuple(rest[1:-1])
    is_clause = (
        determiner in DETERMINERS
        and noun in topic.takes(verb)
        and (determiner not in COUNTED_DETERMINERS or noun in lexicon.countable)
        and _is_modifier(modifier, topic.tool(verb))
    )
    if not is_clause:
        return None
    return Sentence("clause", len(words), topic.name, topic.stage(verb), (verb, noun), order)


def _is_modifier(words: Words, tool: str) -> bool:
    match words:
        case ():
            return True
        case ("with", "the", noun):
            return noun == tool
        case (manner,):
            return manner in MANNERS
        case ("for", number, unit):
            return number in NUMBERS and unit in UNITS
    return False


def _is_alternative(lexicon: Lexicon, words: Words) -> bool:
    if len(words) != len(ALTERNATIVE.split()) + 1:
        return False
    verb, project = words[2], words[4]
    if verb not in _STAGE_VERBS or project not in lexicon.topic_of_project:
        return False
    return words == tuple(ALTERNATIVE.format(verb, f"a {project}").split())
