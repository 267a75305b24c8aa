"""The paper's figures, redrawn from the studies of a store: the same panels, a line an arm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis import paper_outcomes, paper_reward_models
from analysis.claims import Open
from analysis.evidence import Arms, lasting
from analysis.monitor_plots import mark_start, monitor_grid
from analysis.panels import PAGE, few_colours, render, styled
from analysis.ridge_plots import reward_distribution
from analysis.runs import Study
from workbench.glossary import PAPER_FOUR

Studies = Mapping[str, Study]
Draw = Callable[[Studies, float], Figure]

PLACES = {
    **{"vanilla": 0, "ppo_max": 1, "kl_penalty": 2, "kl_0.05": 2, "entropy_bonus": 3},
    **{"reward_scaling": 3, "reward_norm_clip_0.3": 5, "reward_norm_clip_0.8": 4},
    **{"advantage_norm_clip_0.5": 6, "advantage_norm_clip_0.12": 7},
    **{"importance_sampling": 5, "kl_and_importance_sampling": 6},
    **{"without_sft": 6, "critic_from_sft": 7, "vanilla_critic_pretraining": 4, "without_ptx": 4},
    **{"reward": 3, "reward_advantage": 4, "reward_value": 5},
    **{"reward_advantage_value": 6, "advantage_value": 7, "kl_0.1": 5, "kl_0.2": 4},
    **{"entropy_clip": 6, "entropy_clip_low": 5, "entropy_clip_high": 4},
    **{"no_clip": 7, "clip_0.5": 5, "clip_1": 6, "lambda_0": 6, "lambda_0.9": 4, "lambda_1": 5},
}
"""The looks of every arm: one look for one arm, under whatever name it is lent, in all figures."""
LOSSES = ("ppo/policy_loss", "ppo/value_loss")
WITH_VALUES = ("reward/proxy", "policy/perplexity", "ppo/value_mean", "ppo/advantage_mean")
OUTCOME = ("reward/proxy", "eval/win_rate")
ACTIONS = ("policy/perplexity", "policy/response_length", "policy/kl_to_sft")
UPDATE = (*LOSSES, "ppo/advantage_mean", "ppo/return_mean")
EVERYTHING = (
    *("reward/proxy", "reward/gold", "eval/win_rate", *ACTIONS),
    *(*UPDATE, "ppo/value_mean", "eval/held_out_perplexity"),
)


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    Attributes:
        name: of its file.
        title: what it redraws.
        needs: studies without which there is no figure, by the paper's number.
        also: studies that it shows if they are there; one at least where it needs none.
        draw: takes the studies that are there and the width in inches.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    draw: Draw
    also: tuple[str, ...] = ()


def curves(number: str, metrics: tuple[str, ...], most: int) -> Draw:
    """Return what draws a study's metrics over the iterations, up to `most` panels abreast."""

    @styled
    def draw(studies: Studies, width: float = PAGE) -> Figure:
        figure, axes = monitor_grid(studies[number], metrics, width, most)
        for panel, metric in zip(axes, metrics, strict=True):
            mark_start(panel, studies[number], metric)
        return figure

    return draw


@styled
def long_run(studies: Studies, width: float = PAGE) -> Figure:
    """Draw all monitors of the long run, with a line where vanilla PPO collapses on average."""
    study = studies["09"]
    figure, axes = monitor_grid(study, EVERYTHING, width, 3)
    for panel, metric in zip(axes, EVERYTHING, strict=True):
        mark_start(panel, study, metric)
        if "04" in studies:
            at = float(np.nanmean(Arms(studies["04"]).values("vanilla", lasting)))
            panel.axvline(at, color="#D55E00", lw=0.8, ls=(0, (2, 2)), zorder=1)
    return figure


def tails(studies: Studies, width: float = PAGE) -> Figure:
    """Draw vanilla PPO's distribution of the reward over time."""
    return reward_distribution(studies["04"], width)


def _curves(number: str, title: str, metrics: tuple[str, ...], most: int = 2) -> PaperFigure:
    return PaperFigure(
        f"figure_{number}", f"Figure {int(number)}: {title}", (number,), curves(number, metrics, most)
    )


