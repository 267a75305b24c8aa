"""What is known of the reward model, and of a judge that is one: margins, accuracy, its training."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs import Study

LITTLE = 0.6
"""A judge whose accuracy may be below this is called little better than chance."""


def margin_table(study: Study) -> pd.DataFrame:
    """Tabulate the margins score(chosen) − score(rejected): low and high ends of a bin, pairs in it."""
    histogram = _model(study).get("margin_histogram") or {}
    edges, pairs = np.array(histogram.get("edges", [])), np.array(histogram.get("counts", []))
    if len(edges) != len(pairs) + 1:
        edges, pairs = np.empty(1), np.empty(0)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "pairs": pairs})


def accuracy_table(study: Study) -> pd.DataFrame:
    """Tabulate the accuracy on held-out pairs over the reward model's training.

    Returns:
        step (optimiser steps done; NaN for a finished model of which no training was recorded),
        accuracy, low, high (95 % interval of a share, Wilson), pairs it was measured on. The last row
        is the finished model.
    """
    model = _model(study)
    pairs = model.get("accuracy_curve_pairs")
    looks = [(one["step"], one["accuracy"], pairs) for one in model.get("accuracy_curve") or []]
    if model.get("accuracy") is not None:
        looks.append((model.get("steps"), model["accuracy"], model.get("held_out_pairs")))
    rows = [(step, accuracy, *_ends(accuracy, pairs), pairs) for step, accuracy, pairs in looks]
    table = pd.DataFrame(rows, columns=["step", "accuracy", "low", "high", "pairs"])
    return table.astype({"step": float, "pairs": float})


def loss_table(study: Study) -> pd.DataFrame:
    """Tabulate the loss over the reward model's training: step, loss (mean of the steps from there)."""
    points = [(one["step"], one["loss"]) for one in _model(study).get("curve") or []]
    return pd.DataFrame(points, columns=["step", "loss"]).astype(float)


def judge_sentence(study: Study) -> str:
    """Say how well a learnt judge agrees with people; empty where none was learnt."""
    judge = study.prepared.get("judge")
    if not judge:
        return ""
    accuracy, pairs = judge["accuracy"], judge["held_out_pairs"]
    low, high = _ends(accuracy, pairs)
    worth = "which chance alone explains" if low <= 0.5 else "little better than chance"
    weak = f", {worth}" if low < LITTLE else ""
    return (
        f"Gold is the score of a judge that was learnt itself, from {judge['pairs']} pairs that nothing "
        f"else was trained on. On {pairs} pairs that it has not seen it agrees with people in "
        f"{accuracy:.1%} [{low:.1%}, {high:.1%}]{weak}: no difference in gold says more than that."
    )


def _ends(share: float, pairs: int | None) -> tuple[float, float]:
    if not pairs:
        return np.nan, np.nan
    found = stats.binomtest(round(share * pairs), pairs).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _model(study: Study) -> dict[str, Any]:
    found: dict[str, Any] = study.prepared.get("reward_model", {})
    return found
