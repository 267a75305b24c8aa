"""The paper's figures of reward models: margins, accuracy, and what policies they train."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.evidence import Arms, end
from analysis.figures.panels import PAGE, gap, grid, reference_line, styled
from analysis.figures.strips import Strip, draw_strips
from analysis.intervals import curve_interval, floats
from analysis.reward_model import margin_table
from analysis.reward_model_facts import accuracy, facts
from analysis.runs import Study
from analysis.values import sft_level

ARM = "ppo_max"
"""The one arm of these studies."""
DATA: dict[str, tuple[str, str, Any]] = {
    "02": ("clear gaps", "#08457E", "-"),
    "03": ("subtle gaps", "#E69F00", (0, (5, 1.6))),
}
"""The preference data of a study: name, colour, dashes."""
RUNGS = {
    "reward_model_few_pairs": ("1,000 pairs", "#56B4E9", "v"),
    "02": ("12,000 pairs", "#08457E", "o"),
    "reward_model_many_pairs": ("48,000 pairs", "#009E73", "^"),
    "reward_model_early": ("12,000 pairs,\nstopped early", "#D55E00", "s"),
    "03": ("12,000 pairs,\nsubtle gaps", "#E69F00", "D"),
}
"""The reward models of a study: name, colour, marker; the first three are the ladder of C03."""


@styled
def reward_models(studies: Mapping[str, Study], width: float = PAGE) -> Figure:
    """Draw the margins of both kinds of preference data, and the accuracy while models were trained.

    Args:
        studies: by figure, "02" with clear and "03" with subtle gaps, whichever are there.
        width: of the figure, in inches.
    """
    figure, axes = grid(3, width, height=2.3)
    for panel, (key, (name, tint, _)) in zip(axes, DATA.items(), strict=False):
        panel.set_title(f"margins, {name}")
        if key in studies:
            _draw_margins(panel, studies[key], tint)
        else:
            gap(panel, "not run")
    _share_x(axes[:2])
    axes[2].set(title="accuracy on held-out pairs", xlabel="optimiser step")
    for key, (_, tint, line) in DATA.items():
        if key in studies:
            _draw_accuracy(axes[2], studies[key], tint, line)
    reference_line(axes[2], 0.5, "chance")
    handles = [Line2D([], [], color=tint, ls=line, label=name) for name, tint, line in DATA.values()]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _draw_margins(panel: Axes, study: Study, tint: str) -> None:
    """Draw the first model's histogram, and above it mean ± standard deviation of every model."""
    panel.set(xlabel="score(chosen) − score(rejected)", ylabel="pairs")
    bins = margin_table(study)
    low, high = bins["low"].to_numpy(float), bins["high"].to_numpy(float)
    tints = np.where(low + high > 0, tint, "#C4C4C4")
    panel.bar(low, bins["pairs"], high - low, align="edge", color=tints, ec="white", lw=0.3)
    panel.axvline(0, color="#222222", lw=0.8)
    top = float(bins["pairs"].max()) if len(bins) else 1.0
    for place, run_id in enumerate(study.runs_of(ARM)["run_id"]):
        known = facts(study, str(run_id))
        mean, spread = known.get("margin_mean", np.nan), known.get("margin_std", np.nan)
        height = top * (1.08 + 0.035 * place)
        panel.plot([mean - spread, mean + spread], [height, height], color=tint, lw=0.9)
        panel.plot([mean], [height], "o", color=tint, ms=2.2)


def _share_x(axes: list[Axes]) -> None:
    limits = [panel.get_xlim() for panel in axes if panel.patches]
    for panel in axes if limits else ():
        if panel.patches:
            panel.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _draw_accuracy(panel: Axes, study: Study, tint: str, line: Any) -> None:
    """Draw the mean accuracy with its interval, and where a fifth of the first epoch has passed."""
    known = [facts(study, str(run_id)) for run_id in study.runs_of(ARM)["run_id"]]
    curves = [
        pd.Series({point["step"]: point["accuracy"] for point in one.get("accuracy_curve", [])})
        for one in known
    ]
    table = pd.DataFrame(curves, dtype=np.float64).sort_index(axis=1)
    if not table.size:
        return
    centre, low, high = curve_interval(table.to_numpy(np.float64))
    panel.fill_between(table.columns, low, high, color=tint, alpha=0.16, lw=0)
    panel.plot(table.columns, centre, "o", ls=line, color=tint, ms=3)
    epochs = [one["steps_per_epoch"] for one in known if one.get("steps_per_epoch")]
    if epochs:
        panel.axvline(0.2 * float(np.mean(epochs)), color="#777777", lw=0.8, ls=(0, (2, 2)), zorder=1)


@styled
def policies_of_reward_models(studies: Mapping[str, Study], width: float = PAGE) -> Figure:
    """Draw what PPO-max reached with each kind of reward model: gold, and gold against accuracy.

    Args:
        studies: by figure, those of RUNGS that are there.
        width: of the figure, in inches.
    """
    figure, axes = grid(2, width, height=2.5, most=2, top=0.0)
    strips = []
    for key, (name, tint, mark) in RUNGS.items():
        arms = Arms(studies[key]) if key in studies else None
        gold = arms.of(ARM, end("eval/gold")) if arms else pd.Series(dtype=np.float64)
        strips.append(Strip(name, floats(gold), tint, mark))
        if arms:
            right = arms.of(ARM, accuracy)
            axes[1].plot(right, gold, mark, color=tint, ms=4, alpha=0.8)
    axes[0].set(title="final gold score, PPO-max", xlabel="gold")
    draw_strips(axes[0], strips)
    axes[1].set(title="each run", xlabel="accuracy of its reward model", ylabel="final gold score")
    level = next((sft_level(study, "eval/gold") for study in studies.values()), None)
    if level is not None:
        axes[0].axvline(level, color="#777777", lw=0.8, ls=(0, (2, 2)), zorder=1)
        reference_line(axes[1], level, "SFT")
    return figure
