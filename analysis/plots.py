"""One function a figure. Each takes a study and a width, and says in the figure what is missing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import effects, stability
from analysis.curves import curve
from analysis.intervals import FloatArray, mean
from analysis.panels import (
    PAGE,
    arm_legend,
    colour,
    dashes,
    draw_curves,
    finite_rows,
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

COMPARED = (
    *("final/gold", "final/proxy", "final/kl_to_sft"),
    *("final/response_length", "final/perplexity", "final/held_out_perplexity"),
)


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
    """Draw every other monitor that was recorded."""
    drawn_elsewhere = {*MAIN, "eval/held_out_perplexity", "eval/gold", "eval/proxy"}
    rest = [name for name in GLOSSARY if name in study.metric_names - drawn_elsewhere]
    rest = [name for name in rest if not name.startswith(("final/", "reward/q"))]
    return _monitor_grid(study, rest, width)[0]


def _monitor_grid(study: Study, metrics: Sequence[str], width: float) -> tuple[Figure, list[Axes]]:
    figure, axes = grid(max(1, len(metrics)), width)
    if not metrics:
        gap(axes[0], "no other monitor was recorded")
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
def collapse_times(study: Study, width: float = PAGE) -> Figure:
    """Draw when each run collapsed, and the share of each arm's runs that had not, over time."""
    rows = sum(len(study.runs_of(arm)) for arm in shown_arms(study))
    figure, axes = grid(2, width, height=float(np.clip(0.14 * rows + 0.9, 2.0, 5.0)), most=2)
    _timeline(axes[0], study)
    _survival(axes[1], study)
    arm_legend(figure, study, _OUTCOME_HANDLES)
    return figure


_OUTCOMES = {"collapsed": "X", "ok": "|", "running": ">", "failed": "s"}
_OUTCOME_HANDLES = [
    Line2D([], [], ls="", color="#444444", marker=mark, label=name)
    for name, mark in {"collapsed": "X", "held to the end": "|", "still running": ">"}.items()
]


def _timeline(panel: Axes, study: Study) -> None:
    panel.set(title="each run", xlabel="PPO iteration")
    table = finite_rows(stability.stability_table(study), "last_iteration")
    table = table[table["arm"].isin(shown_arms(study))]
    if not len(table):
        gap(panel, "no run has recorded an iteration yet")
        return
    middle = {}
    for arm in shown_arms(study):
        rows = np.flatnonzero((table["arm"] == arm).to_numpy())
        middle[arm] = rows.mean() if len(rows) else np.nan
        for y in rows:
            _draw_run(panel, table.iloc[y], float(y), colour(study, arm))
    there = {arm: y for arm, y in middle.items() if np.isfinite(y)}
    panel.set_yticks(list(there.values()), list(there))
    panel.tick_params(axis="y", length=0)
    panel.set(xlim=(0, None), ylim=(len(table) - 0.4, -0.6))
    panel.grid(False)


def _draw_run(panel: Axes, run: "pd.Series[Any]", y: float, tint: str) -> None:
    end, collapse = float(run["last_iteration"]), float(run["collapse_iteration"])
    until = collapse if np.isfinite(collapse) else end
    panel.plot([0, until], [y, y], color=tint, lw=1.6)
    panel.plot([until, end], [y, y], color=tint, lw=0.6, alpha=0.6)
    panel.plot([until], [y], _OUTCOMES[run["outcome"]], color=tint, ms=5.5, clip_on=False)


def _survival(panel: Axes, study: Study) -> None:
    panel.set(title="share of runs not collapsed", xlabel="PPO iteration", ylim=(-0.03, 1.05))
    table = stability.survival(study)
    if not len(table):
        gap(panel, "no run has recorded an iteration yet")
        return
    for arm in shown_arms(study):
        one = table[table["arm"] == arm]
        tint, at = colour(study, arm), one["iteration"]
        panel.step(at, one["survival"], where="post", color=tint, ls=dashes(study, arm))
        panel.fill_between(at, one["low"], one["high"], step="post", color=tint, alpha=0.12, lw=0)


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
    _intervals(axes[1], study, table, "perplexity")
    arm_legend(figure, study)
    return figure


