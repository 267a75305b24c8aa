"""Figure of the reward's distribution over time: a ridge an iteration, a panel an arm."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from analysis.curves import curve
from analysis.figures.panels import PAGE, gap, grid, styled
from analysis.intervals import FloatArray
from analysis.runs import Study
from analysis.selection import colour, shown_arms

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
"""Quantiles of the score that are recorded of every iteration."""

RIDGES = 9
"""Iterations at which the distribution is drawn, evenly from the first to the last."""


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
