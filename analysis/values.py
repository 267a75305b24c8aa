"""One value a run: how a metric ended and how it began, as a table of seeds by arms."""

import numpy as np
import pandas as pd

from analysis.intervals import floats
from analysis.runs import Study

START_OF = {
    "final/gold": "eval/gold",
    "final/proxy": "eval/proxy",
    "final/held_out_perplexity": "eval/held_out_perplexity",
}
"""Evaluation whose value at iteration 0, under the SFT policy, is the start of a final metric."""


def final_values(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate the last value of a metric in each run.

    Returns:
        one row a seed, one column an arm; NaN where the run has no finite value.
    """
    points = study.metrics[study.metrics["metric"] == metric]
    return _by_cell(study, points.drop_duplicates("run_id", keep="last"))


def start_values(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate what a final metric was at iteration 0, as `final_values`."""
    is_start = (study.metrics["metric"] == START_OF[metric]) & (study.metrics["step"] == 0)
    return _by_cell(study, study.metrics[is_start])


def _by_cell(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """Spread one point a run over seeds and arms."""
    seeds = sorted(set(study.runs["seed"])) if len(study.runs) else []
    table = pd.DataFrame(np.nan, index=seeds, columns=list(study.arms))
    if len(points):
        found = points.pivot(index="seed", columns="arm", values="value")
        table.loc[found.index, list(found.columns)] = floats(found)
    return table.where(np.isfinite(table))
