"""One value a run: how a metric ended and how it began, as a table of seeds by arms."""

import numpy as np
import pandas as pd

from analysis.intervals import floats
from analysis.runs import Study, remembered
from workbench.glossary import MEAN

START_OF = {
    "final/gold": "eval/gold",
    "final/proxy": "eval/proxy",
    "final/held_out_perplexity": "eval/held_out_perplexity",
}
"""Evaluation whose value at iteration 0, under the SFT policy, is the start of a final metric."""

UNMOVED = 1e-3
"""KL to the SFT policy, in nats per response, below which a policy is that policy but for rounding."""


def final_values(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate the last value of a metric in each run; of `mean/` and a metric, the mean over the run.

        x̄ = Σ ½ (x_i + x_(i−1)) (t_i − t_(i−1)) / (t_n − t_0)

    over the finite points x_i at iterations t_i, so that it does not matter how densely these lie.

    Returns:
        one row a seed, one column an arm; NaN where the run has no finite value.
    """
    points = study.metrics[study.metrics["metric"] == metric.removeprefix(MEAN)]
    last = points.drop_duplicates("run_id", keep="last")
    if metric.startswith(MEAN):
        points = points[np.isfinite(points["value"])]
        means = points.groupby("run_id")[["step", "value"]].apply(_mean_over)
        last = last.assign(value=last["run_id"].map(means))
    return _by_cell(study, last)


def _mean_over(points: pd.DataFrame) -> float:
    steps, values = floats(points["step"]), floats(points["value"])
    length = steps[-1] - steps[0]
    return float(np.trapezoid(values, steps) / length) if length else float(values[-1])


@remembered
def begun(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate what a metric was at iteration 0: a row a seed, a column an arm, NaN where unknown."""
    return _by_cell(study, _first_points(study, metric))


@remembered
def _first_points(study: Study, metric: str) -> pd.DataFrame:
    """Return the points of iteration 0; looking through a large study for them takes long."""
    points = study.metrics
    return points[(points["step"] == 0) & (points["metric"] == metric)]


@remembered
def _begun_from_sft(study: Study, metric: str) -> pd.DataFrame:
    """Return `begun` without the runs whose policy starts elsewhere, told by their KL to SFT."""
    kl = _first_points(study, "policy/kl_to_sft")
    elsewhere = kl.loc[~(kl["value"].abs() < UNMOVED), "run_id"]
    points = _first_points(study, metric)
    return _by_cell(study, points[~points["run_id"].isin(elsewhere)])


def sft_values(study: Study, metric: str, arm: str | None = None) -> "pd.Series[float]":
    """Return what a metric is under the SFT policy, by seed: at iteration 0, before any update.

    Arms of a seed that sample alike share their first rollout and evaluation, so that one speaks for
    all: the baseline, else the first that has the metric.

    Args:
        arm: the one arm that is asked; all by default.
    Returns:
        a row for every seed of the study; NaN where no run of the seed has a finite value.
    """
    table = _begun_from_sft(study, metric)
    if arm is not None:
        return table[arm]
    if study.baseline is None:
        return pd.Series(dtype=np.float64)
    return table[[study.baseline, *study.arms]].bfill(axis=1).iloc[:, 0]


def sft_level(study: Study, metric: str) -> float | None:
    """Return the mean over seeds of a metric under the SFT policy, None where no run has it."""
    values = sft_values(study, metric).dropna()
    return float(values.mean()) if len(values) else None


def _by_cell(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """Spread one point a run over seeds and arms."""
    seeds = sorted(set(study.runs["seed"])) if len(study.runs) else []
    table = pd.DataFrame(np.nan, index=seeds, columns=list(study.arms))
    if len(points):
        found = points.pivot(index="seed", columns="arm", values="value")
        table.loc[found.index, list(found.columns)] = floats(found)
    return table.where(np.isfinite(table))
