"""Which monitor tells best that a run will collapse: forecasts scored on runs unknown to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray
from analysis.runs import Study
from analysis.traces import ITERATION, JUDGED, Traces, label, traces_of
from analysis.warnings import forecast, roc
from analysis.warnings.roc import Pairs, Single

HORIZONS = (10, 20, 40)
"""Iterations within which a collapse is to be told."""

MIN_RUNS = 2
"""Fewest runs that collapsed, and that held, from which a direction can be learnt and tried."""

RULE = (
    "a monitor's score at an iteration is the median of its last three values less that of its run's "
    "first three; it is right where it is higher before a collapse within the next k iterations than "
    "where none follows. Whether high or low values announce is learnt from all runs but the two that "
    "are compared; intervals resample runs"
)


@lru_cache(maxsize=4)
def warning_scores(study: Study, horizons: tuple[int, ...] = HORIZONS) -> pd.DataFrame:
    """Score every monitor of a study; see `scores_of`."""
    return scores_of(traces_of(study), horizons)


def scores_of(traces: Traces, horizons: Iterable[int] = HORIZONS) -> pd.DataFrame:
    """Measure how well each monitor's value so far tells a collapse within the next k iterations.

    Returns:
        One row a (monitor, horizon), ITERATION first:
        monitor, label, judged (it asks the gold judge), horizon, direction ("up" or "down": which
        values announce, by all runs);
        auroc, low, high: over pairs of moments, each in the direction learnt from all runs but the
        pair's two, with the 95 % interval over runs in that of all runs;
        within_arm, within_low, within_high: of these the pairs of one arm, so that telling arms
        apart does not count;
        matched, matched_low, matched_high: pairs of one arm at one iteration, so that time does not
        count either;
        over_iteration, over_low, over_high: auroc less that of ITERATION, the interval paired;
        beats_iteration: whether over_low is above 0; within_over_iteration, within_over_low,
        within_over_high: within_arm less that of ITERATION;
        runs, events (runs with a moment before a collapse), held; note: why a number is NaN.
    """
    weights = forecast.draw(len(traces.runs))
    clock: dict[float, dict[str, Area]] = {}
    rows = []
    for monitor in (ITERATION, *traces.monitors):
        score = forecast.departure(traces.values(monitor))
        classes = roc.classes_of(score)
        for horizon in horizons:
            moments = forecast.moments(traces, score, horizon)
            pairs = roc.pairs_of(classes, *moments)
            row = _head(traces, monitor, horizon, pairs)
            if not row["note"]:
                areas = _areas(traces, pairs, roc.pairs_of_one_time(classes, *moments), weights)
                clock.setdefault(horizon, areas)
                row |= _columns(pairs, areas, clock[horizon])
            rows.append(row)
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    *("monitor", "label", "judged", "horizon", "direction", "auroc", "low", "high"),
    *("within_arm", "within_low", "within_high", "matched", "matched_low", "matched_high"),
    *("over_iteration", "over_low", "over_high", "beats_iteration"),
    *("within_over_iteration", "within_over_low", "within_over_high"),
    *("runs", "events", "held", "note"),
]


@dataclass(frozen=True)
class Area:
    """An AUROC out of sample, the ends of its interval, its resamples [B], and how many runs it has."""

    value: float
    low: float
    high: float
    resampled: FloatArray
    smaller: int


def _area(pairs: Pairs, learnt: FloatArray, direction: float, weights: Single) -> Area:
    """Score pairs; where the direction wavers its interval may miss the estimate, so is stretched."""
    value = roc.held_out_area(pairs, learnt)
    resampled = forecast.resampled_areas(pairs, direction, weights)
    low, high = forecast.interval_of(resampled, pairs.smaller)
    return Area(value, min(low, value), max(high, value), resampled, pairs.smaller)


def _areas(traces: Traces, pairs: Pairs, of_one_time: Pairs, weights: Single) -> dict[str, Area]:
    learnt, direction = roc.directions(pairs), float(np.sign(pairs.gain.sum()))
    is_same_arm = traces.arm[:, None] == traces.arm
    kinds = {
        "auroc": pairs,
        "within_arm": pairs.only(is_same_arm),
        "matched": of_one_time.only(is_same_arm),
    }
    return {name: _area(kind, learnt, direction, weights) for name, kind in kinds.items()}


def _head(traces: Traces, monitor: str, horizon: float, pairs: Pairs) -> dict[str, Any]:
    return {
        "monitor": monitor,
        "label": label(monitor),
        "judged": monitor in JUDGED,
        "horizon": horizon,
        "runs": len(traces.runs),
        "events": len(pairs.rows),
        "held": int(traces.held.sum()),
        "note": too_few(len(pairs.rows), int(traces.held.sum())),
    }


def too_few(events: int, held: int) -> str:
    """Say why nothing can be learnt from so few runs; empty if something can."""
    if min(events, held) >= MIN_RUNS:
        return ""
    return (
        f"{events} run{'' if events == 1 else 's'} seen to collapse and {held} that held: what "
        f"announces a collapse can be learnt and tried from {MIN_RUNS} of each on"
    )


def _columns(pairs: Pairs, areas: dict[str, Area], clock: dict[str, Area]) -> dict[str, Any]:
    direction = float(np.sign(pairs.gain.sum()))
    row: dict[str, Any] = {"direction": roc.DIRECTIONS[direction]}
    for name, prefix in {"auroc": "", "within_arm": "within_", "matched": "matched_"}.items():
        row |= {name: areas[name].value, f"{prefix}low": areas[name].low}
        row |= {f"{prefix}high": areas[name].high}
    for name, prefix in {"auroc": "over", "within_arm": "within_over"}.items():
        own, other = areas[name], clock[name]
        over = own.value - other.value
        low, high = forecast.interval_of(own.resampled - other.resampled, own.smaller)
        row |= {f"{prefix}_iteration": over}
        row |= {f"{prefix}_low": min(low, over), f"{prefix}_high": max(high, over)}
    return row | {"beats_iteration": row["over_low"] > 0}
