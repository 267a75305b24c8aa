"""Alarms: how long before a collapse each monitor crosses a threshold that runs that held do not."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import BoolArray, FloatArray
from analysis.runs import Study
from analysis.traces import ITERATION, JUDGED, Traces, label, traces_of
from analysis.warnings import forecast, roc
from analysis.warnings.early_warning import too_few

FALSE_ALARMS = 0.05
"""Share of the runs that hold in which an alarm may ever go off."""

HORIZON = 20
"""Iterations within which a direction tells a collapse; also that of the AUROC in a ranking."""

RULE = (
    "an alarm goes off at the first iteration at which the median of a monitor's last three values is "
    "further from that of its run's first three than the threshold: as far as the runs that held ever "
    "went, the furthest 5 % of them left out where they are many. One more run that holds sets it "
    "off with a probability of 5 %, or of 1/(h + 1) where only h < 19 held. Threshold and direction "
    "are learnt without the run that is judged"
)


@dataclass(frozen=True, eq=False)
class Reach:
    """How far one monitor went in every run.

    Attributes:
        score: [R, T] departure from the run's own start before the collapse; NaN from there on.
        there: [R] whether the run recorded the monitor.
        held: [R] whether it did and held.
        learnt: [R] 1 (up), −1 (down), 0 (unknown): which way announces, from all other runs.
        direction: the same from all runs.
    """

    score: FloatArray
    there: BoolArray
    held: BoolArray
    learnt: FloatArray
    direction: float

    def furthest(self, direction: float) -> FloatArray:
        """Return how far each run ever went that way, [R]; −∞ where nothing is known."""
        towards = direction * self.score
        found: FloatArray = np.where(np.isnan(towards), -np.inf, towards).max(axis=1)
        return found


def reach_of(traces: Traces, monitor: str) -> Reach:
    """Measure a monitor's departures and learn which way they announce a collapse."""
    values = traces.values(monitor)
    score = forecast.departure(values)
    pairs = roc.pairs_of(roc.classes_of(score), *forecast.moments(traces, score, HORIZON))
    is_past = traces.steps >= traces.collapse[:, None]
    return Reach(
        score=np.where(is_past, np.nan, score),
        there=_any(values),
        held=_any(score) & traces.held,
        learnt=roc.directions_by_run(pairs),
        direction=float(np.sign(pairs.gain.sum())),
    )


def _any(values: FloatArray) -> BoolArray:
    """Say which rows have a finite value."""
    return np.asarray(np.isfinite(values).any(axis=1), np.bool_)


def threshold_of(furthest: FloatArray, rate: float) -> float:
    """Return the threshold that one more run like these exceeds with probability at most `rate`.

        the ⌈(1 − rate)(h + 1)⌉-th smallest of h; the largest where h < 1/rate − 1 are too few

    Args:
        furthest: [h] how far each run that held ever went.
    Returns:
        ∞ of nothing.
    Source: the split conformal bound, Vovk et al. 2005, Algorithmic Learning in a Random World.
    """
    if not len(furthest):
        return float("inf")
    place = int(np.ceil((1 - rate) * (len(furthest) + 1) - 1e-9))  # so that 0.95 · 20 is 19
    return float(np.sort(furthest)[min(place, len(furthest)) - 1])


def alarm_times_of(traces: Traces, rate: float = FALSE_ALARMS) -> pd.DataFrame:
    """Find when each monitor's alarm goes off in every run that collapsed or held.

    Returns:
        One row a (monitor, run): monitor, label, judged (it asks the gold judge), arm, seed, run_id,
        direction and threshold as learnt from the other runs (the threshold is a departure from the
        run's own start, in the monitor's unit), first (iteration of the alarm; NaN for none before
        the collapse), collapse, lead = collapse − first, held. Empty where fewer than two runs
        collapsed, or held.
    """
    if too_few(int(traces.fell.sum()), int(traces.held.sum())):
        return pd.DataFrame(columns=_TIMES)
    monitors = (ITERATION, *traces.monitors)
    frames = [_times(traces, monitor, reach_of(traces, monitor), rate) for monitor in monitors]
    return pd.concat(frames, ignore_index=True)[_TIMES]


_TIMES = [
    *("monitor", "label", "judged", "arm", "seed", "run_id", "direction", "threshold"),
    *("first", "collapse", "lead", "held"),
]


