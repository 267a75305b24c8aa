"""A row an arm in Markdown: what it reached, what it differs by from the baseline."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import pytest

from analysis.arm_table import _between as cell_of
from analysis.arm_table import arm_table
from analysis.comparison import Pair, compare
from analysis.values import final_values
from tests.analysis.made_study import made_study
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan
from workbench import cli

GOLD = np.array([[1.0, 1.2, 0.5], [1.1, 1.3, 0.7], [0.9, 1.25, 0.3], [1.0, np.nan, 0.52]])
KL = 10.0 * GOLD


def test_arms_stand_behind_the_baseline_from_the_lowest_difference_up() -> None:
    table = arm_table(made_study({"final/gold": GOLD}, ["base", "up", "down"]), ["final/gold"])
    assert [row[0] for row in table.rows] == ["`base`", "`down`", "`up`"]
    assert table.columns[:4] == ("arm", "gold score, less `base`'s", "p", "runs that hold")
    assert table.rows[0][1:3] == ("–", "")


def test_differences_are_those_of_compare_and_holm_is_over_the_arms_of_a_column() -> None:
    study = made_study({"final/gold": GOLD, "final/kl_to_sft": KL}, ["base", "b", "c"])
    table = arm_table(study, ["final/gold", "final/kl_to_sft"])
    values = final_values(study, "final/gold")
    found = compare([Pair(arm, "base", "final/gold", values[arm], values["base"]) for arm in ("b", "c")])
    for row, (_, one) in zip(table.rows[:0:-1], found.iterrows(), strict=True):
        shown = f"{one['difference']:.3f} [{one['low']:.3f}, {one['high']:.3f}]".replace("-", "−")
        assert row[1] == shown and row[2] == f"{one['p_holm']:.3g}"
    assert [row[4] for row in table.rows] == [row[2] for row in table.rows]
    assert "over the arms of a column" in table.note and "n = 3 to 4 seeds" in table.note


def test_a_p_that_is_too_small_to_be_shown_is_not_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (16, 2)) + np.array([0.0, 5.0])
    table = arm_table(made_study({"final/gold": values}, ["a", "b"]), ["final/gold"])
    assert table.rows[1][2] == "< 0.001"


def test_five_seeds_that_agree_give_their_smallest_p() -> None:
    values = np.array([[0.0, 1.0], [0.1, 1.2], [0.2, 1.1], [0.0, 1.3], [0.1, 1.4]])
    table = arm_table(made_study({"final/gold": values}, ["a", "b"]), ["final/gold"])
    assert table.rows[1][2] == "0.0625"  # 2/2⁵


def test_a_mean_over_a_run_weighs_points_by_the_iterations_between_them() -> None:
    curves = {"eval/gold": {arm: np.array([[0.0, 2.0, np.nan, 4.0]] * 3) for arm in ("a", "b")}}
    study = made_study({"final/gold": np.ones((3, 2))}, ["a", "b"], curves=curves)
    assert final_values(study, "mean/eval/gold")["a"].tolist() == pytest.approx([7 / 3] * 3)
    table = arm_table(study, ["mean/eval/gold"])
    assert table.columns[1] == "mean over the run of gold score, held-out prompts, less `a`'s"
    assert table.rows[1][1] == "0.0 [0.0, 0.0]"


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ((-1.6842, -2.8301, -0.5319), "−1.68 [−2.83, −0.53]"),
        ((0.9972, 0.9941, 1.0003), "0.997 [0.994, 1.000]"),
        ((113.82, 60.44, 167.2), "114 [60, 167]"),
        ((-0.00004, -0.0003, 0.0002), "0.0000 [−0.0003, 0.0002]"),
        ((1.25, np.nan, np.nan), "1.25"),
        ((np.nan, np.nan, np.nan), "–"),
    ],
)
def test_a_cell_has_as_many_decimals_as_its_middle_number_needs(
    values: tuple[float, float, float], cell: str
) -> None:
    assert cell_of(*values) == cell


def test_runs_that_have_not_ended_are_left_out() -> None:
    missing = GOLD.copy()
    missing[3] = np.nan
    curves = {"eval/gold": {arm: np.full((4, 2), 9.0) for arm in ("a", "b", "c")}}
    table = arm_table(made_study({"final/gold": missing}, ["a", "b", "c"], curves=curves), ["eval/gold"])
    assert "n = 3 seeds" in table.note and [row[3] for row in table.rows] == ["3 of 3"] * 3


def test_what_makes_no_table_is_said_in_a_sentence() -> None:
    study = made_study({"final/gold": GOLD[:, :1]}, ["alone"])
    with pytest.raises(ValueError, match="made has no run of alone and of another arm that have ended"):
        arm_table(study, ["final/gold"])
    with pytest.raises(ValueError, match="no run of made recorded 'eval/kl'; see `workbench metrics`"):
        arm_table(study, ["mean/eval/kl"])
    with pytest.raises(ValueError, match="recorded 'final/glod'; did you mean 'final/gold'"):
        arm_table(study, ["mean/final/glod"])


Command = Callable[..., list[str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `workbench table` with these arguments; return the lines that it prints."""

    def run(*arguments: str, errors: Sequence[str] = ()) -> list[str]:
        monkeypatch.setattr("sys.argv", ["workbench", "table", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        printed = capsys.readouterr()
        assert all(error in printed.err for error in errors)
        return printed.out.splitlines()

    return run


def test_without_a_gold_judge_the_command_compares_win_rates(
    make_store: Callable[[Plan], str], command: Command
) -> None:
    plan = Plan(arms={"base": Arm(gain=0.2), "better": Arm(gain=0.9)}, gold=False)
    lines = command(plan.name, "--tracking-uri", make_store(plan))
    assert lines[0].startswith("| arm | win rate against SFT, less `base`'s | p |")


def test_a_run_that_was_deleted_in_mlflow_is_named_beside_the_table(
    make_store: Callable[[Plan], str], command: Command
) -> None:
    uri = make_store(QUICKSTART)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'vanilla/s0'")
    lines = command("demo", "--tracking-uri", uri, errors=["left out: vanilla/s0 (run "])
    assert "n = 4 to 5 seeds" in lines[-1]


def test_the_command_prints_markdown_with_code_and_date(quickstart: str, command: Command) -> None:
    lines = command(QUICKSTART.name, "--also", "final/kl_to_sft", "--tracking-uri", quickstart)
    assert lines[0].startswith("| arm | gold score, less `vanilla`'s | p |")
    assert lines[1] == "| --- | --: | --: | --: | --: | --: |"
    assert lines[2].startswith("| `vanilla` | – |  | ") and lines[3].startswith("| `ppo_max` | ")
    assert "Code " in lines[-1]
