"""What the trial of a proposal says: its arm, and how its runs ended."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial

from ablations.cells import Cell
from ablations.records import State, Status, objective
from ablations.search.settings import COLLAPSED

RESULT = "seed/"
"""Attributes that begin so hold how the run with that seed ended."""


def arm_of(number: int) -> str:
    """Name the arm that the trial with this number proposes."""
    return f"t{number:04d}"


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
