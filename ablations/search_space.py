"""Cells as points of an Optuna space: a boolean per trick, its hyper-parameters, an integer seed.

There is no `arm` axis: a categorical axis cannot grow, so a study could not take another arm later.
"""

import math
from collections.abc import Mapping, Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from workbench.recipe import Recipe
from workbench.registry import registry
from workbench.trick import Hyper, Trick, Value

LAST_SEED = 2**31 - 1


def varied_tricks(recipes: Sequence[Recipe]) -> list[str]:
    """Return names of the tricks that some recipe has and another lacks or sets otherwise.

    Args:
        recipes: at least one; that of an arm may stand there once per seed, and is looked at once.
    """
    distinct = {id(recipe): recipe for recipe in recipes}.values()
    settings = [{trick.name: trick.hypers() for trick in recipe.tricks} for recipe in distinct]
    return [name for name in registry() if any(s.get(name) != settings[0].get(name) for s in settings)]


def parameters(recipe: Recipe, seed: int, varied: Sequence[str]) -> dict[str, Value]:
    """Return the trial parameters of a recipe: which of the varied tricks it has, how set, the seed.

    Infinite hyper-parameters, which are neutral ones, have no place in a range and are left out.
    """
    present = {trick.name: trick for trick in recipe.tricks}
    point: dict[str, Value] = {"seed": seed}
    for name in varied:
        point[name] = name in present
        point |= _hypers(present[name]) if name in present else {}
    return point


def distributions(points: Sequence[Mapping[str, Value]]) -> dict[str, BaseDistribution]:
    """Return a distribution for every parameter of the points, wide enough for all of them.

    A hyper-parameter's range is its search range, widened where a study goes beyond it.
    """
    names = dict.fromkeys(name for point in points for name in point)
    return {name: _distribution(name, [p[name] for p in points if name in p]) for name in names}


def _hypers(trick: Trick) -> dict[str, Value]:
    values = {f"{trick.name}.{name}": value for name, value in trick.hypers().items()}
    return {k: v for k, v in values.items() if not (isinstance(v, float) and math.isinf(v))}


def _distribution(name: str, values: Sequence[Value]) -> BaseDistribution:
    trick, _, field_name = name.partition(".")
    if name == "seed":
        return IntDistribution(0, LAST_SEED)
    if not field_name:
        return CategoricalDistribution([False, True])
    fields = {spec.name: spec.metadata["hyper"] for spec in registry()[trick].hyper_fields()}
    return _range(fields[field_name], values)


def _range(hyper: Hyper, values: Sequence[Value]) -> BaseDistribution:
    if hyper.choices is not None or isinstance(values[0], bool | str):
        return CategoricalDistribution(hyper.choices or [False, True])
    numbers = [*map(float, values), *(hyper.search or ())]
    low, high = min(numbers), max(numbers)
    log = hyper.log and low > 0
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)
