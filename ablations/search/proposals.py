"""What the trial of a proposal says: its arm, and how its runs ended."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.cells import Cell
from ablations.records import State, Status, objective
from ablations.search.settings import COLLAPSED, FIRST

if TYPE_CHECKING:
    from ablations.search.space import Space

RESULT = "seed/"
"""Attributes that begin so hold how the run with that seed ended."""


def arm_of(number: int) -> str:
    """Name the arm that the trial with this number proposes."""
    return f"t{number:04d}"


def first(space: "Space") -> FrozenTrial:
    """Make the waiting trial of the recipe around which to search."""
    trial = space.start()
    trial.user_attrs = {"cell": FIRST, "arm": FIRST}
    return trial


def again(trial: FrozenTrial) -> FrozenTrial:
    """Make the next waiting trial of a proposal, with the runs that are done."""
    told = trial.user_attrs.items()
    kept = {key: value for key, value in told if key in ("cell", "arm") or key.startswith(RESULT)}
    return create_trial(
        state=TrialState.WAITING, params=trial.params, distributions=trial.distributions, user_attrs=kept
    )


def facts_of(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """Return what was noted of each seed's run."""
    noted = {key: value for key, value in trial.user_attrs.items() if key.startswith(RESULT)}
    return {int(key.removeprefix(RESULT)): value for key, value in noted.items()}


def results_of(trial: FrozenTrial) -> dict[int, dict[str, float]]:
    """Return the final metrics of each seed's run."""
    return {seed: facts["final"] for seed, facts in facts_of(trial).items()}


def done_run(cell: Cell, facts: Mapping[str, Any]) -> Status:
    """Say how a run stands that was noted."""
    state: State = "collapsed" if facts["final"][COLLAPSED] else "ok"
    value = objective(facts["final"])
    return Status(cell, state, facts["iterations"], value, run_id=facts["run_id"])
