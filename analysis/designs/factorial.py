"""Factorial designs: main effects and two-way interactions, with what they are confounded with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import significance
from analysis.designs import contrasts
from analysis.designs.aliasing import Aliasing, Term, aliasing, disagreement
from analysis.designs.design import Design, design_of, name_level
from analysis.intervals import FloatArray, floats
from analysis.runs import Study, finished
from analysis.values import final_values
from analysis.wording import quantity, say

KINDS = ("grid", "factorial", "fractional_factorial", "random")
"""Designs whose arms together give main effects."""

CONFUSED = "other factors"
"""Alias of a factor whose levels follow from those of others, so that it has no effect of its own."""

PAIRWISE = "pairwise"
"""Design of the recipe with every one and every two of its factors changed; see also effects.forest."""

_TAIL = ["p", "p_holm", "aliases", "smallest_p", "detectable", "method", "verdict"]
MAIN_COLUMNS = ["factor", "effect", "low", "high", "n", *_TAIL]
INTERACTION_COLUMNS = ["factor_a", "factor_b", "effect", "low", "high", "n", *_TAIL]


def main_effects(study: Study, metric: str) -> pd.DataFrame:
    """Estimate what each factor does on average over the levels of the others.

    Least squares on all factors at once: in a balanced design the mean at a level minus that at the
    factor's first (off, else the recipe's).

    Returns:
        MAIN_COLUMNS, one row a factor; of a factor with more than two levels, one a level, "name =
        level". aliases are two-way interactions that look the same; the effect is theirs as much as
        the factor's. p_holm counts what cannot be told apart once. Empty for other designs.
    """
    design, arms = arms_of(study)
    if design.kind not in KINDS or not arms:
        return pd.DataFrame(columns=MAIN_COLUMNS)
    names, matrix = _model(design, arms)
    rows = main_contrasts(matrix)
    found = contrasts.estimate(rows, floats(final_values(study, metric)[arms]))
    structure = alias_structure(design, arms)
    number = dict(zip(structure.terms, structure.classes(), strict=True))
    classes = [number.get((name,), -at) for at, name in enumerate(names, start=1)]
    said = [structure.of((name,)) if (name,) in number else "" for name in names]
    is_lost = np.isnan(rows[:, 0])
    found["aliases"] = [CONFUSED if lost else text for text, lost in zip(said, is_lost, strict=True)]
    return found.assign(factor=names, p_holm=_holm(found["p"], classes))[MAIN_COLUMNS]


def interactions(study: Study, metric: str) -> pd.DataFrame:
    """Estimate how much the effect of one factor changes when another is switched on.

        (y₁₁ − y₀₁) − (y₁₀ − y₀₀), averaged over the other factors

    This is what two tricks give together beyond the sum of what each gives; books on designs call half
    of it the interaction. Two-level factors alone; in a pairwise design, next to the recipe.

    Returns:
        INTERACTION_COLUMNS, one row a pair; NaN where a pair cannot be told from a main effect.
        Empty for other designs.
    """
    design, arms = arms_of(study)
    if design.kind not in (*KINDS, PAIRWISE) or not arms:
        return pd.DataFrame(columns=INTERACTION_COLUMNS)
    structure = alias_structure(design, arms)
    terms: list[Term] = [term for term in structure.terms if len(term) == 2]
    classes, said = structure.classes()[len(structure.terms) - len(terms) :], map(structure.of, terms)
    rows = _adjusted(design, arms, structure)
    if design.kind == PAIRWISE:
        terms, rows = _beside_recipe(design, arms)
        classes, said = list(range(len(terms))), map(str, [""] * len(terms))
    found = contrasts.estimate(rows, floats(final_values(study, metric)[arms]))
    found = found.assign(aliases=list(said), p_holm=_holm(found["p"], classes))
    found = found.assign(factor_a=[a for a, _ in terms], factor_b=[b for _, b in terms])
    return found[INTERACTION_COLUMNS]


def alias_structure(design: Design, arms: Sequence[str]) -> Aliasing:
    """Work out what the two-level factors are confounded with in these arms."""
    names = design.two_level(arms)
    return aliasing(names, design.signs(names, arms))


def notes(study: Study) -> list[str]:
    """Say what a reader of the tables must know: what is missing, what is confounded otherwise."""
    design, arms = arms_of(study)
    if design.kind not in KINDS:
        return []
    if not design.levels:
        return ["What the arms' factors are is not written down, so that no effects are given."]
    said = [disagreement(alias_structure(design, arms), design.aliases)] if design.aliases else []
    if absent := len(design.levels) - len(arms):
        said.append(f"{absent} arms of the design have no finished run; effects are of the others.")
    if many := [name for name in design.factors if name not in design.two_level(arms)]:
        said.append(f"Interactions are of factors with two levels alone, without {', '.join(many)}.")
    return [text for text in said if text]


def main_sentence(row: "pd.Series[Any]", metric: str) -> str:
    """Say one row of `main_effects`."""
    verb = "adds" if row["effect"] > 0 else "takes away"
    also = f", or {row['aliases']} does," if row["aliases"] else ""
    return say(
        row,
        metric,
        effect=row["effect"],
        claim=f"{row['factor']}{also} {verb} {quantity(abs(row['effect']), metric)} on average",
        nothing=f"no effect of {row['factor']} on average was found",
    )


def interaction_sentence(row: "pd.Series[Any]", metric: str) -> str:
    """Say one row of `interactions`."""
    pair, more = f"{row['factor_a']} and {row['factor_b']}", "more" if row["effect"] > 0 else "less"
    also = f" (or it is {row['aliases']})" if row["aliases"] else ""
    size = quantity(abs(row["effect"]), metric)
    return say(
        row,
        metric,
        effect=row["effect"],
        claim=f"{pair} together give {size} {more} than the sum of what each gives{also}",
        nothing=f"no interaction of {pair} was found",
    )


def arms_of(study: Study) -> tuple[Design, list[str]]:
    """Return the design, and those of its arms of which a run has ended."""
    design = design_of(study)
    ended = set(finished(study.runs)["arm"])
    return design, [arm for arm in design.levels if arm in ended]


def _model(design: Design, arms: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Return the names of the main effects, and [A, 1 + D]: ones, then 1 where an arm has the level."""
    names, columns = [], [np.ones(len(arms))]
    for factor in design.factors:
        levels = design.levels_of(factor, arms)
        for level in levels[1:]:
            names.append(factor if len(levels) == 2 else name_level(factor, level))
            columns.append(np.array([design.level(arm, factor) == level for arm in arms], np.float64))
    return names, np.stack(columns, axis=1)


