"""Figures of how good the responses are: proxy and gold together, and who wins against SFT."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.curves import curve, has_zero
from analysis.figures.panels import PAGE, gap, grid, styled
from analysis.outcomes import SHARES
from analysis.runs import Study
from analysis.selection import colour, shown_arms
from analysis.tables import tables_of
from analysis.values import sft_level

_GOLD_DASHES: Any = (0, (4, 1.5))
_WON = {"win": ("#0072B2", ""), "tie": ("#DDDDDD", ""), "loss": ("#E69F00", "////")}


@styled
def proxy_and_gold(study: Study, width: float = PAGE) -> Figure:
    """Draw proxy and gold of each arm in one panel, as changes from the SFT policy in its deviations."""
    arms = shown_arms(study)
    figure, axes = grid(max(1, len(arms)), width, height=2.1)
    unit = "standard deviations" if _deviation(study, "gold") else "own units"
    for panel, arm in zip(axes, arms, strict=False):
        for name, line in (("proxy", "-"), ("gold", _GOLD_DASHES)):
            _change_from_start(panel, study, arm, name, line)
        panel.axhline(0, color="#777777", lw=0.8)
        panel.set(title=arm, xlabel="PPO iteration", ylabel=f"change from SFT policy\n({unit})")
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
    is_change = not has_zero(study, f"eval/{name}")
    found = curve(study, f"eval/{name}", arm, is_change=is_change)
    if not len(found.steps):
        return
    level = None if is_change else sft_level(study, f"eval/{name}")
    start = float(found.centre[0]) if level is None else level
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
def wins(study: Study, width: float = PAGE) -> Figure:
    """Draw the held-out prompts that each arm won, tied and lost against the SFT policy at the end."""
    table = tables_of(study).outcomes
    table = table[table["arm"].isin(shown_arms(study))]
    figure, (panel,) = grid(1, width, height=0.75 + 0.32 * max(2, len(table)))
    if not len(table):
        gap(panel, "wins, ties and losses were not recorded, or no run has finished")
        return figure
    draw_shares(figure, panel, table, table["arm"].tolist())
    return figure


def draw_shares(figure: Figure, panel: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw rows of shares won, tied and lost, from the top, with the win rate and its interval.

    Args:
        figure, panel: to draw into; the legend stands above the panel.
        table: one row a bar: win, tie, loss, win_rate, low, high.
        names: of the rows.
    """
    for y, (_, row) in enumerate(table.iterrows()):
        _draw_bar(panel, row, y)
    panel.axvline(0.5, color="#222222", lw=0.8, ls=(0, (2, 2)))
    panel.set_yticks(range(len(table)), names)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    panel.set_xticks(ticks, [f"{tick:.0%}".replace("%", " %") for tick in ticks])
    panel.set(xlabel="share of held-out prompts", xlim=(0, 1), ylim=(len(table) - 0.4, -0.6))
    panel.tick_params(axis="y", length=0)
    panel.grid(False)
    handles: list[Any] = [
        Patch(fc=tint, hatch=hatch, ec="white", lw=0, label=name) for name, (tint, hatch) in _WON.items()
    ]
    handles.append(Line2D([], [], color="#222222", marker="|", label="win rate, a tie ½"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4 if figure.get_figwidth() > 5 else 2)


def _draw_bar(panel: Axes, row: "pd.Series[Any]", y: int) -> None:
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
