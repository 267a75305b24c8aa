"""What is said of a study's cells: how each stands, how a run ended, who has claimed what."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ablations.beats import Beat
from ablations.cells import Cell
from workbench.glossary import CAP

State = Literal["missing", "waiting", "running", "stopped", "failed", "ok", "collapsed"]
"""missing: not in the queue yet. stopped: begun by a process that is gone. ok, collapsed: done."""
DONE = ("ok", "collapsed")


@dataclass(frozen=True)
class Status:
    """How one cell stands.

    Attributes:
        cell: arm and seed.
        state: see `State`.
        iteration: iterations done, as last reported.
        value: final gold score, or win rate where there is no judge; None before the end.
        error: why it failed, in one sentence.
        run_id: MLflow's id of the run, once it is done and known.
        worker: name of the worker that trains it, if one does.
        heard_at: when that worker last gave a sign of life, in seconds since 1970.
        seconds: that the last trial of a done cell took; a trial taken up again counts from then.
    """

    cell: Cell
    state: State
    iteration: int
    value: float | None = None
    error: str | None = None
    run_id: str | None = None
    worker: str | None = None
    heard_at: float | None = None
    seconds: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether its run came to its end."""
        return self.state in DONE

    @property
    def is_over(self) -> bool:
        """Whether nobody has to work on it any more, since it is done or has failed."""
        return self.is_done or self.state == "failed"


@dataclass(frozen=True)
class Outcome:
    """How the run of a cell ended.

    Attributes:
        state: "ok" or "collapsed".
        final: final metrics.
        run_id: MLflow's id of the run, if it is known.
        iterations: that were done.
        stopped_at: iterations done, where a pruner ended the run before its last; else None.
    """

    state: Literal["ok", "collapsed"]
    final: Mapping[str, float]
    run_id: str | None
    iterations: int
    stopped_at: int | None = None


@dataclass
class Claim:
    """A trial that is this process's alone.

    Attributes:
        unit: what was claimed: the name of a cell, or of a proposed recipe.
        cell: what is trained now: arm and seed.
        trial: id of the trial in the storage.
        number: of the trial in the study.
        parameters: of the trial.
        is_over: whether all of it is done.
        is_lost: whether others took this process for dead and the trial away from it.
        beat: the last sign of life.
    """

    unit: str
    cell: Cell
    trial: int
    number: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = False
    is_lost: bool = False
    beat: Beat = field(default_factory=Beat)


def objective(final: Mapping[str, float]) -> float:
    """Return what Optuna maximises: the final gold score, or win rate; finite even after a collapse."""
    value = final.get("final/gold", final["final/win_rate"])
    return value if math.isfinite(value) else -CAP
