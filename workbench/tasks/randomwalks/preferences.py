"""Pairs of walks: what a sampled walk is compared with, and which of the two is preferred."""

import random
from collections.abc import Callable, Sequence

from workbench.tasks.base import PreferencePair, Respond, Tokens
from workbench.tasks.labels import prefers_first

Score = Callable[[Sequence[Tokens], Sequence[Tokens]], list[float]]


def make_pairs(
    prompts: Sequence[Tokens],
    count: int,
    *,
    spliced: float,
    temperature: float,
    seed: int,
    respond: Respond,
    score: Score,
) -> list[PreferencePair]:
    """Sample two responses to each prompt, splice some of the second ones, and label the pairs.

    Pairs whose gold is equal are left out: nothing is to be learnt from them.

    Args:
        prompts: distinct prompts, used in turn.
        count: how many pairs to draw; those that are left are fewer.
        spliced: share of the pairs whose second response goes on as a walk from elsewhere does.
        temperature: see `prefers_first`.
        seed: determines everything that `respond` does not.
        respond: samples from the SFT policy.
        score: gold of responses.
    """
    rng = random.Random(f"pairs {seed}")
    asked = [prompts[index % len(prompts)] for index in range(count)]
    first, second = (respond(asked, seed + offset) for offset in range(2))
    rivals = [
        splice(response, rng.choice(first), rng) if rng.random() < spliced else response
        for response in second
    ]
    gold = zip(score(asked, first), score(asked, rivals), strict=True)
    pairs = []
    for prompt, a, b, (gold_a, gold_b) in zip(asked, first, rivals, gold, strict=True):
        if gold_a != gold_b:
            ranked = (a, b) if prefers_first(gold_a - gold_b, temperature, rng) else (b, a)
            pairs.append(PreferencePair(prompt, *ranked))
    return pairs


def splice(walk: Tokens, other: Tokens, rng: random.Random) -> Tokens:
    """Go on from some place as another walk does from there, mostly without an edge between the two."""
    place = rng.randrange(min(len(walk), len(other)))
    return (*walk[:place], *other[place:])
