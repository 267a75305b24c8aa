"""Random recipes: which tricks are there, and hyper-parameters drawn from their search ranges."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from ablations.arms import Arm, change_recipe
from ablations.designs.factors import Factor
from ablations.designs.levels import Level, combine
from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.trick import Hyper, Trick, Value
from workbench.update_lines import UpdateLines

PATIENCE = 1000
"""Draws in a row that give no new recipe, after which there is none left to find."""
TRIES = 1000
"""Draws of the hyper-parameters of one set of tricks, until they fit the rollout size."""
Attempt = Callable[[UpdateLines], None]
"""Raises ValueError for tricks that the study's other settings do not allow."""


@dataclass(frozen=True)
class Candidate(UpdateLines):
    """Tricks with settings that may still be redrawn: a recipe, but cheap to make.

    Attributes:
        tricks: in execution order.
    """

    tricks: tuple[Trick, ...]


def draw_arms(base: Recipe, factors: Sequence[Factor], seed: int, attempt: Attempt) -> Iterator[Arm]:
    """Yield random arms, all different recipes; the first n are the same however many are taken.

    Args:
        base: the recipe that is varied; it is not yielded.
        factors: tricks that are there or not, each with equal chances; of the tricks of one group one is
            there or none, all with equal chances.
        seed: of all draws.
        attempt: raises ValueError for tricks that cannot be run; their settings are then redrawn.
    """
    known = {_contents(base)}
    alternatives = _alternatives(factors)
    misses = 0
    for number in count():
        chance = random.Random(f"{seed}/{number}")
        drawn = _draw(base, [level for a in alternatives for level in chance.choice(a)], chance, attempt)
        if drawn and drawn[1] not in known:
            known.add(drawn[1])
            misses = 0
            yield drawn[0]
        misses += 1
        if misses > PATIENCE:
            return


def draw_value(hyper: Hyper, own: Value, chance: random.Random) -> Value:
    """Draw from a search range, on its scale, to three digits; what is not searched stays as it is.

    Args:
        hyper: the range.
        own: the value as it is.
        chance: source of random numbers.
    """
    if hyper.choices:
        return chance.choice(hyper.choices)
    if hyper.search is None:
        return own
    low, high = hyper.search
    if isinstance(own, int) and not hyper.log:
        return chance.randint(int(low), int(high))
    is_log = hyper.log and low > 0
    drawn = chance.uniform(math.log(low), math.log(high)) if is_log else chance.uniform(low, high)
    number = math.exp(drawn) if is_log else drawn
    return round(number) if isinstance(own, int) else float(f"{number:.3g}")


def _draw(
    base: Recipe, levels: Sequence[Level], chance: random.Random, attempt: Attempt
) -> tuple[Arm, str] | None:
    """Draw settings of these tricks; None if they cannot be together, or no settings are found."""
    try:
        arm = combine(base.name, levels)
        present = change_recipe(base, arm.with_, arm.without)
    except ValueError:
        return None
    listed = {level.factor for level in levels}
    for _ in range(TRIES):
        settings = _draw_settings(present, listed, chance)
        try:
            tricks = (trick.fresh(**settings.get(trick.name, {})) for trick in present.tricks)
            candidate = Candidate(tuple(tricks))
            attempt(candidate)
        except ValueError:
            continue
        drawn = {f"{name}.{key}": v for name, own in settings.items() for key, v in own.items()}
        return arm.model_copy(update={"with_": {**arm.with_, **drawn}}), _contents(candidate)
    return None


def _draw_settings(
    recipe: Recipe, listed: set[str], chance: random.Random
) -> dict[str, dict[str, Value]]:
    """Draw the fields of the tricks that are listed and there, and set those that have to equal one."""
    settings: dict[str, dict[str, Value]] = {}
    for trick in recipe.tricks:
        for spec in trick.hyper_fields() if trick.name in listed else ():
            own = trick.hypers()[spec.name]
            value = draw_value(spec.metadata["hyper"], own, chance)
            if value != own:
                settings.setdefault(trick.name, {})[spec.name] = value
    for trick in recipe.tricks:
        for own, others in trick.matches.items():
            for other, _, field_name in (address.partition(".") for address in others):
                if field_name in settings.get(other, {}):
                    settings.setdefault(trick.name, {})[own] = settings[other][field_name]
    return settings


def _contents(tricks: UpdateLines) -> str:
    return repr([(trick.name, trick.hypers()) for trick in tricks.tricks])


def _alternatives(factors: Sequence[Factor]) -> list[list[list[Level]]]:
    """Return, for each group of tricks, what can be drawn of it: one of them, or none if that can be."""
    groups: dict[str, list[Factor]] = {}
    for factor in factors:
        groups.setdefault(registry()[factor.name].group or f"only {factor.name}", []).append(factor)
    alternatives = []
    for group in groups.values():
        absent = [level for factor in group for level in factor.levels if level.shown == "absent"]
        present = [[factor.levels[-1]] for factor in group]
        alternatives.append([absent, *present] if len(absent) == len(group) else present)
    return alternatives
