"""What a recipe is worth over its seeds, and when it is hopeless to run the rest of them."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from ablations.search.settings import COLLAPSED, Search
from workbench.glossary import CAP

Results = Mapping[int, Mapping[str, float]]
"""Final metrics of a recipe by seed, the share `collapsed` (0 or 1) among them."""


def worth(results: Results, search: Search, whole: Sequence[Results] = ()) -> list[float]:
    """Return each objective's mean over the seeds that were run, finite even after a collapse.

    Of a recipe that was given up, less what these seeds gave others more than all seeds did, in the
    median: else one that was run with easy seeds would stand above those that beat it on them.

    Args:
        results: of the recipe.
        search: what counts.
        whole: results of recipes that were run with every seed.
    """
    same = [{seed: one[seed] for seed in results} for one in whole]

    def ease(name: str) -> float:
        pairs = zip(same, whole, strict=True)
        return median([_mean(part, name) - _mean(one, name) for part, one in pairs] or [0.0])

    return [_mean(results, name) - ease(name) for name in search.objectives]


def excess(results: Results, search: Search) -> dict[str, float]:
    """Return by how much each constraint is exceeded; at most 0 where it holds."""
    return {name: _mean(results, name) - bound for name, bound in search.constraints.items()}


def is_hopeless(results: Results, others: Sequence[Results], search: Search) -> bool:
    """Say whether the seeds that are left cannot make a recipe interesting.

    It is hopeless if it has collapsed where no seed may collapse; or if at least half of the
    recipes that were run with these seeds beat it in every objective on just these seeds.

    Args:
        results: of the recipe so far.
        others: of recipes that are done.
        search: what counts; until `startup` others were run with these seeds, nothing is hopeless.
    """
    if search.constraints.get(COLLAPSED) == 0 and any(result[COLLAPSED] for result in results.values()):
        return True
    same = [{seed: one[seed] for seed in results} for one in others if set(results) <= set(one)]
    if len(same) < search.startup:
        return False
    mine = worth(results, search)
    better = sum(_beats(worth(one, search), mine, search) for one in same)
    return 2 * better >= len(same)


def _beats(theirs: Sequence[float], mine: Sequence[float], search: Search) -> bool:
    signs = [1 if direction == "maximize" else -1 for direction in search.objectives.values()]
    return all(sign * a > sign * b for sign, a, b in zip(signs, theirs, mine, strict=True))


def _mean(results: Results, name: str) -> float:
    values = [result[name] for result in results.values()]
    return fmean(value if math.isfinite(value) else math.copysign(CAP, value) for value in values)
