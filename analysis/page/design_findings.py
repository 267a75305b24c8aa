"""Sentences on designs and searches: what each trick does, alone and together; which settings matter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis import effects
from analysis.designs import factorial, shapley
from analysis.designs.sweeps import sweep_sentences
from analysis.page.finding import Finding
from analysis.runs import Study
from analysis.selection import objective
from analysis.tables import Tables
from analysis.wording import number
from workbench.glossary import GLOSSARY

MOST = 8
"""Sentences of one kind that the page shows at once: on the greatest effects."""

_HIGHEST = "The highest of several values is partly the luckiest: run it again with fresh seeds."

Sentence = Callable[["pd.Series[Any]", str], str]


def design_findings(study: Study, tables: Tables) -> dict[str, list[Finding]]:
    """Say what a design or a search was made to tell, of the metric that it is judged by."""
    metric = objective(study)
    return {
        "How the outcome goes with a number": _sweep_findings(tables, metric),
        "What each trick does": _said(tables.forest, metric, effects.forest_sentence, "forest"),
        "What each factor does on average": _said(
            tables.main_effects, metric, factorial.main_sentence, "main_effects"
        ),
        "Which tricks act on each other": _said(
            tables.interactions, metric, factorial.interaction_sentence, "interactions"
        ),
        "How the whole is shared out": _said(
            tables.shapley_values, metric, shapley.shapley_sentence, "shapley_values", effect="value"
        ),
        "Which settings mattered": _search_findings(tables, metric),
    }


def _sweep_findings(tables: Tables, metric: str) -> list[Finding]:
    texts = sweep_sentences(tables.sweeps[tables.sweeps["metric"] == metric], metric)
    said = [Finding(text, "sweeps.csv", is_minor=at >= MOST) for at, text in enumerate(texts)]
    return [*said, Finding(_HIGHEST, "sweeps.csv")] if said else []


def _said(
    table: pd.DataFrame, metric: str, sentence: Sentence, name: str, *, effect: str = "effect"
) -> list[Finding]:
    """Say every row on this metric, the greatest effects first."""
    if "metric" not in table:
        return []
    own = table[table["metric"] == metric].dropna(subset=[effect])
    own = own.loc[own[effect].abs().sort_values(ascending=False, kind="stable").index]
    return [
        Finding(sentence(row, metric), f"{name}.csv", is_minor=place >= MOST)
        for place, (_, row) in enumerate(own.iterrows())
    ]


def _search_findings(tables: Tables, metric: str) -> list[Finding]:
    found = tables.importances.dropna(subset=["fanova"])
    said = [
        Finding(_importance_sentence(row, metric), "importances.csv", is_minor=place >= MOST)
        for place, (_, row) in enumerate(found.iterrows())
    ]
    best = tables.pareto[tables.pareto["is_efficient"].astype(bool)]
    if len(best):
        arms = ", ".join(best["arm"])
        text = (
            f"No feasible trial is better in every objective than {arms} (of {len(tables.pareto)}); the "
            "best of many are partly the luckiest, so run them again with fresh seeds."
        )
        said.append(Finding(text, "pareto.csv"))
    return said


def _importance_sentence(row: "pd.Series[Any]", metric: str) -> str:
    what, explained = GLOSSARY[metric].label, row["explained"]
    if not explained > 0:
        return (
            f"{row['parameter']}: how {what} varied over {row['n']} trials is not explained by what was "
            "searched (a forest's R² out of bag is not above 0), so that its importance is noise."
        )
    best = row["ped_anova"]
    tenth = f"; {number(100 * best)} % of what sets the best tenth apart (PED-ANOVA)"
    tenth = tenth if np.isfinite(best) else ""
    return (
        f"{row['parameter']} has {number(100 * row['fanova'])} % of what a forest sees in {what} over "
        f"{row['n']} trials (fANOVA; R² {explained:.2f} out of bag){tenth}."
    )