def _intervals(panel: Axes, study: Study, table: pd.DataFrame, unit: str) -> None:
    """Draw a difference with its interval for each arm, one below the other."""
    table = finite_rows(table[table["arm"].isin(shown_arms(study))], "difference")
    if not len(table):
        gap(panel, "no finished run to compare")
        return
    for y, (_, row) in enumerate(table.iterrows()):
        tint = colour(study, row["arm"])
        panel.plot([row["low"], row["high"]], [y, y], color=tint, lw=2)
        panel.plot([row["difference"]], [y], marker(study, row["arm"]), color=tint, ms=5)
    panel.axvline(0, color="#777777", lw=0.8)
    panel.set_yticks(range(len(table)), table["arm"].tolist())
    panel.set(xlabel=unit, ylim=(len(table) - 0.4, -0.6))
    panel.tick_params(axis="y", length=0)
    panel.grid(False)


@styled
def differences(study: Study, width: float = PAGE) -> Figure:
    """Draw each arm's paired difference from the baseline, a panel a metric."""
    table = effects.effects(study)
    table = table[table["against"] != effects.START]
    arms = max(1, len(shown_arms(study)) - 1)
    figure, axes = grid(len(COMPARED), width, height=0.85 + 0.2 * arms, top=0.0)
    for panel, metric in zip(axes, COMPARED, strict=True):
        known = GLOSSARY[metric]
        panel.set_title(known.label)
        _intervals(panel, study, table[table["metric"] == metric], known.unit.replace("1", ""))
    return figure


@styled
def warning_times(study: Study, width: float = PAGE) -> Figure:
    """Draw how many iterations before the fall each monitor warned, a dot a run."""
    found = stability.warnings(study)
    ranking = stability.warning_ranking(found)
    rule = stability.HELD_RANGE if (found["rule"] == stability.HELD_RANGE).any() else None
    rule = rule or stability.OWN_BAND
    ranking, found = ranking[ranking["rule"] == rule], found[found["rule"] == rule]
    figure, (panel,) = grid(1, width, height=0.9 + 0.24 * max(4, len(ranking)))
    if not len(ranking) or not ranking["falls"].max():
        gap(panel, "no run fell, so no monitor had a fall to announce")
        return figure
    for y, (_, row) in enumerate(ranking.iterrows()):
        own = finite_rows(found[found["monitor"] == row["monitor"]], "lead")
        _draw_leads(panel, study, own, y)
        panel.plot([float(row["lead_median"])] * 2, [y - 0.32, y + 0.32], color="#222222", lw=1.6)
        _beside(panel, f"{row['announced']} of {row['falls']}", y)
    _beside(panel, "warned", -0.75)
    panel.axvline(0, color="#777777", lw=0.8)
    panel.set_yticks(range(len(ranking)), [GLOSSARY[name].label for name in ranking["monitor"]])
    panel.set(xlabel="iterations from warning to fall", ylim=(len(ranking) - 0.4, -0.6))
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    arm_legend(figure, study, [Line2D([], [], color="#222222", lw=1.6, label="median")])
    return figure


def _draw_leads(panel: Axes, study: Study, found: pd.DataFrame, y: int) -> None:
    for arm in shown_arms(study):
        lead = found.loc[found["arm"] == arm, "lead"].to_numpy(float)
        spread = y + 0.11 * (np.arange(len(lead)) % 3 - 1)
        panel.plot(lead, spread, marker(study, arm), color=colour(study, arm), alpha=0.75)


def _beside(panel: Axes, text: str, y: float) -> None:
    panel.annotate(
        *(text, (1.01, y)),
        xycoords=panel.get_yaxis_transform(),
        va="center",
        color="#444444",
        annotation_clip=False,
    )


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
    )
}
"""Every figure by name, in the order of the report."""
