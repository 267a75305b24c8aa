"""Figures of what was paid for reward: gold and proxy against KL, and all ends of an arm at once."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.curve_panels import label, set_scale
from analysis.figures.panels import PAGE, arm_legend, gap, grid, mark_legend, name_rows, styled
from analysis.intervals import FloatArray, mean
from analysis.overoptimisation import PEAKS, SOURCES
from analysis.runs import Study
from analysis.selection import colour, dashes, marker, shown_arms
from analysis.tables import tables_of
from analysis.wording import number
from workbench.glossary import GLOSSARY

_DOTS: Any = (0, (1, 1))

ENDS = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    *("final/response_length", "final/perplexity", "final/held_out_perplexity"),
)
"""Axes of the parallel coordinates, as far as they were recorded."""

MOST_PARAMETERS = 4
"""Numeric hyper-parameters that get an axis of their own: those with the most different values."""


MOST_MARKS = 40
"""Evaluations of an arm that are drawn against KL, evenly chosen of more."""

MOST_RUNS = 200
"""Runs that the parallel coordinates draw, evenly chosen of more."""


@styled
def reward_against_kl(study: Study, width: float = PAGE) -> Figure:
    """Draw gold and proxy of the evaluations against √KL, in the order of training, with Gao's fit."""
    fits = tables_of(study).overoptimisation
    fits = fits[fits["arm"].isin(shown_arms(study))]
    figure, axes = grid(2, width, height=2.6, most=2)
    for panel, (source, metric) in zip(axes, SOURCES.items(), strict=True):
        label(panel, metric, x="√KL to SFT (√nats per response)")
        drawn = [_draw_path(panel, study, metric, arm) for arm in shown_arms(study)]
        if not any(drawn):
            gap(panel, f"{GLOSSARY[metric].label} or KL was not recorded")
            continue
        for _, row in fits[fits["source"] == source].iterrows():
            _draw_fit(panel, study, metric, row)
    extra = [Line2D([], [], color="#444444", lw=0.9, label="fit")]
    extra.append(Line2D([], [], ls="", marker="o", mfc="none", mec="#222222", ms=8, label="its peak"))
    arm_legend(figure, study, extra)
    return figure


