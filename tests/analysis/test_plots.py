from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis import plots, selection
from analysis.figures import curve_panels, panels
from analysis.runs import Study
from tests.analysis.made_study import made_study
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan
from workbench.glossary import GLOSSARY

FEWER = replace(QUICKSTART, seeds=(0, 1), iterations=40)


def texts(figure: Figure) -> str:
    found = [text for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return " ".join(" ".join(text.get_text().split()) for text in found)


def sizes(figure: Figure) -> list[float]:
    found = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
    return [text.get_fontsize() for text in found if text.get_text()]


@pytest.mark.parametrize("name", plots.FIGURES)
def test_text_is_eight_points_or_more_at_column_width(name: str, study: Study) -> None:
    figure = plots.FIGURES[name](study, panels.COLUMN)
    assert figure.get_figwidth() == panels.COLUMN
    assert min(sizes(figure)) >= 8


def test_axes_bear_the_labels_and_units_of_the_glossary(study: Study) -> None:
    figure = plots.monitors(study)
    kl = GLOSSARY["policy/kl_to_sft"]
    panel = next(one for one in figure.axes if one.get_title(loc="left") == kl.label)
    assert panel.get_ylabel() == kl.unit


def test_a_reward_model_without_accuracies_shows_its_loss(study: Study) -> None:
    curve = [{"step": step, "loss": 0.7} for step in range(3)]
    model = study.prepared["reward_model"] | {"curve": curve, "accuracy_curve": [], "steps": None}
    changed = replace(study, prepared=study.prepared | {"reward_model": model})
    assert "loss while it was trained" in texts(plots.reward_model(changed))


_MONITORS = (
    *(plots.monitors, plots.other_monitors),
    *(plots.update_monitors, plots.cost_monitors),
)


def test_every_recorded_monitor_is_drawn_in_some_panel(study: Study) -> None:
    drawn = "".join(texts(draw(study)) for draw in _MONITORS)
    drawn += texts(plots.held_out_perplexity(study)) + texts(plots.reward_against_kl(study))
    elsewhere = ("final/", "reward/q", "eval/win", "eval/tie", "eval/loss")  # ends, ridges, bars
    names = [name for name in study.metric_names if not name.startswith(elsewhere)]
    missing = [name for name in names if GLOSSARY[name].label not in drawn]
    assert not missing


def test_the_scale_of_an_axis_follows_its_rule() -> None:
    # 30 times the median is the limit: medians 1, largest 30 and 31
    assert curve_panels.scale_rule(np.array([1.0, 1, 1, 30])) == "linear"
    assert curve_panels.scale_rule(np.array([1.0, 1, 1, 31])) == "log"
    assert curve_panels.scale_rule(np.array([0.0, 1, 1, 1, 31])) == "symlog"
    assert curve_panels.scale_rule(np.array([1e-8, 1, 1, 1, 31])) == "symlog"
    assert curve_panels.scale_rule(np.array([-1.0, 1, 1, 31])) == "linear"
    assert curve_panels.scale_rule(np.array([-1.0, 1, 1, 1001])) == "symlog"
    assert curve_panels.scale_rule(np.array([np.nan, 1, np.inf])) == "linear"


@pytest.mark.parametrize(
    ("values", "expected"),
    # the decade of the median, 3 and 20; four decades below the largest where that is more
    [
        ([0.0, 3.0, 3.0, 3.0, 300.0], 1.0),
        ([0.0, 20.0, 20.0, 900.0], 10.0),
        ([0.0, 1e-8, 1e-8, 0.9], 1e-4),
    ],
)
def test_an_axis_is_linear_below_a_decade_next_to_the_median(
    values: list[float], expected: float
) -> None:
    asked: dict[str, object] = {}
    curve_panels.set_scale(lambda kind, **how: asked.update(how, kind=kind), np.array(values))
    assert asked == {"kind": "symlog", "linthresh": pytest.approx(expected)}


def test_colours_and_dashes_tell_arms_apart() -> None:
    pairs = zip(selection.OKABE_ITO, selection._DASHES * 2, strict=True)
    assert len(set(pairs)) == selection.MAX_ARMS


CASES = {
    "one seed": (replace(FEWER, seeds=(0,)), ""),
    "one arm": (Plan({"a": Arm()}, seeds=(0, 1)), "no finished run to compare"),
    "no gold judge": (replace(FEWER, gold=False), "gold score, held-out prompts or KL was not recorded"),
    "no monitors": (
        replace(FEWER, drop=("policy/kl_to_sft", "reward/q05", "eval/held_out_perplexity")),
        "not recorded in this study",
    ),
    "unfinished": (
        replace(FEWER, stop={f"{arm}/s{seed}": 12 for arm in FEWER.arms for seed in (0, 1)}),
        "no finished run to compare",
    ),
    "all failed": (
        replace(FEWER, failed={f"{arm}/s{seed}": "x" for arm in FEWER.arms for seed in (0, 1)}),
        "no run has recorded an iteration yet",
    ),
    "no runs": (replace(FEWER, seeds=()), "no run has recorded an iteration yet"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_figure_of_an_incomplete_study_says_what_is_missing(
    case: str, make_study: Callable[[Plan], Study]
) -> None:
    plan, expected = CASES[case]
    study = make_study(plan)
    said = " ".join(texts(draw(study)) for draw in plots.FIGURES.values())
    assert expected in said


def test_a_figure_with_nan_infinity_and_a_single_point_renders(
    make_study: Callable[[Plan], Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(replace(FEWER, stop={"vanilla/s0": 1, "vanilla/s1": 1}))
    values = study.metrics["value"].to_numpy().copy()
    values[::3], values[1::7] = np.nan, np.inf
    broken = replace(study, metrics=study.metrics.assign(value=values))
    for draw in (plots.monitors, plots.reward_against_kl, plots.reward_distribution):
        assert panels.render(draw(broken), "png").startswith(b"\x89PNG")


def test_a_figure_renders_to_the_same_bytes(study: Study, tmp_path: Path) -> None:
    first, second = (panels.render(plots.reward_model(study), "svg") for _ in range(2))
    assert first == second


def test_of_many_arms_the_baseline_the_best_and_the_worst_are_drawn(
    make_study: Callable[[Plan], Study],
) -> None:
    arms = {f"arm{i:02}": Arm(gain=0.1 * i) for i in range(12)}
    study = make_study(Plan(arms, seeds=(0,), iterations=40, noise=0.0))
    moved = replace(study, spec=study.spec | {"baseline": "arm05"})
    # besides the baseline in turn 11, 0, 10, 1, 9, 2, 8, in the order of the study
    wanted = [f"arm{i:02}" for i in (0, 1, 2, 5, 8, 9, 10, 11)]
    assert list(selection.shown_arms(moved)) == wanted
    said = selection.choice_sentence(moved)
    assert said.startswith(
        "All figures but the first show 8 of 12 arms, the baseline and in turn the best"
    )


def test_arms_without_a_value_are_drawn_last(make_study: Callable[[Plan], Study]) -> None:
    arms = {f"arm{i:02}": Arm() for i in range(10)}
    stop = {f"{arm}/s0": 5 for arm in arms}
    study = make_study(Plan(arms, seeds=(0,), iterations=10, stop=stop))
    assert selection.shown_arms(study) == tuple(arms)[:8]
    assert "the first of the others" in selection.choice_sentence(study)


def test_a_smaller_svg_draws_the_same(study: Study) -> None:
    # what stays: every path, every use of a glyph or mark, every style but for its spaces
    drawn = plots.collapse_times(study)
    with BytesIO() as buffer:
        drawn.savefig(buffer, format="svg")
        before = buffer.getvalue()
    after = panels.smaller(before)
    assert len(after) < 0.8 * len(before)
    trees = [ElementTree.fromstring(svg) for svg in (before, after)]
    counts = [Counter(one.tag.partition("}")[2] for one in tree.iter()) for tree in trees]
    assert counts[0]["path"] == counts[1]["path"] and counts[0]["use"] == counts[1]["use"]
    link = "{http://www.w3.org/1999/xlink}href"
    targets = {one.get("id") for one in trees[1].iter()}
    assert {str(one.get(link))[1:] for one in trees[1].iter() if one.get(link)} <= targets


def ranked_study(arms: int, seeds: int = 3) -> Study:
    """Make a study whose arm i ends i above the SFT policy; the gold of the last arm falls at once."""
    names = [f"arm_{i}" for i in range(arms)]
    ends = np.arange(arms) + np.zeros((seeds, 1))
    fall = np.repeat([[1.0, -9.0]], 20, axis=1)
    fallen = {
        "eval/gold": {name: np.ones((seeds, 40)) for name in names}
        | {names[-1]: np.repeat(fall, seeds, 0)}
    }
    return made_study({"final/gold": ends}, names, curves=fallen)


def test_every_arm_of_many_has_a_row_with_its_runs_the_best_first() -> None:
    study = ranked_study(10)
    [panel] = plots.all_arms(study).axes
    assert [tick.get_text() for tick in panel.get_yticklabels()] == [f"arm_{9 - i}" for i in range(10)]
    assert [text.get_text() for text in panel.texts] == ["0/3", *["3/3"] * 9, "hold"]
    assert plots.is_drawn(study, "all_arms") and not plots.is_drawn(ranked_study(8), "all_arms")


def test_of_very_many_arms_the_best_and_the_worst_have_a_row() -> None:
    [panel] = plots.all_arms(ranked_study(50)).axes
    rows = [tick.get_text() for tick in panel.get_yticklabels()]
    assert rows == [f"arm_{i}" for i in (*range(49, 29, -1), *range(19, -1, -1))]
