"""Which arms figures draw, and how each looks. Tables have all arms; figures have room for eight."""

from typing import Any

import numpy as np

from analysis.runs import Study, remembered
from workbench.glossary import GLOSSARY

MAX_ARMS = 8
"""Arms drawn in one figure."""

RANKED_BY = ("final/gold", "final/win_rate", "final/proxy")
"""Of these the first that was recorded says which arms are best and worst; higher is better in all."""

OKABE_ITO = (*("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"),)
"""Colours of arms, by place among those that figures draw; the colour-blind can tell them apart."""
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@remembered
def shown_arms(study: Study) -> tuple[str, ...]:
    """Choose the arms that figures draw, in the order of the study.

    All of them up to MAX_ARMS. Of more: the baseline, then in turn the best and the worst of the
    others by their mean over seeds of the first metric of RANKED_BY; arms without any come last.
    """
    if len(study.arms) <= MAX_ARMS:
        return study.arms
    others = [arm for arm in ranked(study) if arm != study.baseline]
    in_turn = [arm for pair in zip(others, reversed(others), strict=True) for arm in pair]
    wanted = dict.fromkeys([str(study.baseline), *in_turn, *study.arms])
    chosen = list(wanted)[:MAX_ARMS]
    return tuple(arm for arm in study.arms if arm in chosen)


def objective(study: Study) -> str:
    """Return the first metric of RANKED_BY that was recorded; the first of all where none was."""
    return next((name for name in RANKED_BY if name in study.metric_names), RANKED_BY[0])


def ranked(study: Study) -> list[str]:
    """Return the arms that have a value of `objective`, the best first by their mean over seeds."""
    metric, means = objective(study), {}
    for arm in study.arms:
        ends = [study.series(run_id, metric)[1][-1:] for run_id in study.runs_of(arm)["run_id"]]
        values = np.concatenate([*ends, np.empty(0)])
        if np.isfinite(values).any():
            means[arm] = values[np.isfinite(values)].mean()
    return sorted(means, key=lambda arm: -means[arm])


def choice_sentence(study: Study) -> str:
    """Say which arms figures show, and by what rule; empty where they show all."""
    if len(study.arms) <= MAX_ARMS:
        return ""
    rule = f"in turn the best and the worst by {GLOSSARY[objective(study)].label}"
    rule = rule if ranked(study) else "the first of the others"
    shown = ", ".join(shown_arms(study))
    return (
        f"All figures but the first show {MAX_ARMS} of {len(study.arms)} arms, the baseline and {rule}: "
        f"{shown}. The tables have all."
    )


def _place(study: Study, arm: str) -> int:
    """Return an arm's place among the looks: by the key "places" of its study, else in its order."""
    places: dict[str, int] = study.spec.get("places", {})
    return places.get(arm, shown_arms(study).index(arm)) % MAX_ARMS


def colour(study: Study, arm: str) -> str:
    """Return an arm's colour, from the palette of Okabe and Ito."""
    return OKABE_ITO[_place(study, arm)]


def dashes(study: Study, arm: str) -> Any:
    """Return an arm's line style, so that figures can be read in grey."""
    return _DASHES[_place(study, arm) % len(_DASHES)]


def marker(study: Study, arm: str) -> str:
    """Return an arm's marker."""
    return _MARKERS[_place(study, arm)]
