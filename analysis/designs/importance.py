"""Search studies: which parameters mattered, by fANOVA and PED-ANOVA.

Importances are for what a sampler drew. On a design they mislead: of a leave-one-out study with effects
of 4, 2, 0.1 and −0.1, PED-ANOVA, Optuna's default, gives more than 0.9 to the last.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np
import pandas as pd

from analysis.designs.design import Level, design_of, read_level
from analysis.intervals import FloatArray, floats, mean
from analysis.runs import Study
from analysis.values import final_values
from workbench.glossary import GLOSSARY

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy

MIN_TRIALS = 20
"""Fewest trials from which importances are given."""

MIN_FOR_BEST = 50
"""Fewest trials from which PED-ANOVA's best tenth is given: five trials."""

TREES = 256

LOG_SPAN = 10.0
"""A positive parameter whose values span more than this factor is put on a logarithmic scale."""

IMPORTANCE_COLUMNS = ["parameter", "fanova", "explained", "ped_anova", "n"]

Point = dict[str, bool | int | float | str]


def refusal(study: Study) -> str:
    """Say why a study gets no importances; empty where it does."""
    kind = design_of(study).kind
    if kind != "search":
        return (
            f"No importances: they mislead on designs (this one is {kind.replace('_', ' ')}), whose "
            "effects stand in tables of their own."
        )
    count = study.runs["arm"].nunique() if len(study.runs) else 0
    return "" if count >= MIN_TRIALS else f"No importances: {count} trials are fewer than {MIN_TRIALS}."


def importances(study: Study, metric: str) -> pd.DataFrame:
    """Share out what a forest explains of how a metric varied among the parameters that a search drew.

    fANOVA shares out all that its forest predicts, which of pure noise is noise: go by `explained`. A
    trick's own parameters are judged by fANOVA among the trials that had the trick, next to the
    parameters that every trial has; n is the number of trials behind it. PED-ANOVA takes all trials.

    Returns:
        IMPORTANCE_COLUMNS, the greatest fANOVA first: fanova, share of the predicted variance;
        explained, the out-of-bag R² of a forest over the same trials and parameters; ped_anova, how
        much the best tenth of the trials differs from all, NaN below MIN_FOR_BEST trials. The shares
        sum to 1 over what they were computed over. Empty where `refusal` has a reason.
    Source: Hutter, Hoos and Leyton-Brown 2014 (fANOVA); Watanabe, Bansal and Hutter 2023,
        arXiv:2304.10255 (PED-ANOVA); both as in Optuna.
    """
    points, objective = trials(study, metric)
    if refusal(study) or len(objective) < MIN_TRIALS:
        return pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    names = list(dict.fromkeys(name for point in points for name in point))
    names = [name for name in names if len({p[name] for p in points if name in p}) > 1]
    if not names:
        return pd.DataFrame(columns=IMPORTANCE_COLUMNS)
    table = _fanova_by_group(study, metric, points, objective, names).reindex(names)
    ped = dict.fromkeys(names, math.nan)
    if len(objective) >= MIN_FOR_BEST:
        ped = _evaluate("PedAnova", _optuna_study(study, metric, points, objective, names), names)
    table = table.rename_axis("parameter").reset_index().assign(ped_anova=[ped[name] for name in names])
    table = table.astype({"n": int})[IMPORTANCE_COLUMNS]
    return table.sort_values("fanova", ascending=False, kind="stable", ignore_index=True)


