"""Arms whose runs are those of another study: read from there, never trained again."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from ablations.folder import find_study
from ablations.plan import ChangedStudyError
from ablations.study import Study
from analysis.loading import load
from tests.ablations.toy import run_here, toy
from workbench.tracking.store import default_store

LENT = {"recipe": "vanilla", "lender": "toy/vanilla"}
OWN = {"recipe": "vanilla", "with": {"value_clip": True}}


def borrower(**changes: Any) -> Study:
    arms = {"textbook": LENT, "value_clip": OWN}
    return toy(**{"name": "borrower", "arms": arms, "baseline": "textbook", **changes})


@pytest.fixture
def home(undisturbed: Path, tmp_path: Path) -> Path:
    """A home folder in which the toy study is done."""
    return Path(shutil.copytree(undisturbed, tmp_path / "home"))


def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def test_only_the_own_arms_are_trained(home: Path) -> None:
    statuses = run_here(borrower(), home)
    assert [status.cell.name for status in statuses] == ["value_clip/s0", "value_clip/s1"]
    assert set(find_study(home, "borrower").outline().cells) == {"value_clip/s0", "value_clip/s1"}


def test_the_analysis_sees_lent_runs_under_their_name_in_the_study(home: Path) -> None:
    run_here(borrower(), home)
    study, lender = load("borrower", uri(home)), load("toy", uri(home))
    assert study.arms == ("textbook", "value_clip")
    assert study.baseline == "textbook"
    steps, values = study.curves("reward/proxy", "textbook")
    assert (values == lender.curves("reward/proxy", "vanilla")[1]).all()
    assert values.shape == (2, len(steps))
    assert study.notes == ()


def test_a_lender_that_has_gone_from_the_store_is_said(home: Path) -> None:
    run_here(borrower(), home)
    client = default_store(home).client
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    study = load("borrower", uri(home))
    assert "textbook is that of study toy" in study.notes[0]
    assert set(study.runs["arm"]) == {"value_clip"}


def test_a_lender_that_was_not_begun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="study toy, which was not begun"):
        run_here(borrower(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"iterations": 3}, "ppo.iterations was 4 and is now 3"),
        ({"arms": {"textbook": {**LENT, "lender": "toy/ppo_max"}, "own": OWN}}, "another recipe"),
        ({"arms": {"textbook": {**LENT, "lender": "toy/none"}, "own": OWN}}, "is not there"),
    ],
)
def test_a_lender_whose_runs_would_be_others_is_refused(
    home: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ChangedStudyError, match=told):
        run_here(borrower(**{"baseline": None, **changes}), home)


def test_a_study_with_nothing_of_its_own_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="every arm is lent"):
        borrower(arms={"textbook": LENT})


def test_an_address_that_names_no_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="lender"):
        borrower(arms={"textbook": {**LENT, "lender": "toy"}, "own": OWN})
