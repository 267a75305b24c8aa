"""Search studies: which trials no other beats in every objective."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.designs.design import design_of
from analysis.frontier import efficient
from analysis.intervals import FloatArray, floats, mean
from analysis.runs import Study
from analysis.values import final_values

KL = "final/kl_to_sft"
LOGGED = {"collapsed": "final/collapsed"}
"""Metrics by the names that a search's bounds have for them, where these are others."""


def pareto(study: Study) -> pd.DataFrame:
    """Say which trials of a search no other beats in every objective, and which keep its constraints.

    A trial that lacks seeds, given up or under way, beats nobody: its seeds may be easy ones.

    Returns:
        one row an arm: arm, n seeds, a column an objective and a column a constraint (means over
        seeds), the KL to the SFT policy that was attained, is_efficient (no feasible arm with all
        seeds is as good in all objectives and better in one), feasible. Empty for a design.
    """
    design = design_of(study)
    if design.kind != "search" or not design.objectives:
        return pd.DataFrame(columns=["arm", "n", KL, "is_efficient", "feasible"])
    metrics = list(dict.fromkeys([*design.objectives, *design.constraints, KL]))
    found = {name: mean(floats(final_values(study, LOGGED.get(name, name)))) for name in metrics}
    first = floats(final_values(study, next(iter(design.objectives))))
    table = pd.DataFrame({"arm": study.arms, "n": np.sum(~np.isnan(first), axis=0)} | found)
    table = table.dropna(subset=list(design.objectives)).reset_index(drop=True)
    kept = [floats(table[name]) <= bound for name, bound in design.constraints.items()]
    feasible = np.all(kept, axis=0) if kept else np.ones(len(table), bool)
    counts = feasible & (table["n"] == table["n"].max()).to_numpy()
    cost = np.where(counts[:, None], _costs(table, design.objectives), np.nan)
    return table.assign(is_efficient=efficient(cost), feasible=feasible)


def _costs(table: pd.DataFrame, objectives: Mapping[str, str]) -> FloatArray:
    signs = [1.0 if direction == "minimize" else -1.0 for direction in objectives.values()]
    return floats(floats(table[list(objectives)]) * signs)