def _times(traces: Traces, monitor: str, reach: Reach, rate: float) -> pd.DataFrame:
    judged = np.flatnonzero((traces.fell | traces.held) & reach.there)
    learnt, limit = reach.learnt[judged], _limits(reach, rate)[judged]
    first = first_over(traces.steps, reach.score[judged] * learnt[:, None], limit)
    collapse = traces.collapse[judged]
    return traces.runs.iloc[judged].assign(
        monitor=monitor,
        label=label(monitor),
        judged=monitor in JUDGED,
        direction=[roc.DIRECTIONS[sign] for sign in learnt],
        threshold=np.where(learnt == 0, np.nan, limit) * learnt,
        first=first,
        collapse=collapse,
        lead=collapse - first,
        held=traces.held[judged],
    )


def _limits(reach: Reach, rate: float) -> FloatArray:
    """Return the threshold for every run, [R], from the runs that held but itself."""
    limit = np.full(len(reach.learnt), np.inf)
    furthest = {direction: reach.furthest(direction) for direction in (1.0, -1.0)}
    for run in np.flatnonzero(reach.learnt != 0):
        others = reach.held.copy()
        others[run] = False
        limit[run] = threshold_of(furthest[reach.learnt[run]][others], rate)
    return limit


def first_over(steps: FloatArray, towards: FloatArray, limit: FloatArray) -> FloatArray:
    """Return the first step at which each row of `towards` [R, T] is over its limit [R], else NaN."""
    if not towards.size:
        return np.full(len(limit), np.nan)
    is_over = towards > limit[:, None]
    return np.where(is_over.any(axis=1), steps[np.argmax(is_over, axis=1)], np.nan)


def alarms_of(traces: Traces, rate: float = FALSE_ALARMS) -> pd.DataFrame:
    """Summarise `alarm_times_of`, a row a monitor.

    Returns:
        monitor, label, judged; direction, threshold: as learnt from all runs, for further ones;
        announced: collapses with an alarm before them, of falls; lead_median, lead_low, lead_high:
        of those, iterations ahead (median, least, most); false_alarms of held: runs that held in
        which it went off; promised: probability of a false alarm in one more run that holds;
        informedness = announced/falls − false_alarms/held. No rows as for `alarm_times_of`.
    """
    return _summary(traces, alarm_times_of(traces, rate), rate)


def _summary(traces: Traces, times: pd.DataFrame, rate: float) -> pd.DataFrame:
    rows = []
    for monitor, group in times.groupby("monitor", sort=False):
        reach = reach_of(traces, str(monitor))
        limit = threshold_of(reach.furthest(reach.direction)[reach.held], rate)
        rows.append(
            {"monitor": monitor, "label": label(str(monitor)), "judged": monitor in JUDGED}
            | {"direction": roc.DIRECTIONS[reach.direction]}
            | {"threshold": limit * reach.direction if reach.direction else np.nan}
            | _counts(group)
            | {"promised": max(rate, 1 / (1 + reach.held.sum()))}
        )
    return pd.DataFrame(rows, columns=_ALARMS)


_ALARMS = [
    *("monitor", "label", "judged", "direction", "threshold", "announced", "falls"),
    *("lead_median", "lead_low", "lead_high", "false_alarms", "held", "promised", "informedness"),
]


def _counts(group: pd.DataFrame) -> dict[str, Any]:
    fell, held = group[~group["held"]], group[group["held"]]
    lead = fell["lead"].dropna()
    alarms = int(held["first"].notna().sum())
    return {
        "announced": len(lead),
        "falls": len(fell),
        "lead_median": lead.median(),
        "lead_low": lead.min(),
        "lead_high": lead.max(),
        "false_alarms": alarms,
        "held": len(held),
        "informedness": len(lead) / max(1, len(fell)) - alarms / max(1, len(held)),
    }


@lru_cache(maxsize=4)
def alarm_times(study: Study) -> pd.DataFrame:
    """Find every alarm in a study; see `alarm_times_of`."""
    return alarm_times_of(traces_of(study))


@lru_cache(maxsize=4)
def alarms(study: Study) -> pd.DataFrame:
    """Summarise every monitor's alarms in a study; see `alarms_of`."""
    return _summary(traces_of(study), alarm_times(study), FALSE_ALARMS)
