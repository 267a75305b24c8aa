"""The trials of a study in Optuna: cells enqueued once, claimed by workers, taken back from the dead."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from ablations.designs import Cell
from ablations.folder import Plan, StudyFolder
from ablations.locks import JournalLock, held, holder, is_held, try_to_hold
from ablations.search_space import distributions, parameters, varied_tricks

State = Literal["missing", "waiting", "running", "stopped", "failed", "ok", "collapsed"]
"""missing: not enqueued. stopped: begun by a process that is gone. ok, collapsed: done."""
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
        run_id: MLflow's id of the run, once it is done.
        process: id of the process that trains it, if one does.
    """

    cell: Cell
    state: State
    iteration: int
    value: float | None = None
    error: str | None = None
    run_id: str | None = None
    process: int | None = None


@dataclass(frozen=True)
class Claim:
    """A cell that this process alone is training, until the claim is released."""

    cell: Cell
    trial: Trial
    lock: IO[str]


class Trials:
    """A study's trials in Optuna's storage; one trial per cell that completes."""

    def __init__(self, folder: StudyFolder, plan: Plan) -> None:
        """Open the storage; the first to do so creates it, before any worker starts."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.plan = folder, plan
        recipes = [cell.recipe for cell in plan.cells.values()]
        varied = varied_tricks(recipes)
        self._points = {
            name: parameters(cell.recipe, cell.seed, varied) for name, cell in plan.cells.items()
        }
        self._space = distributions(list(self._points.values()))
        self._study = optuna.create_study(
            study_name=folder.name,
            storage=journal_storage(folder),
            sampler=RandomSampler(seed=0),  # never asked: a design's trials are all enqueued
            direction="maximize",
            load_if_exists=True,
        )

    def enqueue(self, *states: State) -> None:
        """Enqueue every cell in one of these states: "missing", and "failed" to try it again."""
        with held(self.folder.claims):
            for status in self.status():
                if status.state in states:
                    self._enqueue(status.cell)

    def claim(self) -> Claim | None:
        """Take the next enqueued cell, or None if there is none; what the sampler invents is refused."""
        with held(self.folder.claims):
            while self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                trial = self._study.ask()
                cell = self.plan.cells.get(trial.user_attrs.get("cell", ""))
                if cell is None:
                    trial.set_user_attr("refused", "not a cell of the design")
                    self._study.tell(trial, state=TrialState.FAIL)
                    continue
                lock = try_to_hold(self.folder.cell_lock(cell))
                if lock is None:
                    trial.set_user_attr("refused", "another process trains this cell")
                    self._study.tell(trial, state=TrialState.FAIL)
                    continue
                self._set_parameters(trial, cell)
                return Claim(cell, trial, lock)
        return None

    def complete(self, claim: Claim, value: float, attributes: Mapping[str, Any]) -> None:
        """Say that a cell is done."""
        self._tell(claim, attributes, value=value)

    def fail(self, claim: Claim, error: str) -> None:
        """Say that a cell failed, and why."""
        self._tell(claim, {"error": error}, state=TrialState.FAIL)

    def give_back(self, claim: Claim) -> None:
        """Put a cell back into the queue; whoever takes it goes on from its checkpoint."""
        with held(self.folder.claims):
            self._tell(claim, {"given_back": True}, state=TrialState.FAIL)
            self._enqueue(claim.cell)

    def sweep(self, verdict: Callable[[Cell], str | None] = lambda cell: None) -> None:
        """Put cells back into the queue whose process is gone.

        Args:
            verdict: an error if a cell shall fail instead; None to let it go on.
        """
        with held(self.folder.claims):
            for lost in [trial for trial in self._running() if not self._is_alive(trial)]:
                cell = self.plan.cells.get(lost.user_attrs.get("cell", ""))
                error = verdict(cell) if cell else None
                if error:
                    Trial(self._study, lost._trial_id).set_user_attr("error", error)
                self._study.tell(lost.number, state=TrialState.FAIL)
                if cell and not error:
                    self._enqueue(cell)

    def status(self) -> list[Status]:
        """Say how every cell stands, in the order of the design."""
        latest: dict[str, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            name = trial.user_attrs.get("cell")
            known = latest.get(name) if name else None
            if name and "refused" not in trial.user_attrs:
                done = known is not None and known.state == TrialState.COMPLETE
                latest[name] = known if done and known else trial
        return [self._status(cell, latest.get(name)) for name, cell in self.plan.cells.items()]

    def _status(self, cell: Cell, trial: FrozenTrial | None) -> Status:
        iteration = read_progress(self.folder, cell)
        if trial is None:
            return Status(cell, "missing", iteration)
        attributes = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            return Status(
                cell, attributes["outcome"], self.plan.study.ppo.iterations, trial.value,
                run_id=attributes["run_id"],
            )  # fmt: skip
        if trial.state == TrialState.RUNNING:
            if not self._is_alive(trial):
                return Status(cell, "stopped", iteration)
            process = holder(self.folder.cell_lock(cell))
            return Status(cell, "running", iteration, process=process)
        if trial.state == TrialState.WAITING:
            return Status(cell, "stopped" if iteration else "waiting", iteration)
        if "error" in attributes:
            return Status(cell, "failed", iteration, error=attributes["error"])
        return Status(cell, "missing", iteration)

    def _enqueue(self, cell: Cell) -> None:
        names = {"cell": cell.name, "arm": cell.arm, "seed": cell.seed}
        self._study.enqueue_trial(dict(self._points[cell.name]), user_attrs=names)

    def _set_parameters(self, trial: Trial, cell: Cell) -> None:
        """Give the trial its parameters, which Optuna takes from what was enqueued."""
        for name in self._points[cell.name]:
            space = self._space[name]
            if isinstance(space, CategoricalDistribution):
                trial.suggest_categorical(name, space.choices)
            elif isinstance(space, IntDistribution):
                trial.suggest_int(name, space.low, space.high, log=space.log)
            elif isinstance(space, FloatDistribution):
                trial.suggest_float(name, space.low, space.high, log=space.log)

    def _tell(
        self,
        claim: Claim,
        attributes: Mapping[str, Any],
        *,
        value: float | None = None,
        state: TrialState | None = None,
    ) -> None:
        for key, content in attributes.items():
            claim.trial.set_user_attr(key, content)
        self._study.tell(claim.trial, value, state=state)
        claim.lock.close()

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _is_alive(self, trial: FrozenTrial) -> bool:
        cell = self.plan.cells.get(trial.user_attrs.get("cell", ""))
        return cell is not None and is_held(self.folder.cell_lock(cell))


def journal_storage(folder: StudyFolder) -> BaseStorage:
    """Open the study's journal file."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalFileBackend(str(folder.journal), JournalLock(folder.journal)))


def read_progress(folder: StudyFolder, cell: Cell) -> int:
    """Return the iterations that a cell last reported to have done."""
    path = folder.progress(cell)
    return int(json.loads(path.read_text())["done"]) if path.is_file() else 0
