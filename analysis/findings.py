"""What a study found, in sentences whose every number stands in a table beside the report."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from analysis import effects, stability
from analysis.comparison import FOUND
from analysis.runs import Study
from analysis.selection import MAX_ARMS
from analysis.tables import Tables
from analysis.wording import p_note
from workbench.glossary import GLOSSARY

HEADLINE = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    "final/held_out_perplexity",
)
"""Metrics whose comparison is said in the summary; the rest stand in the table of effects."""


@dataclass(frozen=True)
class Finding:
    """One sentence, the CSV file from which it can be recomputed, and the arm it is about, if one."""

    text: str
    source: str
    arm: str = ""


def findings(study: Study, tables: Tables) -> dict[str, list[Finding]]:
    """Say what was found, under the four questions of a stability report."""
    is_judged = bool((study.metrics["metric"] == "eval/gold").any())
    said = {
        "Which arms collapsed, and when": collapse_findings(study, tables.runs),
        "Which monitor said so first": warning_findings(tables.warning_ranking, is_judged=is_judged),
        f"Against {study.baseline}": _effect_findings(tables.effects, is_start=False),
        "Against where it started": _effect_findings(tables.effects, is_start=True),
    }
    return {question: answers for question, answers in _once(said).items() if answers}


def _once(said: dict[str, list[Finding]]) -> dict[str, list[Finding]]:
    """Leave out of each section what an earlier one said."""
    seen: set[Finding] = set()
    kept = {}
    for question, answers in said.items():
        kept[question] = [one for one in answers if one not in seen]
        seen |= set(answers)
    return kept


def collapse_findings(study: Study, runs: pd.DataFrame) -> list[Finding]:
    """Say for each arm how many of its finished runs collapsed, when, and how sure the rate is."""
    answers = [Finding(text, "runs.csv") for text in _collapses_at_large(study, runs)]
    by_arm = dict(list(runs[runs["outcome"].isin(["ok", "collapsed"])].groupby("arm")))
    for arm in study.arms:
        text = f"{arm}: no run has finished yet."
        if arm in by_arm:
            own = by_arm[arm]
            at = own.loc[own["outcome"] == "collapsed", "collapse_iteration"]
            text = _collapse_sentence(arm, len(at), len(own), at)
        answers.append(Finding(text, "runs.csv", arm))
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


def _effect_findings(table: pd.DataFrame, *, is_start: bool) -> list[Finding]:
    own = table[(table["against"] == effects.START) == is_start]
    order = {name: place for place, name in enumerate(HEADLINE)}
    rows = own[own["metric"].isin(list(order))]
    rows = rows.loc[rows["metric"].map(order).sort_values(kind="stable").index]
    at_large = [Finding(text, "effects.csv") for text in _effects_at_large(rows)]
    said = [
        Finding(effects.effect_sentence(row), "effects.csv", row["arm"]) for _, row in rows.iterrows()
    ]
    note = p_note(own)
    return [*at_large, *said, *([Finding(note, "effects.csv")] if note else [])]


def _effects_at_large(rows: pd.DataFrame) -> list[str]:
    """Count, for each metric of a study of many arms, the arms above, below and neither."""
    if rows["arm"].nunique() < MAX_ARMS:
        return []
    said = []
    for metric, own in rows.groupby("metric", sort=False):
        found = own[own["verdict"] == FOUND]
        above, below = int((found["difference"] > 0).sum()), int((found["difference"] < 0).sum())
        against = own["against"].iloc[0]
        said.append(
            f"{GLOSSARY[str(metric)].label.capitalize()}: of {len(own)} arms, {above} are above "
            f"{against} and {below} below; of {len(own) - len(found)} no difference was found."
        )
    return said
