"""The paper's studies made in memory: their own arms, made-up curves in which vanilla PPO collapses."""

import json
from dataclasses import replace

import numpy as np

from ablations.paper.studies import paper_studies
from analysis.evidence import Arms
from analysis.intervals import FloatArray
from analysis.outcomes import SHARES
from analysis.paper import curves
from analysis.paper.results import study_name
from tests.analysis.made_study import made_study

STUDIES = {study.name: study for study in paper_studies()}
SEEDS, STEPS = 4, 45
FALL = 30
"""The iteration at which the gold of arms called vanilla falls below its start."""
METRICS = (
    *{*curves.COLLAPSE, *curves.STARTS, *curves.EVERYTHING, *curves.WITH_VALUES},
    *(f"reward/q{quantile}" for quantile in ("05", "25", "50", "75", "95")),
    *(f"eval/{kind}_{share}" for kind in ("helpful", "harmless") for share in SHARES),
    *("eval/gold", "eval/proxy", "reward/proxy_std", "policy/entropy"),
)
REWARD_MODEL = {
    **{"accuracy": 0.7, "margin_mean": 1.0, "margin_std": 2.0, "steps_per_epoch": 100},
    "accuracy_curve": [{"step": 50 * i, "accuracy": 0.5 + 0.05 * i} for i in range(5)],
}
PREPARED = {
    "start": {"proxy": 0.0, "proxy_std": 1.0, "gold": 1.0, "held_out_perplexity": 3.0},
    "reward_model": {"margin_histogram": {"edges": [-1.0, 0.0, 1.0, 2.0], "counts": [1, 3, 2]}},
}


def open_made(number: str) -> Arms:
    """Make a study of the paper by its number."""
    name = study_name(number)
    arms = list(STUDIES[name].arms)
    curves = {metric: {arm: _curve(metric, arm) for arm in arms} for metric in METRICS}
    params = {arm: {"reward_model": json.dumps(REWARD_MODEL)} for arm in arms}
    finals = {"final/gold": np.ones((SEEDS, len(arms)))}
    made = made_study(finals, arms, curves=curves, params=params, name=name)
    runs = made.runs.assign(start_ms=0, end_ms=1000, collapse_reason="")
    return Arms(replace(made, runs=runs, prepared=PREPARED))


def _curve(metric: str, arm: str) -> FloatArray:
    """Return [SEEDS, STEPS]: a rise of 1 with some noise; quantiles in order; gold that may fall."""
    noise = 0.02 * np.random.default_rng(len(metric)).normal(size=(SEEDS, STEPS))
    rise = np.linspace(0.5, 1.5, STEPS)
    level = int(metric[-2:]) / 20 if metric.startswith("reward/q") else 0.0
    falls = metric in ("reward/gold", "eval/gold") and arm.startswith("vanilla")
    return rise + level + noise - (5.0 * (np.arange(STEPS) >= FALL) if falls else 0.0)
