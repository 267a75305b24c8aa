"""One function a figure. Each takes a study and a width, and says in the figure what is missing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import effects
from analysis.curves import curve
from analysis.intervals import FloatArray, mean
from analysis.outcome_plots import collapse_times, differences, draw_intervals, warning_times
from analysis.panels import (
    PAGE,
    arm_legend,
    colour,
    dashes,
    draw_curves,
    gap,
    grid,
    label,
    label_foot,
    marker,
    reference_line,
    shown_arms,
    styled,
)
from analysis.runs import Study
from workbench.glossary import GLOSSARY, PAPER_FOUR

MAIN = (*PAPER_FOUR, "reward/gold", "eval/win_rate")
"""The paper's four monitors, then how good the responses truly are."""

_GOLD_DASHES: Any = (0, (4, 1.5))


@styled
def monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw the paper's four monitors with gold score and win rate over the iterations."""
    figure, axes = _monitor_grid(study, MAIN, width)
    start = study.prepared.get("start", {})
    for panel, metric in zip(axes, MAIN, strict=True):
        if metric in study.metric_names:
            key = metric.split("/")[1]
            level = 0.5 if metric == "eval/win_rate" else start.get(key)
            reference_line(panel, level, "SFT")
    return figure


@styled
def other_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw every other monitor of the responses that was recorded."""
    return _monitor_grid(study, _rest(study, "reward/", "policy/", "eval/"), width)[0]


@styled
def update_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw what was recorded of the PPO update."""
    return _monitor_grid(study, _rest(study, "ppo/"), width)[0]


