"""What is kept of how a stage went: losses, and what its reward model tells apart."""

from typing import Any

import numpy as np

from workbench.glossary import last_tenth
from workbench.stages.reward_model import LOOKED_AT, RewardModelQuality, RewardModelTraining
from workbench.tasks.base import Preferences

HISTOGRAM_BINS = 41


def loss_facts(losses: list[float]) -> dict[str, Any]:
    """Keep the mean loss of the last tenth, and about 100 points of the curve."""
    if not losses:
        return {"loss": None, "curve": []}
    every = max(1, len(losses) // 100)
    curve = [
        {"step": step, "loss": float(np.mean(losses[step : step + every]))}
        for step in range(0, len(losses), every)
    ]
    return {"loss": float(np.mean(losses[last_tenth(len(losses))])), "curve": curve}


def quality_facts(
    quality: RewardModelQuality, training: RewardModelTraining, preferences: Preferences
) -> dict[str, Any]:
    """Keep accuracy, margins and their histogram on the held-out pairs, and how accuracy rose."""
    counts, edges = np.histogram(quality.margins, bins=HISTOGRAM_BINS)
    watched = [{"step": step, "accuracy": accuracy} for step, accuracy in training.accuracies]
    return {
        "accuracy": quality.accuracy,
        "pairs": len(preferences.train),
        "held_out_pairs": len(preferences.held_out),
        "margin_mean": float(np.mean(quality.margins)),
        "margin_std": float(np.std(quality.margins, ddof=1)) if len(quality.margins) > 1 else 0.0,
        "margin_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "steps": len(training.losses),
        "accuracy_curve": watched,
        "accuracy_curve_pairs": min(LOOKED_AT, len(preferences.held_out)),
    }
