"""One value a run: how a metric ended and how it began, as a table of seeds by arms."""

import numpy as np
import pandas as pd

from analysis.intervals import floats
from analysis.runs import Study
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


def begun(study: Study, metric: str, arm: str) -> "pd.Series[float]":
    """Return what a metric was at iteration 0 in each run of an arm, by seed, where it was recorded."""
    points = study.metrics
    is_asked = (points["step"] == 0) & (points["metric"] == metric) & (points["arm"] == arm)
    values: pd.Series[float] = points[is_asked].set_index("seed")["value"].astype(np.float64)
    return values.where(np.isfinite(values)).sort_index()


def sft_values(study: Study, metric: str, arm: str | None = None) -> "pd.Series[float]":
    """Return what a metric is under the SFT policy, by seed: at iteration 0, before any update.

    Arms of a seed that sample alike share their first rollout and evaluation, so that one speaks for
    all: the baseline, else the first that has the metric. Runs whose policy starts elsewhere, told by
    their KL to the SFT policy, are left out.

    Args:
        arm: the one arm that is asked; all by default.
    Returns:
        a row for every seed of the study; NaN where no run of the seed has a finite value.
    """
    points = study.metrics[study.metrics["step"] == 0]
    kl = points[points["metric"] == "policy/kl_to_sft"]
    elsewhere = kl.loc[~(kl["value"].abs() < UNMOVED), "run_id"]
    order = [arm] if arm else [study.baseline, *study.arms]
    is_asked = (points["metric"] == metric) & points["arm"].isin(order)
    points = points[is_asked & ~points["run_id"].isin(elsewhere) & np.isfinite(points["value"])]
    place = points["arm"].astype(str).map(order.index)
    points = points.loc[place.sort_values(kind="stable").index].drop_duplicates("seed")
    seeds = sorted(set(study.runs["seed"])) if len(study.runs) else []
    values: pd.Series[float] = points.set_index("seed")["value"].astype(np.float64)
    return values.reindex(seeds)


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
