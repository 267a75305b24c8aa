"""What a report of a study could not do, and why: in sentences, at the end of the page."""

import numpy as np
import pandas as pd

from analysis.collapse import disagreements
from analysis.designs import factorial, importance, shapley
from analysis.designs.design import design_of
from analysis.intervals import MIN_SEEDS
from analysis.page.rows import some
from analysis.reward_model import judge_sentence
from analysis.runs import Study, finished
from analysis.selection import choice_sentence
from analysis.significance import smallest_p
from analysis.tables import Tables, tables_of
from analysis.traces import traces_of
from analysis.warnings.early_warning import too_few
from workbench.glossary import GLOSSARY, PAPER_FOUR

STILL_NATS = 1e-4
"""KL to SFT, per response, of a policy that does not move is 0 but for rounding."""
MOST_NAMED = 6
"""Runs that are spoken of one by one; more are counted."""


def limits(study: Study, tables: Tables) -> list[str]:
    """Say what a report of this study could not do, and why."""
    return [
        *study.notes,
        *_unfinished(study, tables.runs),
        *_few_seeds(study),
        *_missing(study),
        *_design(study),
        *_disagreements(tables.runs),
        *_pruned(study),
        *_still(study),
        *_not_finite(study),
    ]


def _unfinished(study: Study, runs: pd.DataFrame) -> list[str]:
    said = []
    cells = {f"{arm}/s{seed}" for arm in study.spec["arms"] for seed in study.spec["seeds"]}
    there = {f"{run.arm}/s{run.seed}" for run in study.runs.itertuples()}
    if absent := sorted(cells - there - study.deleted):
        said.append(f"{len(absent)} of {len(cells)} runs have not started: {some(absent)}.")
    if not len(runs):
        return said
    running = runs[runs["outcome"] == "running"]
    if len(running):
        names = [f"{run.arm}/s{run.seed}" for run in running.itertuples()]
        have = "has" if len(running) == 1 else "have"
        said.append(
            f"{len(running)} of {len(cells)} runs {have} not finished ({some(names)}): curves are "
            "drawn as far as they go, and comparisons of the end leave such runs out."
        )
    return said + _failed(runs)


def _failed(runs: pd.DataFrame) -> list[str]:
    """Name the runs that failed, those of one error together."""
    failed = runs[runs["outcome"] == "failed"]
    said = []
    for error, own in failed.groupby(failed["error"].fillna(""), sort=False):
        names = some([f"{run.arm}/s{run.seed}" for run in own.itertuples()])
        why = f": {error}" if error else ""
        said.append(f"{names} failed{why}. Comparisons leave {'it' if len(own) == 1 else 'them'} out.")
    return said


def _few_seeds(study: Study) -> list[str]:
    said = []
    if len(study.arms) < 2:
        said.append("The study has one arm, so that there is nothing to compare it with.")
    n = int(finished(study.runs).groupby("arm").size().reindex(study.arms, fill_value=0).min() or 0)
    if n < MIN_SEEDS:
        said.append(
            f"At least one arm has {n} finished seed{'s' if n != 1 else ''}; fewer than "
            f"{MIN_SEEDS} give no interval, and no difference can be told from chance."
        )
    elif smallest_p(n) > 0.05:
        said.append(
            f"{n} paired seeds cannot give a two-sided sign-flip p below {smallest_p(n):.3g}; "
            "six could give one below 0.05. Effects rest on their intervals."
        )
    return said


def _missing(study: Study) -> list[str]:
    said = []
    names = study.metric_names
    if told := judge_sentence(study):
        said.append(told)
    if not {"reward/gold", "eval/gold"} & names:
        said.append(
            "No gold score was recorded: collapse is known from the other monitors alone, and "
            "whether a rising reward-model score is real cannot be said."
        )
    wanted = (*PAPER_FOUR, "eval/held_out_perplexity", "eval/win")
    absent = [name for name in wanted if name not in names]
    if absent:
        labels = ", ".join(GLOSSARY[name].label for name in absent)
        said.append(f"Not recorded: {labels}.")
    if not study.prepared:
        said.append("The study's models (reward model, SFT start) were not described in MLflow.")
    if why := _unjudged(study):
        said.append(f"No monitor could be judged as a warning: {why}.")
    if choice := choice_sentence(study):
        said.append(choice)
    return said


def _unjudged(study: Study) -> str:
    """Say why no monitor could be judged; empty where some could."""
    traces = traces_of(study)
    return too_few(int(traces.fell.sum()), int(traces.held.sum()))


def _design(study: Study) -> list[str]:
    """Say what the study's design, or the search, leaves open."""
    kind = design_of(study).kind
    said = factorial.notes(study)
    if kind in factorial.KINDS and not len(tables_of(study).shapley_values):
        said.append(shapley.estimator(study).how)
    if kind == "search":
        said.append(importance.refusal(study))
    return [text for text in said if text]


def _disagreements(runs: pd.DataFrame) -> list[str]:
    odd = runs[~runs["agrees"].astype(bool)]
    if len(odd) <= MOST_NAMED:
        return disagreements(odd)
    names = some([f"{run.arm}/s{run.seed}" for run in odd.itertuples()])
    return [f"Tag and curves disagree on the collapse of {len(odd)} runs ({names}); runs.csv has both."]


def _pruned(study: Study) -> list[str]:
    if "stopped_at" not in study.runs:
        return []
    runs = study.runs[study.runs["stopped_at"].notna()]
    names = [f"{run.arm}/s{run.seed} after {run.stopped_at}" for run in runs.itertuples()]
    were = "runs that had collapsed were" if len(names) > 1 else "run that had collapsed was"
    return [
        f"{len(names)} {were} ended early ({some(names)} iterations): final values are those at the "
        "stop, comparisons of the end set them beside those of runs that went on, and curves beyond a "
        "stop are of the other runs alone."
    ]


def _still(study: Study) -> list[str]:
    """Name the arms whose policies stayed where SFT had left them."""
    said = []
    for arm in study.arms:
        steps, values = study.curves("policy/kl_to_sft", arm)
        finite = values[np.isfinite(values)]
        if len(steps) > 1 and finite.size and np.abs(finite).max() < STILL_NATS:
            said.append(f"{arm} hardly moved its policy: KL to SFT stayed below {STILL_NATS} nats.")
    return said


def _not_finite(study: Study) -> list[str]:
    values = study.metrics["value"].to_numpy(float)
    bad = study.metrics.loc[~np.isfinite(values), "metric"].value_counts()
    bad = bad[bad > 0]
    if not len(bad):
        return []
    names = ", ".join(f"{name} ({count})" for name, count in bad.items())
    return [f"Values that were not finite are left out of curves and means: {names}."]
