"""Numbers that the paragraphs of docs/paper.md tell: whose, of what, with which interval."""

import numpy as np
import pytest

from ablations.paper.settings import SETTINGS
from analysis import evidence as of
from analysis.claims import CLAIMS
from analysis.evidence import Arms
from analysis.paper import told
from analysis.paper.told import OF_CLAIMS, OF_SETTINGS, Told
from tests.analysis.made_paper import FALL, SEEDS, STEPS, open_made
from tests.analysis.made_study import made_study


def test_what_is_told_is_of_claims_and_settings_and_of_arms_that_the_studies_have() -> None:
    assert set(OF_CLAIMS) <= {claim.id for claim in CLAIMS}
    assert set(OF_SETTINGS) <= set(SETTINGS)
    found = told.told(open_made)
    assert {name: len(rows) for name, rows in found.items()} == {
        name: len(numbers) for name, numbers in OF_CLAIMS.items()
    }
    for setting, numbers in OF_SETTINGS.items():
        assert len(told.told(open_made, setting)[setting]) == len(numbers)


def test_a_row_names_study_and_arm_and_gives_their_mean() -> None:
    row = Told(told.LASTING, "04/vanilla").row(open_made)
    assert row["part"] == "iterations before a collapse, figure_04/vanilla"
    assert (row["effect"], row["unit"], row["n"]) == (FALL, "iterations", SEEDS)


def test_a_difference_is_taken_seed_by_seed() -> None:
    both = Told(told.LASTING, "07/kl_penalty", "07/vanilla").row(open_made)
    assert both["part"].endswith("figure_07/kl_penalty less figure_07/vanilla")
    # An arm that holds lasts all its iterations.
    assert both["effect"] == both["low"] == both["high"] == STEPS - FALL


def test_shares_of_runs_have_exact_intervals() -> None:
    row = Told(told.FELL, "04/vanilla").row(open_made)
    # Clopper and Pearson, four of four: the lower end is the fourth root of 0.025.
    assert (row["effect"], row["high"]) == (1.0, 1.0)
    assert row["low"] == pytest.approx(0.025**0.25)
    held = Told(told.HELD, "04/vanilla").row(open_made)
    assert (held["effect"], held["low"], held["high"]) == (0.0, 0.0, pytest.approx(1 - 0.025**0.25))


def test_what_is_not_there_is_left_out() -> None:
    def without_six(number: str) -> Arms:
        if number == "06":
            raise LookupError("study figure_06 is not there")
        return open_made(number)

    found = told.told(without_six)
    assert [row["part"].rpartition("/")[0] for row in found["C07"]] == [
        f"iterations before a collapse, {name}" for name in ("afterwards_slow", "afterwards_slow")
    ]
    assert "C04" in found


def test_a_quantity_at_an_iteration_and_one_that_grows() -> None:
    curve = np.array([[2.0, 4.0, 3.0], [1.0, 2.0, 4.0]])
    study = made_study({"final/gold": np.ones((2, 1))}, ["a"], curves={"eval/gold": {"a": curve}})
    runs = [str(run) for run in study.runs_of("a")["run_id"]]
    assert [of.at("eval/gold", 1)(study, run) for run in runs] == [4.0, 2.0]
    assert np.isnan([of.at("eval/gold", iteration)(study, runs[0]) for iteration in (-1, 7)]).all()
    assert [of.growth("eval/gold")(study, run) for run in runs] == [0.5, 3.0]
