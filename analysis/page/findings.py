"""What a study found, in sentences whose every number stands in a table beside the report."""

from typing import Any

import pandas as pd

from analysis import effects, frontier
from analysis.comparison import FOUND
from analysis.intervals import LEVEL
from analysis.overoptimisation import RISES, fit_sentence
from analysis.page.design_findings import design_findings
from analysis.page.finding import Finding
from analysis.page.stability_findings import collapse_findings, warning_findings
from analysis.runs import Study
from analysis.selection import MAX_ARMS, objective, shown_arms
from analysis.tables import HEADLINE, Tables
from analysis.wording import label, p_note

FEW_ARMS = 4
"""Arms up to which the page says every comparison at once; of more, those of two metrics."""


def findings(study: Study, tables: Tables) -> dict[str, list[Finding]]:
    """Say what was found, under the questions that a report answers, as far as they have answers."""
    said = {
        "Which arms collapsed, and when": collapse_findings(study, tables.runs),
        "Which monitor said so first": warning_findings(study, tables.warning_ranking),
        f"Against {study.baseline}": _effect_findings(study, tables.effects, is_start=False),
        "Against the SFT policy": _effect_findings(study, tables.effects, is_start=True),
        "What was paid for it, in KL": _price_findings(study, tables),
        **design_findings(study, tables),
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


def _effect_findings(study: Study, table: pd.DataFrame, *, is_start: bool) -> list[Finding]:
    own = table[(table["against"] == effects.START) == is_start]
    order = {name: place for place, name in enumerate(HEADLINE)}
    rows = own[own["metric"].isin(list(order))]
    rows = rows.loc[rows["metric"].map(order).sort_values(kind="stable").index]
    shown, source = shown_arms(study), "effects.csv"
    is_large = len(study.arms) > MAX_ARMS
    at_large = [Finding(text, source) for text in _effects_at_large(rows)] if is_large else []
    has_few = len(study.arms) <= FEW_ARMS
    spoken_of = HEADLINE if has_few else (objective(study), "final/kl_to_sft")
    said = [
        Finding(
            effects.effect_sentence(row),
            source,
            is_minor=row["arm"] not in shown or row["metric"] not in spoken_of,
        )
        for _, row in rows.iterrows()
    ]
    note = p_note(own)
    return [*at_large, *said, *([Finding(note, source)] if note else [])]


def _effects_at_large(rows: pd.DataFrame) -> list[str]:
    """Count, for each metric, the arms above, below and neither."""
    said = []
    for metric, own in rows.groupby("metric", sort=False):
        found = own[own["verdict"] == FOUND]
        above, below = int((found["difference"] > 0).sum()), int((found["difference"] < 0).sum())
        against = own["against"].iloc[0]
        said.append(
            f"{label(str(metric))}: of {len(own)} arms, {above} are above {against} and {below} below "
            f"by their intervals{_kept(found)}; of {len(own) - len(found)} no difference was found."
        )
    return said


def _kept(found: pd.DataFrame) -> str:
    """Say how many differences Holm's correction leaves; nothing where seeds are too few for it."""
    if not len(found) or (found["smallest_p"] > 1 - LEVEL).any():
        return ""
    return f", {int((found['p_holm'] <= 1 - LEVEL).sum())} of them after Holm's correction as well"


def _price_findings(study: Study, tables: Tables) -> list[Finding]:
    """Say which arms have most gold for their KL, and where more KL bought less."""
    best = frontier.on_frontier(tables.frontier)
    said = []
    if len(best):
        text = frontier.frontier_sentence(best.head(MAX_ARMS))
        said.append(Finding(text, "frontier.csv"))
    return said + [
        Finding(fit_sentence(row), "overoptimisation.csv", is_minor=_is_guess(row, study))
        for _, row in tables.overoptimisation.iterrows()
    ]


def _is_guess(row: "pd.Series[Any]", study: Study) -> bool:
    """Say whether a fit's peak is an extrapolation, or one of very many."""
    is_beyond = row["shape"] == RISES and pd.notna(row["peak_kl"])
    return len(study.arms) > MAX_ARMS or is_beyond
