"""The paper's figures: each is drawn from the arms of its studies, and says what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.claims import CLAIMS, Open
from analysis.evidence import Arms
from analysis.figures import panels
from analysis.paper.figures import PAPER_FIGURES, PLACES, PaperFigure, draw_figure, save_figures
from analysis.paper.keeping import DRAWN
from analysis.paper.keeping import STUDIES as NUMBERS
from analysis.paper.results import study_name
from analysis.selection import colour, dashes, marker
from tests.analysis.made_paper import SEEDS, STUDIES, open_made
from tests.analysis.test_plots import sizes, texts

CURVES = {"04": 8, "06": 4, "07": 4, "08": 8, "09": 12, "14": 4, "15": 4, "16": 4, "17": 4, "18": 4}
"""Panels of figures of curves."""


def figure(name: str) -> PaperFigure:
    return next(one for one in PAPER_FIGURES if one.name == name)


def nothing(number: str) -> Arms:
    raise LookupError(f"study {study_name(number)} is not there")


def only(there: str) -> Open:
    return lambda number: open_made(number) if number == there else nothing(number)


@pytest.mark.parametrize("drawn", PAPER_FIGURES, ids=lambda one: one.name)
def test_a_figure_shows_all_that_its_studies_recorded(drawn: PaperFigure) -> None:
    found, caption = draw_figure(drawn, open_made)
    assert f"{SEEDS} seeds an arm." in caption
    assert "Not drawn" not in caption and "No run of" not in caption
    assert not [said for said in ("not recorded", "not run", "no finished run") if said in texts(found)]


@pytest.mark.parametrize("drawn", PAPER_FIGURES, ids=lambda one: one.name)
def test_a_figure_can_be_read_at_column_width(drawn: PaperFigure) -> None:
    found, _ = draw_figure(drawn, open_made, panels.COLUMN)
    assert found.get_figwidth() == panels.COLUMN
    assert min(sizes(found)) >= 8


@pytest.mark.parametrize(("number", "count"), CURVES.items())
def test_a_figure_of_curves_has_the_panels_and_names_every_arm(number: str, count: int) -> None:
    found, _ = draw_figure(figure(f"figure_{number}"), open_made)
    assert len(found.axes) == count
    assert legend(found) == list(STUDIES[f"figure_{number}"].arms)


def legend(found: Figure) -> list[str]:
    return [text.get_text() for one in found.legends for text in one.get_texts()]


@pytest.mark.parametrize("width", [panels.PAGE, panels.COLUMN])
@pytest.mark.parametrize("number", ["06", "08"])
def test_a_legend_is_not_cut_off(number: str, width: float) -> None:
    found, _ = draw_figure(figure(f"figure_{number}"), open_made, width)
    panels.render(found, "png")
    [drawn] = found.legends
    assert drawn.get_window_extent().x1 <= found.bbox.x1


def test_every_study_is_counted_and_every_claim_has_a_figure() -> None:
    assert sorted(study_name(number) for number in NUMBERS) == sorted(STUDIES)
    told = dict.fromkeys(claim for one in PAPER_FIGURES for claim in one.claims)
    assert list(told) == [claim.id for claim in CLAIMS]


def test_lent_runs_look_as_at_their_lender_and_the_arms_of_a_figure_differ() -> None:
    for study in (STUDIES[study_name(number)] for number in DRAWN):
        assert len({PLACES[arm] for arm in study.arms}) == len(study.arms)
        for arm, address in study.lent.items():
            assert PLACES[arm] == PLACES[address.partition("/")[2]]


def test_an_arm_looks_as_its_study_says() -> None:
    study = open_made("17").study
    named = replace(study, spec=study.spec | {"places": PLACES})
    own, other = ([of(one, "kl_penalty") for of in (colour, dashes, marker)] for one in (named, study))
    assert own == [of(open_made("08").study, "without_sft") for of in (colour, dashes, marker)]
    assert other != own  # it is the fourth arm of figure 17, and its place is the third


def test_a_missing_study_gives_no_figure_and_a_sentence(tmp_path: Path) -> None:
    told: list[str] = []
    assert save_figures(nothing, tmp_path, told.append) == []
    assert len(told) == len(PAPER_FIGURES)
    assert "figure_04: not drawn, study figure_04 is not there" in told
    assert not list(tmp_path.iterdir())


def test_a_study_that_is_only_shown_if_there_is_missing_in_the_caption() -> None:
    _, caption = draw_figure(
        figure("figures_02_03"), lambda n: open_made(n) if n == "02" else nothing(n)
    )
    assert "Not drawn: study figure_03 is not there." in caption


def test_runs_that_have_not_ended_are_left_out_and_an_arm_without_any_is_named() -> None:
    made = open_made("07").study
    runs = made.runs.copy()
    runs.loc[runs["arm"] == "kl_penalty", "outcome"] = "running"
    runs.loc[runs["run_id"] == "vanilla/s0", "outcome"] = "failed"
    _, caption = draw_figure(figure("figure_07"), lambda number: Arms(replace(made, runs=runs)))
    assert f"{SEEDS - 1} to {SEEDS} seeds an arm. No run of kl_penalty has ended." in caption


def test_files_are_small_and_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    written = save_figures(only("07"), tmp_path, told.append)
    assert [one["name"] for one in written] == ["figure_07"]
    assert written[0]["claims"] == ["C08"]
    file = tmp_path / "figure_07.png"
    assert file.stat().st_size < 150_000
    with Image.open(file) as image:
        assert image.mode == "P" and len(image.getcolors() or ()) <= 64
    assert [line for line in told if line.startswith("figure_07: ") and "4 seeds an arm" in line]
