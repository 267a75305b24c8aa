"""A glance at a database sees of every trial what Optuna sees, but for its parameters."""

from pathlib import Path

import pytest

from ablations.glance import glance
from ablations.processes import Process
from tests.ablations.test_trials import ME, ok, open_trials
from tests.postgres import new_database

SEEN = ("number", "state", "values", "user_attrs", "datetime_start", "datetime_complete", "_trial_id")


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Address of a storage."""
    if request.param == "journal":
        return None
    return new_database(request.getfixturevalue("postgres"))


def test_a_glance_sees_what_optuna_sees(tmp_path: Path, storage: str | None) -> None:
    trials = open_trials(tmp_path, storage=storage)
    assert list(glance(trials.storage, trials._study_id)) == []
    trials.enqueue("missing")
    done, running, failed = (trials.claim(ME) for _ in range(3))
    assert done and running and failed
    trials.record(done, ok(0.5))
    trials.fail(failed, "no luck")
    trials.beat(running, 2)
    seen = glance(trials.storage, trials._study_id)
    whole = trials.study.get_trials(deepcopy=False)
    assert len(seen) == len(whole) >= 4
    for mine, theirs in zip(seen, whole, strict=True):
        assert [getattr(mine, name) for name in SEEN] == [getattr(theirs, name) for name in SEEN]


def test_a_glance_at_one_cell_leaves_out_the_others_of_a_database(tmp_path: Path, postgres: str) -> None:
    trials = open_trials(tmp_path, storage=new_database(postgres))
    trials.enqueue("missing")
    claim = trials.claim(Process.this("me"))
    assert claim
    found = glance(trials.storage, trials._study_id, claim.cell.name)
    assert [trial.user_attrs["cell"] for trial in found] == [claim.cell.name]