PAPER_FIGURES = (
    PaperFigure(
        "figures_02_03",
        "Figures 2 and 3: reward models from clear and from subtle preferences",
        (),
        paper_reward_models.reward_models,
        ("02", "03"),
    ),
    PaperFigure(
        "reward_model_ladder",
        "Policies of PPO-max, by the reward model that they were trained with",
        (),
        paper_reward_models.policies_of_reward_models,
        tuple(paper_reward_models.RUNGS),
    ),
    _curves("04", "vanilla PPO", (*OUTCOME, *LOSSES, *ACTIONS, "reward/gold"), 4),
    PaperFigure(
        "monitor_contest",
        "Which monitor tells the collapse of vanilla PPO",
        ("08",),
        paper_outcomes.monitors_against_losses,
    ),
    _curves("06", "operations on rewards and advantages", PAPER_FOUR),
    _curves("07", "constraints on the policy", PAPER_FOUR),
    _curves("08", "where policy and critic start from", (*PAPER_FOUR, *UPDATE), 4),
    PaperFigure("figure_09", "Figure 9: PPO-max over 600 iterations", ("09",), long_run, also=("04",)),
    PaperFigure("figure_10", "Figure 10: PPO-max against SFT", ("08",), paper_outcomes.wins_by_kind),
    PaperFigure("figure_12", "Figure 12: language ability", ("12",), paper_outcomes.language_ability),
    PaperFigure("figure_13", "Figure 13: the reward of vanilla PPO", ("04",), tails),
    _curves("14", "a normalised reward with other operations", PAPER_FOUR),
    _curves("15", "the weight of the KL penalty", PAPER_FOUR),
    _curves("16", "the entropy bonus and its clip", PAPER_FOUR),
    _curves("17", "the policy's clip against the KL penalty", WITH_VALUES),
    _curves("18", "global gradient clipping", WITH_VALUES),
    _curves("19", "λ of advantage estimation", WITH_VALUES),
)
"""Every figure of the page, in its order."""


def draw_figure(figure: PaperFigure, open_study: Open, width: float = PAGE) -> tuple[Figure, list[str]]:
    """Draw one figure from whatever runs have ended.

    Returns:
        the figure, and sentences for its caption: the seeds behind it, and what is missing.
    Raises:
        LookupError: if nothing is there to draw.
        ValueError: likewise.
    """
    studies = {number: finished(open_study(number).study) for number in figure.needs}
    told = []
    for number in figure.also:
        try:
            studies[number] = finished(open_study(number).study)
        except (LookupError, ValueError) as error:
            told.append(f"Not drawn, as {error}.")
    if not studies:
        raise LookupError(f"none of its studies is there: {', '.join(figure.also)}")
    return figure.draw(studies, width), [_seeds(studies), *told]


def _seeds(studies: Studies) -> str:
    """Say how many seeds stand behind every arm, and which arms have none."""
    number = {arm: len(study.runs_of(arm)) for study in studies.values() for arm in study.arms}
    fewest, most = min(filter(None, number.values())), max(number.values())
    told = f"{most} seeds an arm." if fewest == most else f"{fewest} to {most} seeds an arm."
    without = ", ".join(arm for arm, seeds in number.items() if not seeds)
    return f"{told} No run of {without} has ended." if without else told


def finished(study: Study) -> Study:
    """Return a study with those runs alone that have ended, and the looks of the paper's arms.

    Raises:
        LookupError: if there are none.
    """
    runs = study.runs[study.runs["outcome"].isin(("ok", "collapsed"))].reset_index(drop=True)
    if not len(runs):
        raise LookupError(f"study {study.name} has no finished run")
    return replace(study, runs=runs, spec=study.spec | {"places": PLACES})


def save_figures(open_study: Open, folder: Path, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Write every figure that can be drawn as a PNG file, and tell of each what became of it.

    Returns:
        of each figure that was written its name, title and caption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in PAPER_FIGURES:
        try:
            drawn, told = draw_figure(figure, open_study)
        except (LookupError, ValueError) as error:
            tell(f"{figure.name}: not drawn, {error}")
            continue
        image = few_colours(render(drawn, "png"))
        (folder / f"{figure.name}.png").write_bytes(image)
        written.append({"name": figure.name, "title": figure.title, "caption": " ".join(told)})
        tell(f"{figure.name}: {written[-1]['caption']} {len(image) / 1000:.0f} kB")
    return written
