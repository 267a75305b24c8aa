"""The trials of a study in Optuna: enqueued, claimed by one worker each, taken back from the dead.

No lock is held across machines. Who sets a waiting trial to running has claimed it, which storages do
for one caller only. Two trials of one cell may meet in the queue when two processes enqueue at once;
then the one with the lowest number counts, and the others are refused. Who sets a dead worker's trial
to failed, which succeeds once, enqueues its cell again.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.beats import KEY, AttributeBeats, Beat, Beats, FileBeats, Listener
from ablations.cells import Cell
from ablations.folder import Outline, StudyFolder
from ablations.processes import Process
from ablations.storage import is_passing, open_storage, patiently
from workbench.glossary import CAP

State = Literal["missing", "waiting", "running", "stopped", "failed", "ok", "collapsed"]
"""missing: not enqueued. stopped: begun by a process that is gone. ok, collapsed: done."""
DONE = ("ok", "collapsed")
DEATHS = 3
"""A cell whose process dies this often without getting any further has failed."""
AHEAD = 100
"""Cells that wait in the queue at most: a queue of thousands makes each look at it slow."""
ENDINGS = ("worker", "error", "given_back", "lost")
"""Attributes of a trial that say who had it and how it ended, and are not the next one's."""
HOPELESS = "hopeless"
"""Attribute of a trial that is not tried again: each process that trained its cell died."""
AGREEMENT = "agreement"
"""Attribute of the study under which `share` keeps what was agreed on."""
LIVE = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)


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


MakeTrial = Callable[[Cell], FrozenTrial]
"""Makes the waiting trial of a cell, with its parameters."""