def main_contrasts(matrix: FloatArray) -> FloatArray:
    """Return the least-squares contrasts [D, A] of a model's columns after the first.

    NaN where a column is a combination of others, so that nothing can be said of it.
    """
    size, directions = np.linalg.eigh(matrix.T @ matrix)
    null = directions[:, size < 1e-9 * size[-1]]
    is_lost = np.abs(null).max(axis=1, initial=0.0) > 1e-6
    return floats(np.where(is_lost[:, None], np.nan, np.linalg.pinv(matrix))[1:])


def _adjusted(design: Design, arms: Sequence[str], structure: Aliasing) -> FloatArray:
    """Return the contrast [P, A] of each pair, next to all main effects and to no other pair."""
    _, matrix = _model(design, arms)
    product = structure.columns[:, len(design.two_level(arms)) :]
    rest = product - matrix @ (np.linalg.pinv(matrix) @ product)
    size = np.sum(rest * product, axis=0)
    return floats(np.divide(4 * rest, size, out=np.full_like(rest, np.nan), where=size > 1e-9).T)


def _beside_recipe(design: Design, arms: Sequence[str]) -> tuple[list[Term], FloatArray]:
    """Return the pairs that a pairwise design tries, and their contrasts [P, A] over four arms each."""
    arm_of = {changed: arm for arm, changed in design.changes.items() if arm in arms}
    pairs: list[Term] = [
        pair for pair in arm_of if len(pair) == 2 and {(), pair[:1], pair[1:]} <= arm_of.keys()
    ]
    rows = np.zeros((len(pairs), len(arms)))
    for row, pair in zip(rows, pairs, strict=True):
        corners = [arm_of[part] for part in ((), pair[:1], pair[1:], pair)]
        row[[arms.index(arm) for arm in corners]] = design.signs(pair, corners).prod(axis=1)
    return pairs, rows


def _holm(p: "pd.Series[float]", classes: Sequence[int]) -> FloatArray:
    """Correct p over classes of rows that cannot be told apart, each of which counts once."""
    once = p.groupby(list(classes)).first()
    adjusted = pd.Series(significance.holm(floats(once)), index=once.index)
    return floats(adjusted.reindex(list(classes)))