def _draw_path(panel: Axes, study: Study, metric: str, arm: str) -> bool:
    root_kl, value = root_kl_path(study, metric, arm)
    if not len(value):
        return False
    tint, mark = colour(study, arm), marker(study, arm)
    thin = slice(None, -1, -(-len(value) // MOST_MARKS))
    panel.plot(root_kl[thin], value[thin], mark, color=tint, markersize=3, alpha=0.6)
    panel.plot(root_kl[-1:], value[-1:], mark, color=tint, markersize=7, mec="white")
    return True


def _draw_fit(panel: Axes, study: Study, metric: str, row: "pd.Series[Any]") -> None:
    """Draw R(d) = d (α − β log d) over the KL that was reached, its peak ringed if it lies there."""
    tint, start = colour(study, row["arm"]), _start(study, metric, row["arm"])
    distance = np.linspace(0, np.sqrt(row["largest_kl"]), 200)[1:]
    gain = distance * (row["alpha"] - row["beta"] * np.log(distance))
    panel.plot(distance, start + gain, color=tint, ls=dashes(study, row["arm"]), lw=1.0, zorder=1)
    if row["shape"] == PEAKS:
        peak = (np.sqrt(row["peak_kl"]), start + row["peak_value"])
        panel.plot(*peak, "o", mfc="none", mec="#222222", ms=8, mew=1.1, zorder=5)


def _start(study: Study, metric: str, arm: str) -> float:
    """Return what the metric was at iteration 0, mean over seeds."""
    _, values = study.curves(metric, arm)
    return float(mean(values)[0])


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
def frontier(study: Study, width: float = PAGE) -> Figure:
    """Draw where every arm ended in KL and gold, those joined that no other arm beats in both."""
    table = tables_of(study).frontier
    figure, (panel,) = grid(1, width, height=3.2 if width > 5 else 2.8)
    panel.set(xlabel="final KL to SFT (nats per response)", ylabel=GLOSSARY["final/gold"].label)
    if not len(table):
        gap(panel, "no run has ended with both gold and KL")
        return figure
    others = table[~table["arm"].isin(shown_arms(study))]
    panel.plot(others["kl"], others["gold"], "o", color="#BBBBBB", ms=3, zorder=1)
    for _, row in table[table["arm"].isin(shown_arms(study))].iterrows():
        tint = colour(study, row["arm"])
        panel.plot([row["kl_low"], row["kl_high"]], [row["gold"]] * 2, lw=0.9, alpha=0.6, color=tint)
        panel.plot([row["kl"]] * 2, [row["gold_low"], row["gold_high"]], lw=0.9, alpha=0.6, color=tint)
        panel.plot(
            row["kl"], row["gold"], marker(study, row["arm"]), ms=7, mec="white", color=tint, zorder=4
        )
    best = table[table["is_efficient"].astype(bool)].sort_values("kl")
    steps = np.append(best["kl"], table["kl"].max()), np.append(best["gold"], best["gold"].max())
    panel.step(*steps, where="post", color="#444444", lw=1.0, ls=_DOTS, zorder=2)
    set_scale(panel.set_xscale, table["kl"].to_numpy(float))
    handles = [Line2D([], [], color="#444444", ls=_DOTS, lw=1.0, label="frontier")]
    mark_legend(figure, study, handles)
    return figure


@styled
def parallel_coordinates(study: Study, width: float = PAGE) -> Figure:
    """Draw each arm as a line through all that was measured at its end, an axis a row.

    Runs are thin lines in grey, arms thick; numbers are the least and the greatest of all runs.
    """
    table = run_ends(study)
    names = [name for name in table.columns if table[name].notna().any()]
    row = 0.34 if width > 5 else 0.42
    figure, (panel,) = grid(1, width, height=0.7 + row * max(4, len(names)))
    if len(names) < 2:
        gap(panel, "no run has finished yet")
        return figure
    low, high = table[names].min(), table[names].max()
    scaled = (table[names] - low) / (high - low).where(high > low, 1.0)
    rows = np.arange(len(names))
    thin = np.linspace(0, len(scaled) - 1, min(len(scaled), MOST_RUNS)).round().astype(int)
    runs = [np.stack([run, rows], axis=1) for run in scaled.to_numpy(float)[thin]]
    panel.add_collection(LineCollection(runs, color="#BBBBBB", lw=0.5, alpha=0.6, zorder=1))
    for arm in shown_arms(study):
        own = scaled.loc[scaled.index == arm].mean()
        style: Any = {"color": colour(study, arm), "ls": dashes(study, arm)}
        panel.plot(own.to_numpy(float), rows, marker=marker(study, arm), ms=4, zorder=3, **style)
    _label_axes(panel, names, low, high)
    arm_legend(figure, study)
    return figure


def run_ends(study: Study) -> pd.DataFrame:
    """Tabulate every run's numeric parameters that differ and its end metrics; the index is its arm."""
    runs = study.runs
    ends = {
        name: [_last(study, run_id, name) for run_id in runs["run_id"]]
        for name in ENDS
        if name in study.metric_names
    }
    found = pd.DataFrame(ends, index=pd.Index(runs["arm"], dtype=object))
    parameters = {name: pd.to_numeric(runs[name], errors="coerce") for name in study.params}
    numeric = {name: one for name, one in parameters.items() if one.notna().all() and one.nunique() > 2}
    widest = sorted(numeric, key=lambda name: -numeric[name].nunique())[:MOST_PARAMETERS]
    for place, name in enumerate(widest):
        found.insert(place, name, numeric[name].to_numpy(float))
    return found


def _last(study: Study, run_id: str, metric: str) -> float:
    values = study.series(run_id, metric)[1]
    return float(values[-1]) if len(values) and np.isfinite(values[-1]) else np.nan


def _label_axes(
    panel: Axes, names: list[str], low: "pd.Series[float]", high: "pd.Series[float]"
) -> None:
    known = {name: one.label.removeprefix("final ") for name, one in GLOSSARY.items()}
    name_rows(panel, [known.get(name, name) for name in names])
    for y, name in enumerate(names):
        for x, text, side in ((-0.02, number(low[name]), "right"), (1.02, number(high[name]), "left")):
            panel.text(x, y, text, ha=side, va="center", color="#666666")
        panel.plot([0, 1], [y, y], color="#DDDDDD", lw=0.8, zorder=0)
    panel.set(xlim=(-0.18, 1.18), ylim=(len(names) - 0.6, -0.7), xticks=[])
    panel.grid(False)
    panel.spines[["left", "bottom"]].set_visible(False)
