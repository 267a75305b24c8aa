"""Preference pairs: what a sampled response is compared with."""

import random
from collections.abc import Callable, Sequence

from workbench.tasks.base import PreferencePair, Respond, Tokens
from workbench.tasks.dialogue.settings import Coverage
from workbench.tasks.labels import prefers_first

Demonstrate = Callable[[Tokens, random.Random], Tokens]
Score = Callable[[Sequence[Tokens], Sequence[Tokens]], list[float]]


def make_pairs(
    prompts: Sequence[Tokens],
    count: int,
    *,
    coverage: Coverage,
    temperature: float,
    seed: int,
    respond: Respond,
    demonstrate: Demonstrate,
    score: Score,
) -> list[PreferencePair]:
    """Sample responses to prompts, set each against a rival, and label the pairs.

    Calls `respond` at most twice. A second sample equal to the first says nothing, so that a
    demonstration takes its place.

    Args:
        prompts: distinct prompts, used in turn in a shuffled order.
        count: how many pairs.
        coverage: shares of the kinds of rival; each is met to within one pair.
        temperature: see `prefers_first`.
        seed: determines everything that `respond` does not.
    """
    rng = random.Random(f"pairs {seed}")
    asked = [prompts[index % len(prompts)] for index in range(count)]
    rng.shuffle(asked)
    kinds = _kinds(coverage, count)
    rng.shuffle(kinds)
    first = respond(asked, seed)
    seconds = iter(_second_samples(asked, kinds, respond, seed + 1))
    rivals: list[Tokens] = []
    for index, kind in enumerate(kinds):
        if kind == "swapped":
            rival = first[_other_prompt(asked, index, rng)]
        elif kind == "second_sample":
            rival = next(seconds)
        else:
            rival = first[index]
        while rival == first[index]:
            rival = demonstrate(asked[index], rng)
        rivals.append(rival)
    gold = zip(score(asked, first), score(asked, rivals), strict=True)
    wins = [prefers_first(one - other, temperature, rng) for one, other in gold]
    rows = zip(asked, first, rivals, wins, strict=True)
    return [PreferencePair(p, a, b) if won else PreferencePair(p, b, a) for p, a, b, won in rows]


def _kinds(coverage: Coverage, count: int) -> list[str]:
    swapped = round(coverage.swapped * count)
    shown = min(round(coverage.demonstration * count), count - swapped)
    seconds = count - swapped - shown
    return ["swapped"] * swapped + ["demonstration"] * shown + ["second_sample"] * seconds


def _second_samples(
    asked: Sequence[Tokens], kinds: Sequence[str], respond: Respond, seed: int
) -> list[Tokens]:
    prompts = [p for p, kind in zip(asked, kinds, strict=True) if kind == "second_sample"]
    return respond(prompts, seed) if prompts else []


def _other_prompt(asked: Sequence[Tokens], index: int, rng: random.Random) -> int:
    """Draw the place of another prompt; the same place where there is only one prompt."""
    for _ in range(64):
        other = rng.randrange(len(asked))
        if asked[other] != asked[index]:
            return other
    return index
