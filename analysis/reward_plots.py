"""Figures of rewards: proxy and gold, the reward's distribution over time, the reward model, wins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from analysis.curves import curve
from analysis.intervals import FloatArray
from analysis.outcomes import SHARES
from analysis.panels import PAGE, gap, grid, reference_line, styled
from analysis.runs import Study
from analysis.selection import colour, shown_arms
from analysis.tables import tables_of

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
"""Quantiles of the score that are recorded of every iteration."""

RIDGES = 9
"""Iterations at which the distribution is drawn, evenly from the first to the last."""

_GOLD_DASHES: Any = (0, (4, 1.5))
_WON = {"win": ("#0072B2", ""), "tie": ("#DDDDDD", ""), "loss": ("#E69F00", "////")}


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
def reward_distribution(study: Study, width: float = PAGE) -> Figure:
    """Draw the distribution of reward-model scores over time: a ridge an iteration, a panel an arm."""
    arms = shown_arms(study)
    figure, axes = grid(max(1, len(arms)), width, height=2.6, top=0.0)
    for panel, arm in zip(axes, arms, strict=False):
        panel.set(title=arm, xlabel="reward-model score", ylabel="PPO iteration")
        found = quantile_table(study, arm)
        if not len(found):
            gap(panel, "quantiles of the score were not recorded")
            continue
        _draw_ridges(panel, found, colour(study, arm))
    _share(axes)
    return figure


def quantile_table(study: Study, arm: str) -> pd.DataFrame:
    """Return the five quantiles as columns, interquartile means over seeds, by iteration."""
    curves = {name: curve(study, f"reward/{name}", arm) for name in QUANTILES}
    columns = {name: pd.Series(one.centre, one.steps) for name, one in curves.items()}
    return pd.DataFrame(columns).dropna()


def _draw_ridges(panel: Axes, found: pd.DataFrame, tint: str) -> None:
    """Draw the last iteration at the back, the first in front; median and middle half are marked."""
    places = np.unique(np.linspace(0, len(found) - 1, RIDGES).round().astype(int))
    chosen = found.iloc[places]
    ridges = [density(row.to_numpy(float)) for _, row in chosen.iterrows()]
    tallest = max(float(height.max()) for _, height in ridges)
    for base, ((score, height), (_, row)) in reversed(
        list(enumerate(zip(ridges, chosen.iterrows(), strict=True)))
    ):
        top = base + 1.7 * height / tallest
        order = 3 * (len(ridges) - base)
        panel.fill_between(score, base, top, color=tint, alpha=0.55, lw=0, zorder=order)
        panel.plot(score, top, color="white", lw=1.6, zorder=order + 1)
        panel.plot(score, top, color=tint, lw=0.9, zorder=order + 1)
        panel.plot([row["q25"], row["q75"]], [base, base], color="#222222", lw=0.9, zorder=order + 2)
        panel.plot([row["q50"]], [base], "|", color="#222222", ms=6, mew=1.3, zorder=order + 2)
    panel.set_yticks(range(len(chosen)), [f"{step}" for step in chosen.index])
    panel.set_ylim(-0.3, len(chosen) + 0.9)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    panel.grid(False, axis="y")


def density(quantiles: FloatArray, points: int = 80) -> tuple[FloatArray, FloatArray]:
    """Give a smooth density of a distribution of which five quantiles are known.

    The score is a straight line of the normal deviate between the quantiles and, as steep, beyond the
    outer ones; the density is that, smoothed by a normal kernel of a quarter of the middle half's width.

    Args:
        quantiles: [5], ascending, at the probabilities of QUANTILES.
        points: of the curve.
    Returns:
        score and density, [points] each.
    """
    known = norm.ppf(list(QUANTILES.values()))
    z = np.linspace(-2.2, 2.2, 200)
    slope = np.diff(quantiles) / np.diff(known)
    ends = np.where(z < 0, slope[0], slope[-1]) * (z - np.clip(z, known[0], known[-1]))
    score = np.interp(z, known, quantiles) + ends
    width = max(0.25 * (quantiles[3] - quantiles[1]), 1e-3 * float(np.ptp(quantiles)), 1e-6)
    at = np.linspace(score[0] - 2 * width, score[-1] + 2 * width, points)
    kernel = norm.pdf((at[:, None] - score) / width) / width
    return at, kernel @ (norm.pdf(z) / norm.pdf(z).sum())


def _share(axes: Sequence[Axes]) -> None:
    """Give all panels that show something the same x axis."""
    limits = [panel.get_xlim() for panel in axes if panel.lines]
    for panel in axes if limits else ():
        panel.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


@styled
def wins(study: Study, width: float = PAGE) -> Figure:
    """Draw the held-out prompts that each arm won, tied and lost against the SFT policy at the end."""
    table = tables_of(study).outcomes
    table = table[table["arm"].isin(shown_arms(study))]
    figure, (panel,) = grid(1, width, height=0.75 + 0.32 * max(2, len(table)))
    if not len(table):
        gap(panel, "wins, ties and losses were not recorded, or no run has finished")
        return figure
    for y, (_, row) in enumerate(table.iterrows()):
        _draw_shares(panel, row, y)
    panel.axvline(0.5, color="#222222", lw=0.8, ls=(0, (2, 2)))
    panel.set_yticks(range(len(table)), table["arm"].tolist())
    ticks = [0, 0.25, 0.5, 0.75, 1]
    panel.set_xticks(ticks, [f"{tick:.0%}".replace("%", " %") for tick in ticks])
    panel.set(xlabel="share of held-out prompts", xlim=(0, 1), ylim=(len(table) - 0.4, -0.6))
    panel.tick_params(axis="y", length=0)
    panel.grid(False)
    handles: list[Any] = [
        Patch(fc=tint, hatch=hatch, ec="white", lw=0, label=name) for name, (tint, hatch) in _WON.items()
    ]
    handles.append(Line2D([], [], color="#222222", marker="|", label="win rate, a tie ½"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4 if width > 5 else 2)
    return figure


def _draw_shares(panel: Axes, row: "pd.Series[Any]", y: int) -> None:
    left = 0.0
    for name in SHARES:
        tint, hatch = _WON[name]
        panel.barh(y, row[name], left=left, height=0.66, color=tint, hatch=hatch, ec="white", lw=0)
        if row[name] > 0.09:
            place = (left + row[name] / 2, y - 0.02)
            text = f"{row[name]:.0%}".replace("%", " %")
            box = {"fc": tint, "ec": "none", "pad": 1.2}
            is_dark = name == "win"
            panel.text(
                *place, text, ha="center", va="center", color="white" if is_dark else "#222222", bbox=box
            )
        left += row[name]
    panel.plot([row["low"], row["high"]], [y + 0.24] * 2, color="#222222", lw=1.2)
    panel.plot([row["win_rate"]], [y + 0.24], "|", color="#222222", ms=6, mew=1.3)


@styled
def reward_model(study: Study, width: float = PAGE) -> Figure:
    """Draw the reward model: its margins on held-out pairs, and how its accuracy (or loss) went."""
    figure, axes = grid(2, width, height=2.2, most=2, top=0.0)
    tables = tables_of(study)
    _draw_margins(axes[0], tables.reward_model_margins, tables.reward_model_accuracy)
    looks = tables.reward_model_accuracy.dropna(subset=["step"])
    if len(looks) > 1:
        _draw_accuracy(axes[1], looks)
    else:
        _draw_loss(axes[1], tables.reward_model_loss)
    return figure


def _draw_margins(panel: Axes, margins: pd.DataFrame, accuracy: pd.DataFrame) -> None:
    panel.set(
        title="margins on held-out pairs", xlabel="score(chosen) − score(rejected)", ylabel="pairs"
    )
    if not len(margins):
        gap(panel, "the margins of the reward model were not recorded")
        return
    low, high = margins["low"].to_numpy(float), margins["high"].to_numpy(float)
    tints = np.where(low + high > 0, "#0072B2", "#C4C4C4")
    panel.bar(low, margins["pairs"], high - low, align="edge", color=tints, ec="white", lw=0.3)
    panel.axvline(0, color="#222222", lw=0.8)
    if len(accuracy):
        text = f"accuracy\n{accuracy['accuracy'].iloc[-1]:.1%}".replace("%", " %")
        panel.text(0.98, 0.95, text, transform=panel.transAxes, ha="right", va="top")


def _draw_accuracy(panel: Axes, looks: pd.DataFrame) -> None:
    panel.set(title="accuracy while it was trained", xlabel="optimiser step", ylabel="accuracy")
    panel.fill_between(looks["step"], looks["low"], looks["high"], color="#0072B2", alpha=0.16, lw=0)
    panel.plot(looks["step"], looks["accuracy"], "o-", color="#0072B2", ms=3)
    reference_line(panel, 0.5, "chance")


def _draw_loss(panel: Axes, losses: pd.DataFrame) -> None:
    panel.set(title="loss while it was trained", xlabel="optimiser step", ylabel="loss")
    if not len(losses):
        gap(panel, "the reward model's training was not recorded")
        return
    panel.plot(losses["step"], losses["loss"], color="#0072B2")