class Trials:
    """A study's trials in Optuna's storage; one trial per cell that completes."""

    def __init__(self, folder: StudyFolder, outline: Outline, make_trial: MakeTrial | None = None):
        """Open the storage.

        Args:
            folder: of the study.
            outline: what the study consists of.
            make_trial: for those who enqueue; None for those who only look.
        Raises:
            StorageError: if it cannot be reached.
        """
        self.folder, self.outline, self._make_trial = folder, outline, make_trial
        self.storage = open_storage(outline.storage, folder.journal)
        self._study_id = patiently(self._find_or_make)
        self._beats: Beats = FileBeats() if self.is_on_disk else AttributeBeats(self.storage)
        self._listener = Listener(outline.grace_seconds)
        self._ended: dict[str, Status] = {}

    @property
    def is_on_disk(self) -> bool:
        """Whether whoever reaches the trials also reaches the study's folder."""
        return isinstance(self.storage, JournalStorage)

    @property
    def beat_seconds(self) -> float:
        """How often a worker should give a sign of life."""
        return min(self._beats.seconds, self.outline.grace_seconds / 6)

    @property
    def study(self) -> Study:
        """The study, for Optuna's own tools."""
        return optuna.load_study(study_name=self.folder.name, storage=self.storage)

    def enqueue(self, *states: State, limit: int = AHEAD) -> int:
        """Enqueue cells in one of these states until `limit` wait, and say how many were enqueued."""
        if self._make_trial is None:
            raise RuntimeError("these trials were opened to look at, not to enqueue")
        statuses = self.status()
        room = limit - sum(status.state == "waiting" for status in statuses)
        cells = [status.cell for status in statuses if status.state in states][: max(0, room)]
        for cell in cells:
            self._enqueue(cell)
        return len(cells)

    @property
    def agreement(self) -> Mapping[str, Any]:
        """What `share` kept; empty before."""
        kept = patiently(lambda: self.storage.get_study_user_attrs(self._study_id))
        return dict(kept.get(AGREEMENT, {}))

    def share(self, agreement: Mapping[str, Any]) -> None:
        """Keep what the study's processes agreed on beside the trials, for hosts without its folder."""
        content = dict(agreement)
        patiently(lambda: self.storage.set_study_user_attr(self._study_id, AGREEMENT, content))

    def claim(self, process: Process) -> Claim | None:
        """Take the next cell that waits, or None if there is none."""
        waiting = sorted(self._trials(TrialState.WAITING), key=lambda trial: trial.number)
        return next(filter(None, (self._take(trial, process) for trial in waiting)), None)

    def beat(self, claim: Claim, done: int) -> None:
        """Give a sign of life, and notice if the trial was taken away.

        Args:
            claim: what this process trains.
            done: iterations done.
        """
        claim.beat = Beat(claim.beat.count + 1, done, time.time())
        try:
            state = self.storage.get_trial(claim.trial).state
            claim.is_lost = claim.is_lost or state != TrialState.RUNNING
            if not claim.is_lost:
                self._beats.give(claim.trial, self.folder.beat(claim.unit), claim.beat)
        except UpdateFinishedTrialError:
            claim.is_lost = True
        except Exception as error:
            if not is_passing(error):
                raise  # else the storage is away for a while, and training goes on

    def record(self, claim: Claim, outcome: Outcome) -> None:
        """Say how the cell ended that a claim was training; a claim of one cell is over then."""
        attributes: dict[str, Any] = {"outcome": outcome.state, "run_id": outcome.run_id}
        attributes |= {"iterations": outcome.iterations, "stopped_at": outcome.stopped_at}
        self._complete(claim, [objective(outcome.final)], attributes)

    def fail(self, claim: Claim, error: str) -> None:
        """Say that a cell failed, and why; it is enqueued again as often as the study retries."""
        attempt = self._get(claim.trial).user_attrs.get("attempt", 0)
        if self._end(claim, TrialState.FAIL, {"error": error}) and attempt < self.outline.retries:
            self._again(claim, {"attempt": attempt + 1})

    def give_back(self, claim: Claim) -> None:
        """Put a cell back into the queue; whoever takes it goes on from its checkpoint."""
        if self._end(claim, TrialState.FAIL, {"given_back": True}):
            self._again(claim, {})

    def sweep(self) -> None:
        """Put cells back into the queue whose process is gone; fail those that kill each process."""
        running = self._trials(TrialState.RUNNING)
        self._listener.listen()
        for lost in filter(self._is_dead, running):
            self._bury(lost)

    def status(self) -> list[Status]:
        """Say how every cell stands, in the order of the design."""
        latest: dict[str, FrozenTrial] = {}
        for trial in self._trials():
            name = trial.user_attrs.get("cell")
            if name is None or name in self._ended or "refused" in trial.user_attrs:
                continue
            known = latest.get(name)
            if known is None or known.state != TrialState.COMPLETE:
                latest[name] = trial
        return [
            self._ended.get(name) or self._status(cell, latest.get(name))
            for name, cell in self.outline.cells.items()
        ]

    def _complete(self, claim: Claim, values: list[float], attributes: Mapping[str, Any]) -> None:
        self._end(claim, TrialState.COMPLETE, attributes, values)
        self.folder.beat(claim.unit).unlink(missing_ok=True)
        claim.is_over = True

    def _status(self, cell: Cell, trial: FrozenTrial | None) -> Status:
        if trial is None:
            return Status(cell, "missing", 0)
        attributes = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            self._ended[cell.name] = Status(
                cell, attributes["outcome"], attributes.get("iterations", self.outline.iterations),
                trial.values[0], run_id=attributes.get("run_id"),
                seconds=trial.duration.total_seconds() if trial.duration else None,
            )  # fmt: skip
            return self._ended[cell.name]
        beat = self._beat_of(trial)
        if trial.state == TrialState.RUNNING:
            worker = attributes.get("worker")
            is_gone = worker is not None and Process.of(worker).is_gone
            name = worker["name"] if worker else None
            state: State = "stopped" if is_gone else "running"
            return Status(cell, state, beat.done, worker=name, heard_at=beat.at or None)
        if trial.state == TrialState.WAITING:
            return Status(cell, "stopped" if beat.done else "waiting", beat.done)
        if _is_given_up(attributes, self.outline.retries):
            return Status(cell, "failed", beat.done, error=attributes["error"])
        return Status(cell, "missing", beat.done)

    @property
    def _directions(self) -> list[StudyDirection]:
        return [StudyDirection.MAXIMIZE]

    def _find_or_make(self) -> int:
        name = self.folder.name
        with suppress(KeyError):
            return self.storage.get_study_id_from_name(name)
        with suppress(DuplicatedStudyError):  # another process was faster
            return self.storage.create_new_study(self._directions, name)
        return self.storage.get_study_id_from_name(name)

    def _cell(self, trial: FrozenTrial) -> Cell | None:
        """Return what a trial is to train next, None if this process does not know it."""
        return self.outline.cells.get(trial.user_attrs.get("cell", ""))

    def _take(self, trial: FrozenTrial, process: Process) -> Claim | None:
        """Claim a waiting trial, unless another was faster or another trial of its cell counts."""
        cell, unit = self._cell(trial), trial.user_attrs.get("cell", "")
        if cell is None:
            return None  # of a later version of the study, which this process does not know
        try:
            if not self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        # Until it is known whose trial it is, nobody sees at once that its process is gone.
        self._set(trial._trial_id, "worker", process.facts())
        claim = Claim(unit, cell, trial._trial_id, trial.number, trial.params)
        rival = self._rival(trial, unit)
        if rival is not None:
            self._end(claim, TrialState.FAIL, {"refused": f"trial {rival} is of the same cell"})
            return None
        self.beat(claim, self._beat_of(trial).done)
        return claim

    def _rival(self, mine: FrozenTrial, name: str) -> int | None:
        """Return the number of another trial of the cell that counts instead."""
        for trial in self._trials(*LIVE):
            is_other = trial.user_attrs.get("cell") == name and trial.number != mine.number
            if is_other and (trial.state == TrialState.COMPLETE or trial.number < mine.number):
                return trial.number
        return None

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is not None and Process.of(worker).is_here:
            return Process.of(worker).is_gone
        return self._listener.is_silent(trial._trial_id, self._beat_of(trial))

    def _bury(self, trial: FrozenTrial) -> None:
        """End a dead worker's trial; who succeeds enqueues its cell again, unless it died too often."""
        claim = _of(trial)
        done = self._beat_of(trial).done
        deaths = [*trial.user_attrs.get("deaths", []), done][-DEATHS:]
        is_hopeless = len(deaths) == DEATHS and len(set(deaths)) == 1
        reason = f"its process died {DEATHS} times at iteration {done}; was memory short?"
        verdict = {"error": reason, HOPELESS: True} if is_hopeless else {"lost": True}
        ended = self._end(claim, TrialState.FAIL, verdict)
        if ended and not is_hopeless:
            self._again(claim, {"deaths": deaths})

    def _enqueue(self, cell: Cell) -> None:
        if self._make_trial is None:
            raise RuntimeError("these trials were opened to look at, not to enqueue")
        trial = self._make_trial(cell)
        trial.user_attrs = {"cell": cell.name, "arm": cell.arm, "seed": cell.seed}
        self._create(trial)

    def _again(self, claim: Claim, changes: Mapping[str, Any]) -> None:
        """Enqueue what an ended trial was of, with all that the next one has to know."""
        ended = self._get(claim.trial)
        kept = {k: v for k, v in ended.user_attrs.items() if k not in ENDINGS}
        again = create_trial(
            state=TrialState.WAITING, params=ended.params, distributions=ended.distributions,
            user_attrs={**kept, KEY: {"done": self._beat_of(ended).done}, **changes},
        )  # fmt: skip
        self._create(again)

    def _create(self, trial: FrozenTrial) -> None:
        patiently(lambda: self.storage.create_new_trial(self._study_id, template_trial=trial))

    def _beat_of(self, trial: FrozenTrial) -> Beat:
        return self._beats.read(trial, self.folder.beat(trial.user_attrs.get("cell", "")))

    def _end(
        self,
        claim: Claim,
        state: TrialState,
        attributes: Mapping[str, Any],
        values: list[float] | None = None,
    ) -> bool:
        """End a trial; False if somebody else did."""
        try:
            for key, content in attributes.items():
                self._set(claim.trial, key, content)
            return patiently(lambda: self.storage.set_trial_state_values(claim.trial, state, values))
        except UpdateFinishedTrialError:
            return False

    def _get(self, trial: int) -> FrozenTrial:
        return patiently(lambda: self.storage.get_trial(trial))

    def _set(self, trial: int, key: str, content: Any) -> None:
        patiently(lambda: self.storage.set_trial_user_attr(trial, key, content))

    def _trials(self, *states: TrialState) -> Sequence[FrozenTrial]:
        wanted = states or None
        return patiently(
            lambda: self.storage.get_all_trials(self._study_id, deepcopy=False, states=wanted)
        )


def _is_given_up(attributes: Mapping[str, Any], retries: int) -> bool:
    """Say whether a failed trial was its cell's last."""
    return "error" in attributes and (HOPELESS in attributes or attributes.get("attempt", 0) >= retries)


def _of(trial: FrozenTrial) -> Claim:
    """Return a claim on a trial that is somebody else's, to end it."""
    attributes = trial.user_attrs
    cell = Cell(attributes.get("arm", ""), attributes.get("seed", -1))
    return Claim(attributes.get("cell", ""), cell, trial._trial_id, trial.number)


def objective(final: Mapping[str, float]) -> float:
    """Return what Optuna maximises: the final gold score, or win rate; finite even after a collapse."""
    value = final.get("final/gold", final["final/win_rate"])
    return value if math.isfinite(value) else -CAP