def _fanova_by_group(
    study: Study, metric: str, points: Sequence[Point], objective: FloatArray, names: Sequence[str]
) -> pd.DataFrame:
    """Return by parameter fANOVA's importance, what it explains and the number of trials."""
    shared = [name for name in names if all(name in point for point in points)]
    groups: dict[str, list[str]] = {"": shared}
    for name in names:
        if name not in shared:
            groups.setdefault(name.partition(".")[0], []).append(name)
    found: dict[str, dict[str, float]] = {}
    for own in groups.values():
        rows = [at for at, point in enumerate(points) if all(name in point for name in own)]
        some = [points[at] for at in rows]
        judged = [
            name for name in {**dict.fromkeys(shared), **dict.fromkeys(own)} if _varies(some, name)
        ]
        trial_set = _optuna_study(study, metric, some, objective[rows], judged)
        share, explained = {}, math.nan
        if len(rows) >= MIN_TRIALS and judged:
            share = _evaluate("Fanova", trial_set, judged)
            explained = _out_of_bag(some, objective[rows], judged)
        about = {"explained": explained, "n": len(rows)}
        found |= {name: about | {"fanova": share.get(name, math.nan)} for name in own}
    return pd.DataFrame.from_dict(found, orient="index")


def _out_of_bag(points: Sequence[Point], objective: FloatArray, names: Sequence[str]) -> float:
    """Return the R² with which a forest predicts trials that it was not grown from."""
    from sklearn.ensemble import RandomForestRegressor

    columns = pd.DataFrame([{name: point[name] for name in names} for point in points])
    levels = dict.fromkeys(columns.select_dtypes(exclude="number"), str)
    given = pd.get_dummies(columns.astype(levels)).to_numpy(float)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0)
    return float(forest.fit(given, objective).oob_score_)


def _varies(points: Sequence[Point], name: str) -> bool:
    return len({point.get(name) for point in points}) > 1


def _evaluate(kind: str, trial_set: "OptunaStudy", names: Sequence[str]) -> dict[str, float]:
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    chosen = FanovaImportanceEvaluator(seed=0) if kind == "Fanova" else PedAnovaImportanceEvaluator()
    return dict(get_param_importances(trial_set, evaluator=chosen, params=list(names)))


def _optuna_study(
    study: Study, metric: str, points: Sequence[Point], objective: FloatArray, names: Sequence[str]
) -> "OptunaStudy":
    """Write trials into an Optuna study in memory."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction=_direction(study, metric))
    optuna.logging.set_verbosity(level)
    ranges = {name: _distribution([p[name] for p in points if name in p]) for name in names}
    for point, value in zip(points, objective, strict=True):
        own = {name: point[name] for name in names if name in point}
        known = {name: ranges[name] for name in own}
        made.add_trial(optuna.create_trial(params=own, distributions=known, value=float(value)))
    return made


def _direction(study: Study, metric: str) -> Literal["minimize", "maximize"]:
    known = GLOSSARY[metric].better if metric in GLOSSARY else "up"
    asked = design_of(study).objectives.get(metric, "minimize" if known == "down" else "maximize")
    return "minimize" if asked == "minimize" else "maximize"


def _distribution(values: Sequence[bool | float | str]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(set(values), key=str))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low > LOG_SPAN)


def trials(study: Study, metric: str) -> tuple[list[Point], FloatArray]:
    """Return each trial's parameters and the mean of a metric over its seeds; only trials that ended.

    A trick is True or False; its own parameters are there only where the trick is. Infinite values,
    which are neutral ones, are left out.
    """
    objective = mean(floats(final_values(study, metric)))
    ended = [at for at in range(len(objective)) if np.isfinite(objective[at])]
    first = study.runs.drop_duplicates("arm").set_index("arm")
    tricks = [name for name in study.params if name.startswith("trick.")]
    owners = {name.removeprefix("trick.") for name in tricks}
    fields = [name for name in study.params if name.partition(".")[0] in owners and "." in name]
    points = []
    for at in ended:
        run = first.loc[study.arms[at]]
        point: Point = {name.removeprefix("trick."): isinstance(run[name], str) for name in tricks}
        said = {name: read_level(name, run[name]) for name in fields}
        points.append(point | {name: value for name, value in said.items() if _is_finite(value)})
    return points, objective[ended]


def _is_finite(value: Level) -> TypeGuard[bool | int | float | str]:
    return value is not None and (isinstance(value, str) or math.isfinite(value))
