"""What a study found, in sentences whose every number stands in a table beside the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis import effects, stability
from analysis.curves import curve_table
from analysis.intervals import MIN_SEEDS, smallest_p
from analysis.panels import MAX_ARMS
from analysis.runs import Study
from analysis.survival import survival
from workbench.glossary import GLOSSARY, PAPER_FOUR

HEADLINE = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    "final/held_out_perplexity",
)
"""Metrics whose comparison is said in the summary; the rest stand in the table of effects."""


@dataclass(frozen=True)
class Tables:
    """All tables of a report; each becomes a CSV file of its name."""

    runs: pd.DataFrame
    arms: pd.DataFrame
    effects: pd.DataFrame
    warnings: pd.DataFrame
    warning_ranking: pd.DataFrame
    survival: pd.DataFrame
    curves: pd.DataFrame
    recipes: pd.DataFrame


@dataclass(frozen=True)
class Finding:
    """One sentence, and the CSV file from which it can be recomputed."""

    text: str
    source: str


def tables_of(study: Study) -> Tables:
    """Compute every table of a study."""
    found = stability.warnings(study)
    return Tables(
        runs=stability.stability_table(study),
        arms=effects.arm_table(study),
        effects=effects.effects(study),
        warnings=found,
        warning_ranking=stability.warning_ranking(found),
        survival=survival(study),
        curves=curve_table(study),
        recipes=study.runs[["arm", "seed", "recipe_hash", *study.params]]
        if "recipe_hash" in study.runs
        else study.runs[["arm", "seed", *study.params]],
    )


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
    answers = []
    for arm in study.arms:
        own = runs[runs["arm"] == arm] if len(runs) else runs
        finished = own[own["outcome"].isin(["ok", "collapsed"])] if len(own) else own
        if not len(finished):
            answers.append(Finding(f"{arm}: no run has finished yet.", "runs.csv"))
            continue
        at = finished.loc[finished["outcome"] == "collapsed", "collapse_iteration"]
        answers.append(Finding(_collapse_sentence(arm, len(at), len(finished), at), "runs.csv"))
    return answers


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
    said = [effects.effect_sentence(row) for _, row in rows.iterrows()]
    note = effects.p_note(own)
    return [Finding(text, "effects.csv") for text in (*said, note) if text]


def limits(study: Study, tables: Tables) -> list[str]:
    """Say what a report of this study could not do, and why."""
    return [
        *study.notes,
        *_unfinished(study, tables.runs),
        *_few_seeds(study),
        *_missing(study),
        *_disagreements(tables.runs),
        *_not_finite(study),
    ]


def _unfinished(study: Study, runs: pd.DataFrame) -> list[str]:
    said = []
    cells = {f"{arm}/s{seed}" for arm in study.spec["arms"] for seed in study.spec["seeds"]}
    there = {f"{run.arm}/s{run.seed}" for run in study.runs.itertuples()}
    if absent := sorted(cells - there):
        said.append(f"{len(absent)} of {len(cells)} runs have not started: {_some(absent)}.")
    if not len(runs):
        return said
    running = runs[runs["outcome"] == "running"]
    if len(running):
        names = [f"{run.arm}/s{run.seed}" for run in running.itertuples()]
        have = "has" if len(running) == 1 else "have"
        said.append(
            f"{len(running)} of {len(cells)} runs {have} not finished ({_some(names)}): curves are "
            "drawn as far as they go, and comparisons of the end leave such runs out."
        )
    for _, run in runs[runs["outcome"] == "failed"].iterrows():
        why = f": {run['error']}" if isinstance(run["error"], str) and run["error"] else ""
        said.append(f"{run['arm']}/s{run['seed']} failed{why}. Comparisons leave it out.")
    return said


def _few_seeds(study: Study) -> list[str]:
    finished = study.runs[study.runs["outcome"].isin(["ok", "collapsed"])]
    said = []
    if len(study.arms) < 2:
        said.append("The study has one arm, so that there is nothing to compare it with.")
    n = int(finished.groupby("arm").size().reindex(study.arms, fill_value=0).min() or 0)
    if n < MIN_SEEDS:
        said.append(
            f"At least one arm has {n} finished seed{'s' if n != 1 else ''}; fewer than "
            f"{MIN_SEEDS} give no interval, and no difference can be told from chance."
        )
    elif smallest_p(n) > 0.05:
        said.append(
            f"{n} paired seeds cannot give a two-sided sign-flip p below {smallest_p(n):.3g}; "
            "six could give one below 0.05. Effects rest on their intervals, whose true coverage "
            f"is about {_COVERAGE[n]} at {n} seeds."
        )
    return said


_COVERAGE = {3: "75 %", 4: "87 %", 5: "92 %"}


def _missing(study: Study) -> list[str]:
    said = []
    names = study.metric_names
    if not {"reward/gold", "eval/gold"} & names:
        said.append(
            "No gold score was recorded: collapse is known from the runs' own tags alone, and "
            "whether a rising reward-model score is real cannot be said."
        )
    absent = [name for name in (*PAPER_FOUR, "eval/held_out_perplexity") if name not in names]
    if absent:
        labels = ", ".join(GLOSSARY[name].label for name in absent)
        said.append(f"Not recorded: {labels}.")
    if not study.prepared:
        said.append("The study's models (reward model, SFT start) were not described in MLflow.")
    held = len(stability.held_ids(study))
    if held < stability.MIN_HELD:
        said.append(
            f"{held} run{'s' if held != 1 else ''} held to the end; fewer than "
            f"{stability.MIN_HELD} give no range of healthy values, so that warnings are judged "
            "against each run's own start."
        )
    if len(study.arms) > MAX_ARMS:
        said.append(f"Figures show {MAX_ARMS} of {len(study.arms)} arms; the tables have all.")
    return said


def _disagreements(runs: pd.DataFrame) -> list[str]:
    if not len(runs):
        return []
    held = runs[(runs["outcome"] == "ok") & runs["gold_falls"].notna()]
    names = [f"{run.arm}/s{run.seed}" for run in held.itertuples()]
    if not names:
        return []
    return [
        f"Gold fell below its start for three iterations in {_some(names)}, which nevertheless "
        "ended as not collapsed; for the warnings they count as falls."
    ]


def _not_finite(study: Study) -> list[str]:
    values = study.metrics["value"].to_numpy(float)
    bad = study.metrics.loc[~np.isfinite(values), "metric"].value_counts()
    bad = bad[bad > 0]
    if not len(bad):
        return []
    names = ", ".join(f"{name} ({count})" for name, count in bad.items())
    return [f"Values that were not finite are left out of curves and means: {names}."]


def _some(names: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
