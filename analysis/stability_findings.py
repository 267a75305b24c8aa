"""Sentences on stability: which arms collapsed and when, and which monitor said so first."""

from typing import Any

import pandas as pd
from scipy import stats

from analysis import stability
from analysis.finding import Finding
from analysis.runs import Study
from analysis.selection import MAX_ARMS, shown_arms
from workbench.glossary import GLOSSARY


def collapse_findings(study: Study, runs: pd.DataFrame) -> list[Finding]:
    """Say for each arm how many of its finished runs collapsed, when, and how sure the rate is."""
    answers = [Finding(text, "runs.csv") for text in _collapses_at_large(study, runs)]
    shown = shown_arms(study)
    by_arm = dict(list(runs[runs["outcome"].isin(["ok", "collapsed"])].groupby("arm")))
    for arm in study.arms:
        text = f"{arm}: no run has finished yet."
        if arm in by_arm:
            own = by_arm[arm]
            at = own.loc[own["outcome"] == "collapsed", "collapse_iteration"]
            text = _collapse_sentence(arm, len(at), len(own), at)
        answers.append(Finding(text, "runs.csv", is_minor=arm not in shown))
    return answers


def _collapses_at_large(study: Study, runs: pd.DataFrame) -> list[str]:
    """Count the arms of a study of many arms by how often they collapsed."""
    if len(study.arms) <= MAX_ARMS:
        return []
    finished = runs[runs["outcome"].isin(["ok", "collapsed"])]
    share = (finished["outcome"] == "collapsed").groupby(finished["arm"]).mean()
    held, all_fell = int((share == 0).sum()), int((share == 1).sum())
    return [
        f"Of {len(share)} arms with finished runs, {held} held in all of them, "
        f"{len(share) - held - all_fell} collapsed in some and {all_fell} in all."
    ]


def _collapse_sentence(arm: str, k: int, n: int, at: "pd.Series[float]") -> str:
    rate = stats.binomtest(k, n).proportion_ci(method="exact")
    sure = f"95 % interval of the rate {rate.low:.0%} to {rate.high:.0%}, n = {n}"
    sure = sure.replace("%", " %").replace("  ", " ")
    if k == 0:
        return f"{arm} held: none of {n} runs collapsed ({sure})."
    known = at.dropna()
    when = f", at iteration {known.min():.0f}" if len(known) else ""
    if known.nunique() > 1:
        when = f", at iterations {known.min():.0f} to {known.max():.0f}, median {known.median():g}"
    return f"{arm} collapsed in {k} of {n} run{'s' if n > 1 else ''}{when} ({sure})."


def warning_findings(ranking: pd.DataFrame, *, is_judged: bool = True) -> list[Finding]:
    """Say which monitors warned before gold fell, by how long, and how often in vain.

    Args:
        ranking: of `stability.warning_ranking`.
        is_judged: whether there is a gold judge; without one a fall is the tagged collapse.
    """
    rules = ranking["rule"].unique().tolist()
    rule = stability.HELD_RANGE if stability.HELD_RANGE in rules else stability.OWN_BAND
    own = ranking[(ranking["rule"] == rule) & (ranking["falls"] > 0)]
    if not len(own):
        return []
    event = "gold fell below its start" if is_judged else "the run was called collapsed"
    spoke = own[own["informedness"] > 0]
    source = "warning_ranking.csv"
    answers = [
        Finding(_warning_sentence(row, event=event, is_first=place == 0), source)
        for place, (_, row) in enumerate(spoke.iterrows())
    ]
    silent = own["announced"] == 0
    others = {
        f"No warning before any of {own['falls'].max()} falls": own[silent],
        "No news, since they warned as often in runs that held": own[
            ~silent & (own["informedness"] <= 0)
        ],
    }
    for what, which in others.items():
        if names := [GLOSSARY[name].label for name in which["monitor"]]:
            answers.append(Finding(f"{what}: {', '.join(names)}.", source))
    if not is_judged:
        text = "There is no gold judge: a run is called collapsed by these very monitors, so that one"
        answers.append(Finding(f"{text} of them moves before it is no evidence that it warns.", source))
    return [*answers, Finding(f"The rule: {stability.RULES[rule]}.", "warnings.csv")]


def _warning_sentence(row: "pd.Series[Any]", *, event: str, is_first: bool) -> str:
    label = GLOSSARY[row["monitor"]].label
    median, low, high = row["lead_median"], row["lead_min"], row["lead_max"]
    spread = f"{low:g} to {high:g}, " if high > low else ""
    count = f"{spread}warned before {row['announced']} of {row['falls']} falls"
    vain = f"; also in {row['false_alarms']} of {row['held']} runs that held" if row["held"] else ""
    lead = f"{median:g} iteration{'s' if median != 1 else ''}"
    if is_first:
        return f"First: {label}, {lead} before {event} (median; {count}{vain})."
    return f"Then {label}, {lead} (median; {count}{vain})."
