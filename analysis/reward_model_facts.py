"""What each run's tag says of the reward model that it trained on."""

import json
from typing import Any

import numpy as np

from analysis.runs import Study


def facts(study: Study, run_id: str) -> dict[str, Any]:
    """Return the facts; empty for a run from before there was such a tag."""
    run = study.runs.set_index("run_id").loc[run_id]
    text = run.get("reward_model", "{}")
    return dict(json.loads(text)) if isinstance(text, str) else {}


def accuracy(study: Study, run_id: str) -> float:
    """Return the accuracy on all held-out pairs."""
    return float(facts(study, run_id).get("accuracy", np.nan))


def margin_spread(study: Study, run_id: str) -> float:
    """Return the standard deviation of r(chosen) − r(rejected) over held-out pairs."""
    return float(facts(study, run_id).get("margin_std", np.nan))


def early_share(study: Study, run_id: str, by: float = 0.2) -> float:
    """Return the share of the whole rise in accuracy that a fifth of the first epoch brings, or `by`.

    Accuracy at that step is interpolated between the steps at which it was measured; the rise ends at
    the last of these.
    """
    known = facts(study, run_id)
    curve, epoch = known.get("accuracy_curve", []), known.get("steps_per_epoch")
    if len(curve) < 3 or not epoch:
        return float("nan")
    steps, values = np.array([[point["step"], point["accuracy"]] for point in curve]).T
    early = float(np.interp(by * epoch, steps, values))
    rise = values[-1] - values[0]
    return (early - float(values[0])) / float(rise) if rise > 0 else float("nan")
