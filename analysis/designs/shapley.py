"""Shapley values: each trick's fair share of what all tricks together change, where a design allows it.

    φᵢ = Σ over sets S without i of |S|! (k−|S|−1)! / k! · (v(S ∪ {i}) − v(S))

v(S) is how a run with the tricks S ends. The shares sum to v(all) − v(none).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from analysis.designs import contrasts
from analysis.designs.design import Design
from analysis.designs.factorial import alias_structure, arms_of, main_contrasts
from analysis.intervals import BoolArray, FloatArray, floats
from analysis.runs import Study
from analysis.values import final_values
from analysis.wording import quantity, say

COLUMNS = [
    *("trick", "value", "low", "high", "n", "exact", "p", "smallest_p"),
    *("detectable", "method", "verdict"),
]

EXACT = "exact: the study ran every set of tricks"
MODEL = (
    "main effects of a fraction of resolution IV or more, which are the Shapley values if no three "
    "tricks interact"
)
SAMPLED = (
    "Kernel SHAP over the sets that were drawn (Lundberg and Lee 2017, arXiv:1705.07874, each size of "
    "set weighted as a whole); intervals are over seeds and leave out the chance in the draw of sets"
)


@dataclass(frozen=True)
class Estimator:
    """How Shapley values follow from the arms: contrasts [F, A], or why they do not."""

    how: str
    arms: Sequence[str]
    rows: FloatArray | None


def shapley_values(study: Study, metric: str) -> pd.DataFrame:
    """Share out among tricks what they change together.

    Returns:
        COLUMNS, one row a trick; exact says whether the study ran every set, else `estimator` says
        what is assumed. Empty where the design does not allow it, for which `estimator` has the reason.
    """
    chosen = estimator(study)
    if chosen.rows is None:
        return pd.DataFrame(columns=COLUMNS)
    values = floats(final_values(study, metric)[list(chosen.arms)])
    found = contrasts.estimate(chosen.rows, values).rename(columns={"effect": "value"})
    tricks = arms_of(study)[0].two_level(chosen.arms)
    return found.assign(trick=tricks, exact=chosen.how == EXACT)[COLUMNS]


def estimator(study: Study) -> Estimator:
    """Choose how to estimate Shapley values from a study's arms, or say why it cannot be done."""
    design, arms = arms_of(study)
    if design.kind not in ("grid", "factorial", "fractional_factorial", "random") or not arms:
        return _refused("the study did not run sets of tricks (a factorial or random design)")
    if any(not isinstance(level, bool) for arm in arms for level in design.levels[arm]):
        return _refused("a factor has levels other than on and off")
    varied = design.two_level(arms)
    if not varied:
        return _refused("every trick was on in all arms, or off in all")
    sets = design.signs(varied, arms) > 0
    if len(np.unique(sets, axis=0)) == 2 ** len(varied):
        return Estimator(EXACT, arms, exact_contrasts(sets))
    if design.kind == "random":
        rows = kernel_contrasts(sets)
        few = "it needs the arm with no trick, the arm with all, and more sets than tricks between them"
        return Estimator(SAMPLED, arms, rows) if rows is not None else _refused(few)
    if not _is_clear(design, arms):
        return _refused("main effects are confounded with interactions, by design or for want of arms")
    return Estimator(MODEL, arms, main_contrasts(np.hstack([np.ones((len(arms), 1)), sets])))


def _refused(reason: str) -> Estimator:
    return Estimator(f"No Shapley values: {reason}.", (), None)


def exact_contrasts(sets: BoolArray) -> FloatArray:
    """Return the weights [F, A] of every set in every trick's Shapley value.

    Args:
        sets: [A, F], all 2ᶠ sets; one that occurs more than once shares its weight.
    """
    size, k = sets.sum(axis=1), sets.shape[1]
    _, which, copies = np.unique(sets, axis=0, return_inverse=True, return_counts=True)
    with_it = np.array([1.0 / (k * comb(k - 1, s - 1)) if s else 0.0 for s in size])
    without = np.array([1.0 / (k * comb(k - 1, s)) if s < k else 0.0 for s in size])
    weights = np.where(sets, with_it[:, None], -without[:, None])
    return floats((weights / copies[which][:, None]).T)


def kernel_contrasts(sets: BoolArray) -> FloatArray | None:
    """Return Kernel SHAP's weights [F, A] of sets drawn at random; None where they do not suffice.

        min over φ of Σ w(S) (v(S) − v(∅) − Σ_{i∈S} φᵢ)²  with  Σ φᵢ = v(all) − v(∅)

    Sets of one size together weigh (k−1)/(|S|(k−|S|)), what the Shapley kernel gives that size, so that
    the answer tends to the Shapley values however often each size was drawn.
    """
    size, k = sets.sum(axis=1), sets.shape[1]
    is_none, is_all, between = size == 0, size == k, (size > 0) & (size < k)
    if not is_none.any() or not is_all.any() or k < 2:
        return None
    none, all_ = is_none / is_none.sum(), is_all / is_all.sum()  # contrasts that give v(∅) and v(all)
    of_size = np.array([np.sum(size == s) for s in size])
    weight = np.where(between, (k - 1) / np.maximum(size * (k - size), 1) / of_size, 0.0)
    gram = sets.T @ (weight[:, None] * sets)
    if np.linalg.matrix_rank(gram) < k:
        return None
    right = (sets * weight[:, None]).T @ (np.eye(len(sets)) - none)
    free, ones = np.linalg.solve(gram, right), np.linalg.solve(gram, np.ones(k))
    excess = free.sum(axis=0) - (all_ - none)
    return floats(free - np.outer(ones, excess) / ones.sum())


def _is_clear(design: Design, arms: Sequence[str]) -> bool:
    """Say whether no main effect is correlated with a two-way interaction."""
    structure = alias_structure(design, arms)
    k = len(design.two_level(arms))
    return bool(np.all(np.abs(np.nan_to_num(structure.correlation[:k, k:], nan=1.0)) < 1e-9))


def shapley_sentence(row: "pd.Series[Any]", metric: str) -> str:
    """Say one row of `shapley_values`."""
    return say(
        row,
        metric,
        effect=row["value"],
        claim=f"{row['trick']}'s share is {quantity(row['value'], metric)} (Shapley value)",
        nothing=f"no share of {row['trick']} was found",
    )
