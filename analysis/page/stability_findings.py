"""Sentences on stability: which arms collapsed and when, and which monitor said so first."""

from typing import Any

import pandas as pd

from analysis.intervals import share_interval
from analysis.page.finding import Finding
from analysis.runs import Study, finished
from analysis.selection import MAX_ARMS, shown_arms
from analysis.traces import ITERATION, PAPER_SIX
from analysis.warnings.alarms import HORIZON


def collapse_findings(study: Study, runs: pd.DataFrame) -> list[Finding]:
    """Say for each arm how many of its finished runs collapsed, when, and how sure the rate is."""
    answers = [Finding(text, "runs.csv") for text in _collapses_at_large(study, runs)]
    shown = shown_arms(study)
    by_arm = dict(list(finished(runs).groupby("arm")))
    for arm in study.arms:
        text = f"{arm}: no run has finished yet."
        if arm in by_arm:
            text = _collapse_sentence(arm, by_arm[arm])
        answers.append(Finding(text, "runs.csv", is_minor=arm not in shown))
    return answers


def _collapses_at_large(study: Study, runs: pd.DataFrame) -> list[str]:
    """Count the arms of a study of many arms by how often they collapsed."""
    if len(study.arms) <= MAX_ARMS:
        return []
    ended = finished(runs)
    share = ended["collapse"].notna().groupby(ended["arm"]).mean()
    held, all_fell = int((share == 0).sum()), int((share == 1).sum())
    return [
        f"Of {len(share)} arms with finished runs, {held} held in all of them, "
        f"{len(share) - held - all_fell} collapsed in some and {all_fell} in all."
    ]


def _collapse_sentence(arm: str, runs: pd.DataFrame) -> str:
    at, n = runs["collapse"].astype(float).dropna(), len(runs)
    k = len(at)
    rate = share_interval(k, n)
    sure = f"95 % interval of the rate {rate.low:.0%} to {rate.high:.0%}, n = {n}"
    sure = sure.replace("%", " %").replace("  ", " ")
    if k == 0:
        return f"{arm} held: none of {n} runs collapsed ({sure})."
    when = f"iteration {at.min():.0f}"
    if at.nunique() > 1:
        when = f"iterations {at.min():.0f} to {at.max():.0f}, median {at.median():g}"
    back = int((runs["final_gold"] > runs["start_gold"])[at.index].sum())
    again = f"; gold ended above its start again in {back} of them" * (back > 0)
    return f"{arm} collapsed in {k} of {n} run{'s' if n > 1 else ''}, at {when} ({sure}){again}."


_UNJUDGED = (
    "There is no gold judge: a run is called collapsed by some of these very monitors, so that one of "
    "them moves before it is no evidence that it warns."
)


def warning_findings(study: Study, ranked: pd.DataFrame) -> list[Finding]:
    """Say which monitors told a collapse ahead, by how long, and how often in vain.

    Args:
        study: whose collapses they are.
        ranked: of `warnings.ranking`.
    """
    source = "warning_ranking.csv"
    own = ranked[~ranked["judged"].astype(bool) & ranked["telling"].notna()]
    if not len(own):
        return []
    monitors = own[own["monitor"] != ITERATION]
    said = [
        Finding(_warning_sentence(row, place, len(monitors)), source, is_minor=_is_minor(row, place))
        for place, (_, row) in enumerate(monitors.iterrows())
    ]
    clock = own[own["monitor"] == ITERATION]
    said += [Finding(_clock_sentence(row, monitors), source) for _, row in clock.iterrows()]
    if not {"reward/gold", "eval/gold"} & study.metric_names:
        said.append(Finding(_UNJUDGED, source))
    return said


def _is_minor(row: "pd.Series[Any]", place: int) -> bool:
    return place > 0 and row["monitor"] not in PAPER_SIX


def _warning_sentence(row: "pd.Series[Any]", place: int, count: int) -> str:
    ends = f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row["low"]) else ""
    rank = f"first of {count} monitors" if place == 0 else f"place {place + 1}"
    return f"{row['label']}, {rank}: {_alarm_words(row)}; AUROC {row['auroc']:.2f}{ends}."


def _alarm_words(row: "pd.Series[Any]") -> str:
    falls = f"{row['falls']} collapse{'s' if row['falls'] != 1 else ''}"
    if not row["announced"]:
        return f"no alarm before any of {falls}"
    low, high = row["lead_low"], row["lead_high"]
    spread = f" (median; {low:g} to {high:g})" if high > low else ""
    lead = f"alarm {row['lead_median']:g} iterations ahead{spread} of {row['announced']} of {falls}"
    return f"{lead}, in vain in {row['false_alarms']} of {row['held']} runs that held"


def _clock_sentence(row: "pd.Series[Any]", monitors: pd.DataFrame) -> str:
    """Say what the time alone tells, and how many monitors beat it."""
    better = int(monitors["beats_iteration"].astype(bool).sum())
    return (
        f"The iteration alone, which a monitor has to beat: AUROC {row['auroc']:.2f}; {better} of "
        f"{len(monitors)} monitors beat it, by the interval of the difference. AUROC is for a collapse "
        f"within {HORIZON} iterations, with its 95 % interval over {row['runs']} runs."
    )
