"""Curves over iterations: the interquartile mean over seeds with its interval, per arm."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray, IntArray, curve_interval
from analysis.runs import Study, remembered
from analysis.selection import shown_arms

MAX_POINTS = 200
"""Iterations of a curve for which an interval is computed; a longer curve is thinned evenly."""

FEW_POINTS = 20
"""As MAX_POINTS, in the table of curves, of arms that figures do not show."""

SCORES = ("reward/proxy", "eval/proxy")
"""Metrics in the units of the reward model."""


@dataclass(frozen=True)
class Curve:
    """Interquartile mean, interval ends (NaN below three seeds) and seeds at each step, all [T]."""

    steps: IntArray
    centre: FloatArray
    low: FloatArray
    high: FloatArray
    n: IntArray


@remembered
def curve(
    study: Study, metric: str, arm: str, max_points: int = MAX_POINTS, *, is_change: bool = False
) -> Curve:
    """Summarise one metric of one arm over its seeds; of length 0 where no run recorded it.

    Args:
        study: whose runs.
        metric: name of the metric.
        arm: name of the arm.
        max_points: a longer curve is thinned.
        is_change: as `from_start`.
    """
    steps, values = study.curves(metric, arm)
    if is_change and len(steps):
        values = from_start(values)
    if len(steps) > max_points:
        kept = np.unique(np.linspace(0, len(steps) - 1, max_points).round().astype(int))
        steps, values = steps[kept], values[:, kept]
    there = np.isfinite(values).any(axis=0)
    steps, values = steps[there], values[:, there]
    centre, low, high = curve_interval(values)
    return Curve(steps, centre, low, high, np.isfinite(values).sum(axis=0))


def from_start(values: FloatArray) -> FloatArray:
    """Take each run's first finite value from all of its values, [..., T] with T at least 1."""
    first = np.isfinite(values).argmax(axis=-1, keepdims=True)
    return values - np.take_along_axis(values, first, axis=-1)


def has_zero(study: Study, metric: str) -> bool:
    """Say whether values of different runs compare; of several reward models only the changes do."""
    return metric not in SCORES or study.has_one_reward_model


def curve_table(study: Study) -> pd.DataFrame:
    """Tabulate every curve: arm, metric, step, iqm, low, high, n; final metrics are left out.

    Arms that figures do not show have FEW_POINTS steps, so that the table of a large study can be read.
    """
    shown = shown_arms(study)
    names = [name for name in sorted(study.metric_names) if not name.startswith("final/")]
    cells = [(arm, name) for arm in study.arms for name in names]
    found = [curve(study, name, arm, *(() if arm in shown else (FEW_POINTS,))) for arm, name in cells]
    lengths = [len(one.steps) for one in found]
    columns = {
        "arm": np.repeat(np.array([arm for arm, _ in cells], object), lengths),
        "metric": np.repeat(np.array([name for _, name in cells], object), lengths),
        **{title: _joined(found, attribute) for title, attribute in _COLUMNS.items()},
    }
    return pd.DataFrame(columns)


_COLUMNS = {"step": "steps", "iqm": "centre", "low": "low", "high": "high", "n": "n"}


def _joined(found: list[Curve], attribute: str) -> FloatArray | IntArray:
    """Put one attribute of all curves below one another."""
    parts = [getattr(one, attribute) for one in found]
    return np.concatenate(parts) if parts else np.empty(0)