@styled
def cost_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw time, tokens and numerical trouble."""
    return _monitor_grid(study, _rest(study, "time/", "stability/"), width)[0]


def _rest(study: Study, *sections: str) -> list[str]:
    """Return the recorded metrics of these sections that no other figure draws."""
    elsewhere = {*MAIN, "eval/held_out_perplexity", "eval/gold", "eval/proxy"}
    names = [name for name in GLOSSARY if name in study.metric_names - elsewhere]
    return [name for name in names if name.startswith(sections) and "reward/q" not in name]


def _monitor_grid(study: Study, metrics: Sequence[str], width: float) -> tuple[Figure, list[Axes]]:
    figure, axes = grid(max(1, len(metrics)), width)
    if not metrics:
        gap(axes[0], "nothing of this was recorded")
    for panel, metric in zip(axes, metrics, strict=False):
        draw_curves(panel, study, metric)
    label_foot(axes)
    arm_legend(figure, study)
    return figure, axes


@styled
def proxy_and_gold(study: Study, width: float = PAGE) -> Figure:
    """Draw proxy and gold of each arm in one panel, as changes from the SFT start in its deviations."""
    arms = shown_arms(study)
    figure, axes = grid(max(1, len(arms)), width, height=2.1)
    unit = "standard deviations" if _deviation(study, "gold") else "own units"
    for panel, arm in zip(axes, arms, strict=False):
        for name, line in (("proxy", "-"), ("gold", _GOLD_DASHES)):
            _change_from_start(panel, study, arm, name, line)
        panel.axhline(0, color="#777777", lw=0.8)
        panel.set(title=arm, xlabel="PPO iteration", ylabel=f"change from SFT start\n({unit})")
        if not any(f"eval/{name}" in study.metric_names for name in ("proxy", "gold")):
            gap(panel, "neither proxy nor gold was recorded")
        elif "eval/gold" not in study.metric_names:
            panel.set_title(f"{arm} (no gold judge)")
    _share_y(axes)
    handles = [
        Line2D([], [], color="#444444", label="reward model (proxy)"),
        Line2D([], [], color="#444444", ls=_GOLD_DASHES, label="gold judge"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _deviation(study: Study, name: str) -> float | None:
    value = study.prepared.get("start", {}).get(f"{name}_std")
    return float(value) if value else None


def _change_from_start(panel: Axes, study: Study, arm: str, name: str, line: Any) -> None:
    found = curve(study, f"eval/{name}", arm)
    if not len(found.steps):
        return
    given = study.prepared.get("start", {}).get(name)
    start = float(found.centre[0]) if given is None else float(given)
    both = _deviation(study, "gold") and _deviation(study, "proxy")
    unit = (_deviation(study, name) or 1.0) if both or name == "proxy" else 1.0
    tint = colour(study, arm)
    panel.plot(found.steps, (found.centre - start) / unit, color=tint, linestyle=line)
    low, high = (found.low - start) / unit, (found.high - start) / unit
    panel.fill_between(found.steps, low, high, color=tint, alpha=0.16, lw=0)


def _share_y(axes: Sequence[Axes]) -> None:
    limits = [panel.get_ylim() for panel in axes if panel.lines]
    for panel in axes if limits else ():
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


@styled
def reward_against_kl(study: Study, width: float = PAGE) -> Figure:
    """Draw gold and proxy of the evaluations against √KL, in the order of training."""
    figure, axes = grid(2, width, height=2.5, most=2)
    for panel, metric in zip(axes, ("eval/gold", "eval/proxy"), strict=True):
        label(panel, metric, x="√KL to the SFT policy (√nats per response)")
        drawn = [_against_kl(panel, study, metric, arm) for arm in shown_arms(study)]
        if not any(drawn):
            gap(panel, f"{GLOSSARY[metric].label} or KL was not recorded")
    arm_legend(figure, study)
    return figure


def _against_kl(panel: Axes, study: Study, metric: str, arm: str) -> bool:
    root_kl, value = root_kl_path(study, metric, arm)
    if not len(value):
        return False
    tint = colour(study, arm)
    mark = marker(study, arm)
    panel.plot(root_kl, value, linestyle=dashes(study, arm), color=tint, lw=1.0)
    panel.plot(root_kl[:-1], value[:-1], mark, color=tint, markersize=3)
    panel.plot(root_kl[-1:], value[-1:], mark, color=tint, markersize=7, mec="white")
    return True


def root_kl_path(study: Study, metric: str, arm: str) -> tuple[FloatArray, FloatArray]:
    """Return √KL and an evaluation metric, [T] each, as means over seeds at each evaluation.

    The last evaluation follows the last rollout and is paired with that rollout's KL.
    """
    at, value = study.curves(metric, arm)
    steps, kl = study.curves("policy/kl_to_sft", arm)
    if not len(at) or not len(steps):
        return np.empty(0), np.empty(0)
    place = np.clip(np.searchsorted(steps, at, side="right") - 1, 0, None)
    x, y = np.sqrt(np.maximum(mean(kl)[place], 0.0)), mean(value)
    there = np.isfinite(x) & np.isfinite(y)
    return x[there], y[there]


@styled
def reward_distribution(study: Study, width: float = PAGE) -> Figure:
    """Draw the spread of reward-model scores over the iterations, a fan of quantiles per arm."""
    arms = shown_arms(study)
    figure, axes = grid(max(1, len(arms)), width, height=2.1, top=0.0)
    for panel, arm in zip(axes, arms, strict=False):
        panel.set(title=arm, xlabel="PPO iteration", ylabel="reward-model score")
        fan = _quantiles(study, arm)
        if not len(fan):
            gap(panel, "quantiles of the score were not recorded")
            continue
        tint, steps = colour(study, arm), fan.index
        for low, high, alpha in (("q05", "q95", 0.18), ("q25", "q75", 0.35)):
            panel.fill_between(steps, fan[low], fan[high], color=tint, alpha=alpha, lw=0)
        panel.plot(steps, fan["q50"], color=tint)
    _share_y(axes)
    return figure


def _quantiles(study: Study, arm: str) -> pd.DataFrame:
    """Return the five quantiles as columns, at those steps (the index) that have all of them."""
    names = ("q05", "q25", "q50", "q75", "q95")
    curves = {name: curve(study, f"reward/{name}", arm) for name in names}
    columns = {name: pd.Series(one.centre, one.steps) for name, one in curves.items()}
    return pd.DataFrame(columns).dropna()


@styled
def held_out_perplexity(study: Study, width: float = PAGE) -> Figure:
    """Draw the alignment tax: perplexity on held-out language over time, and its change by arm."""
    metric, final = "eval/held_out_perplexity", "final/held_out_perplexity"
    figure, axes = grid(2, width, height=2.2, most=2)
    draw_curves(axes[0], study, metric)
    axes[0].set_xlabel("PPO iteration")
    if metric in study.metric_names:
        level = study.prepared.get("start", {}).get("held_out_perplexity")
        reference_line(axes[0], level, "SFT")
    table = effects.effects(study)
    table = table[(table["against"] == effects.START) & (table["metric"] == final)]
    axes[1].set(title="change from the SFT start, at the end")
    draw_intervals(axes[1], study, table, "perplexity")
    arm_legend(figure, study)
    return figure


@styled
def reward_model(study: Study, width: float = PAGE) -> Figure:
    """Draw the reward model: histogram of held-out margins with its accuracy; accuracy in training."""
    figure, axes = grid(2, width, height=2.2, most=2, top=0.0)
    model = study.prepared.get("reward_model", {})
    histogram, axis = model.get("margin_histogram") or {}, axes[0]
    axis.set(title="margins on held-out pairs", xlabel="score(chosen) − score(rejected)")
    edges, counts = np.array(histogram.get("edges", [])), np.array(histogram.get("counts", []))
    if len(counts) and len(edges) == len(counts) + 1:
        tints = np.where(edges[:-1] + edges[1:] > 0, "#0072B2", "#BBBBBB")
        axis.bar(edges[:-1], counts, np.diff(edges), align="edge", color=tints, ec="white", lw=0.3)
        axis.set_ylabel("pairs")
        if model.get("accuracy") is not None:
            text = f"accuracy\n{model['accuracy']:.1%}".replace("%", " %")
            axis.text(0.98, 0.95, text, transform=axis.transAxes, ha="right", va="top")
    else:
        gap(axis, "the margins of the reward model were not recorded")
    _training_curve(axes[1], model.get("curve") or [])
    return figure


def _training_curve(panel: Axes, curve_points: Sequence[dict[str, float]]) -> None:
    """Draw the accuracy while the reward model was trained; its loss where that is all there is."""
    name = "accuracy" if any("accuracy" in one for one in curve_points) else "loss"
    points = [(one["step"], one[name]) for one in curve_points if one.get(name) is not None]
    panel.set(title=f"{name} while it was trained", xlabel="optimiser step", ylabel=name)
    if not points:
        gap(panel, "the reward model's training curve was not recorded")
        return
    panel.plot(*zip(*points, strict=True), color="#0072B2")
    if name == "accuracy":
        panel.axhline(0.5, color="#777777", lw=0.8, ls=(0, (2, 2)))


FIGURES: dict[str, Callable[..., Figure]] = {
    one.__name__: one
    for one in (
        monitors,
        proxy_and_gold,
        collapse_times,
        warning_times,
        differences,
        reward_against_kl,
        reward_distribution,
        held_out_perplexity,
        reward_model,
        other_monitors,
        update_monitors,
        cost_monitors,
    )
}
"""Every figure by name, in the order of the report."""
