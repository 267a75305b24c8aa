"""Curves over iterations: the interquartile mean over seeds with its interval, per arm."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray, curve_interval
from analysis.runs import IntArray, Study, remembered
from analysis.selection import shown_arms

MAX_POINTS = 200
"""Iterations of a curve for which an interval is computed; a longer curve is thinned evenly."""

FEW_POINTS = 20
"""As MAX_POINTS, in the table of curves, of arms that figures do not show."""


@dataclass(frozen=True)
class Curve:
    """Interquartile mean, interval ends (NaN below three seeds) and seeds at each step, all [T]."""

    steps: IntArray
    centre: FloatArray
    low: FloatArray
    high: FloatArray
    n: IntArray


@remembered
def curve(study: Study, metric: str, arm: str, max_points: int = MAX_POINTS) -> Curve:
    """Summarise one metric of one arm over its seeds; of length 0 where no run recorded it."""
    steps, values = study.curves(metric, arm)
    if len(steps) > max_points:
        kept = np.unique(np.linspace(0, len(steps) - 1, max_points).round().astype(int))
        steps, values = steps[kept], values[:, kept]
    there = np.isfinite(values).any(axis=0)
    steps, values = steps[there], values[:, there]
    centre, low, high = curve_interval(values)
    return Curve(steps, centre, low, high, np.isfinite(values).sum(axis=0))


def curve_table(study: Study) -> pd.DataFrame:
    """Tabulate every curve: arm, metric, step, iqm, low, high, n; final metrics are left out.

    Arms that figures do not show have FEW_POINTS steps, so that the table of a large study can be read.
    """
    frames, shown = [], shown_arms(study)
    for arm in study.arms:
        for metric in sorted(study.metric_names):
            if not metric.startswith("final/"):
                thin = () if arm in shown else (FEW_POINTS,)
                found = curve(study, metric, arm, *thin)
                columns = {"arm": arm, "metric": metric, "step": found.steps, "iqm": found.centre}
                ends = {"low": found.low, "high": found.high, "n": found.n}
                frames.append(pd.DataFrame(columns | ends))
    names = ["arm", "metric", "step", "iqm", "low", "high", "n"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)
