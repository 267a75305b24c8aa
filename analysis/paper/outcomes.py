"""The paper's figures of outcomes: wins by kind of prompt, language ability, which monitor warns."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.evidence import Arms, end
from analysis.figures.curve_panels import draw_curves
from analysis.figures.monitors import mark_start
from analysis.figures.panels import PAGE, arm_legend, grid, styled
from analysis.figures.rewards import draw_shares
from analysis.figures.strips import Strip, draw_strips
from analysis.intervals import floats, interval
from analysis.monitor_contest import (
    ACTION_SPACE,
    REWARD_AND_LOSSES,
    areas_by_seed,
    leads_by_seed,
    two_arms,
)
from analysis.outcomes import SHARES
from analysis.runs import Study
from analysis.selection import colour, marker
from analysis.traces import label
from analysis.values import sft_values

KINDS = ("helpful", "harmless")
"""Kinds of prompts."""
GROUPS = (
    ("action space", ACTION_SPACE, "#0072B2", "o"),
    ("reward and losses", REWARD_AND_LOSSES, "#E69F00", "s"),
)
"""Monitors of C05: name of the group, members, colour, marker."""


@styled
def wins_by_kind(studies: Mapping[str, Study], width: float = PAGE) -> Figure:
    """Draw the shares of helpful and of harmless prompts that PPO-max won, tied and lost against SFT.

    Args:
        studies: figure "08".
        width: of the figure, in inches.
    Raises:
        LookupError: if no run of PPO-max has ended, or none recorded these shares.
    """
    arms = Arms(studies["08"])
    table = pd.DataFrame([_shares(arms, kind) for kind in KINDS]).dropna()
    if not len(table):
        raise LookupError("wins by kind of prompt were not recorded")
    figure, (panel,) = grid(1, width, height=0.75 + 0.4 * len(table))
    draw_shares(figure, panel, table, table["kind"].tolist())
    return figure


def _shares(arms: Arms, kind: str) -> dict[str, object]:
    """Return the means over seeds of one kind of prompt, as `draw_shares` takes them."""
    ends = {name: arms.of("ppo_max", end(f"eval/{kind}_{name}")) for name in SHARES}
    rate = interval(floats(ends["win"] + ends["tie"] / 2))
    means = {name: float(values.mean()) for name, values in ends.items()}
    return {"kind": kind, **means, "win_rate": rate.estimate, "low": rate.low, "high": rate.high}


@styled
def language_ability(studies: Mapping[str, Study], width: float = PAGE) -> Figure:
    """Draw the perplexity on held-out language over training, and at its end beside the SFT policy's.

    Args:
        studies: figure "12".
        width: of the figure, in inches.
    """
    study, metric = studies["12"], "eval/held_out_perplexity"
    figure, axes = grid(2, width, height=2.2, most=2)
    draw_curves(axes[0], study, metric)
    mark_start(axes[0], study, metric)
    axes[0].set_xlabel("PPO iteration")
    strips = [Strip("SFT", floats(sft_values(study, metric).dropna()), "#444444", "X")]
    for arm in study.arms:
        ends = [end(metric)(study, run_id) for run_id in study.runs_of(arm)["run_id"]]
        strips.append(Strip(arm, np.array(ends, np.float64), colour(study, arm), marker(study, arm)))
    axes[1].set(title="at the end", xlabel="held-out perplexity")
    draw_strips(axes[1], strips)
    arm_legend(figure, study)
    return figure


@styled
def monitors_against_losses(studies: Mapping[str, Study], width: float = PAGE) -> Figure:
    """Draw how well, and how early, each monitor of C05 tells a collapse of vanilla PPO.

    Args:
        studies: figure "08".
        width: of the figure, in inches.
    Raises:
        LookupError: if a monitor was not recorded, or too few runs collapsed, or held.
    """
    arms = Arms(studies["08"])
    traces, leads = two_arms(arms), leads_by_seed(arms)
    figure, axes = grid(2, width, height=2.4, most=2)
    areas, times = [], []
    for _, monitors, tint, mark in GROUPS:
        for monitor in monitors:
            areas.append(Strip(label(monitor), areas_by_seed(traces, monitor), tint, mark))
            times.append(Strip(label(monitor), leads[monitor].to_numpy(np.float64), tint, mark))
    axes[0].set(title="area under the ROC curve", xlabel="½ tells nothing, 1 all")
    draw_strips(axes[0], areas)
    axes[0].axvline(0.5, color="#777777", lw=0.8)
    axes[1].set(title="lead of the alarm", xlabel="iterations before the collapse")
    draw_strips(axes[1], times)
    handles = [
        Line2D([], [], color=tint, marker=mark, ls="", label=name) for name, _, tint, mark in GROUPS
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure
