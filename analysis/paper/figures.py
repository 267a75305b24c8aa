"""Every figure of docs/paper.md, redrawn from the studies of a store in the paper's layout."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.claims import Open
from analysis.figures.panels import PAGE, few_colours, render
from analysis.paper import outcomes, reward_models
from analysis.paper.curves import COLLAPSE, STARTS, WITH_VALUES, Draw, Studies, curves, long_run, tails
from analysis.runs import Study, finished
from workbench.glossary import PAPER_FOUR

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
"""The look of every arm: the same runs look alike in all figures, under whatever name they are lent."""


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    Attributes:
        name: of its file.
        title: what it redraws.
        claims: that it belongs to; it is shown under the first.
        draw: takes the studies that are there and the width in inches.
        needs: studies without which there is no figure, by the paper's number.
        also: studies that it shows if they are there; one at least where it needs none.
        key: how to read what no legend says.
    """

    name: str
    title: str
    claims: tuple[str, ...]
    draw: Draw
    needs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    key: str = ""


def _curves(
    number: str, title: str, claim: str, metrics: tuple[str, ...] = PAPER_FOUR, most: int = 2
) -> PaperFigure:
    draw = curves(number, metrics, most)
    return PaperFigure(f"figure_{number}", f"Figure {int(number)}: {title}", (claim,), draw, (number,))


PAPER_FIGURES = (
    PaperFigure(
        "figures_02_03",
        "Figures 2 and 3: reward models from clear and from subtle preferences",
        ("C01",),
        reward_models.reward_models,
        also=("02", "03"),
        key="Bars are the margins of the first model, lines above them the mean ± standard deviation "
        "of each model. The vertical dotted line is a fifth of the first epoch.",
    ),
    PaperFigure(
        "reward_model_ladder",
        "Policies of PPO-max by the reward model that they were trained with",
        ("C02", "C03"),
        reward_models.policies_of_reward_models,
        also=tuple(reward_models.RUNGS),
        key="Pale marks are runs, the others their means with 95 % intervals; the dotted line is SFT.",
    ),
    _curves("04", "vanilla PPO", "C04", COLLAPSE, 4),
    PaperFigure(
        "monitor_contest",
        "Which monitors tell the collapse of vanilla PPO from PPO-max",
        ("C05",),
        outcomes.monitors_against_losses,
        needs=("08",),
        key="Pale marks are seeds, the others their means with 95 % intervals. Area: for a collapse "
        "within 20 iterations. An alarm that does not go off leads by 0.",
    ),
    PaperFigure(
        "figure_13",
        "Figure 13: the reward of vanilla PPO",
        ("C06",),
        tails,
        needs=("04",),
        key="Each curve is smoothed from five quantiles of an iteration; the tick is the median, the "
        "bar the middle half.",
    ),
    _curves("06", "operations on rewards and advantages", "C07"),
    _curves("07", "constraints on the policy", "C08"),
    _curves("08", "where policy and critic start from", "C09", STARTS, 4),
    PaperFigure(
        "figure_09",
        "Figure 9: PPO-max in the long run",
        ("C10",),
        long_run,
        needs=("09",),
        also=("04",),
        key="The vertical line is where vanilla PPO collapses on average.",
    ),
    PaperFigure(
        "figure_10",
        "Figure 10: PPO-max against SFT by kind of prompt",
        ("C11",),
        outcomes.wins_by_kind,
        needs=("08",),
    ),
    PaperFigure(
        "figure_12",
        "Figure 12: perplexity on held-out language",
        ("C12",),
        outcomes.language_ability,
        needs=("12",),
    ),
    _curves("14", "a normalised reward with operations on advantages and values", "C13"),
    _curves("15", "the weight of the KL penalty", "C14"),
    _curves("16", "the entropy bonus and its clip", "C15"),
    _curves("17", "the policy's clip against the KL penalty", "C16", WITH_VALUES),
    _curves("18", "global gradient clipping", "C17", WITH_VALUES),
    _curves("19", "λ of advantage estimation", "C18", WITH_VALUES),
)
"""Every figure of the page, in its order."""


def draw_figure(figure: PaperFigure, open_study: Open, width: float = PAGE) -> tuple[Figure, str]:
    """Draw one figure from those runs that have ended.

    Args:
        figure: which.
        open_study: of `paper.opener`.
        width: in inches.
    Returns:
        the figure and its caption: how to read it, the seeds behind it, what is missing.
    Raises:
        LookupError: if nothing is there to draw.
    """
    studies = {number: _finished(open_study(number).study) for number in figure.needs}
    told = []
    for number in figure.also:
        try:
            studies[number] = _finished(open_study(number).study)
        except LookupError as error:
            told.append(f"Not drawn: {error.args[0]}.")
    if not studies:
        raise LookupError("none of its studies has a finished run")
    caption = [figure.key, _seeds(studies), *told]
    return figure.draw(studies, width), " ".join(filter(None, caption))


def _finished(study: Study) -> Study:
    """Return a study with those runs alone that have ended, in the looks of the paper's arms.

    Raises:
        LookupError: if there are none.
    """
    runs = finished(study.runs).reset_index(drop=True)
    if not len(runs):
        raise LookupError(f"study {study.name} has no finished run")
    return replace(study, runs=runs, spec=study.spec | {"places": PLACES})


def _seeds(studies: Studies) -> str:
    """Say how many seeds stand behind every arm, and which arms have none."""
    cells = [(arm, len(study.runs_of(arm))) for study in studies.values() for arm in study.arms]
    numbers = sorted({number for _, number in cells if number})
    told = f"{' to '.join(dict.fromkeys((str(numbers[0]), str(numbers[-1]))))} seeds an arm."
    without = ", ".join(arm for arm, number in cells if not number)
    return f"{told} No run of {without} has ended." if without else told


def save_figures(open_study: Open, folder: Path, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Write every figure that can be drawn as a PNG file, and tell of each what became of it.

    Returns:
        of each figure that was written its name, title, claims and caption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in PAPER_FIGURES:
        try:
            drawn, caption = draw_figure(figure, open_study)
        except LookupError as error:
            tell(f"{figure.name}: not drawn, {error.args[0]}")
            continue
        image = few_colours(render(drawn, "png"))
        (folder / f"{figure.name}.png").write_bytes(image)
        facts = {"name": figure.name, "title": figure.title, "claims": list(figure.claims)}
        written.append({**facts, "caption": caption})
        tell(f"{figure.name}: {len(image) / 1000:.0f} kB. {caption}")
    return written
