"""The trials of a study in Optuna: enqueued, claimed by one worker each, taken back from the dead.

No lock is held across machines. Who sets a waiting trial to running has claimed it, which storages do
for one caller only. Two trials of one cell may meet in the queue when two processes enqueue at once;
then the one with the lowest number counts, and the others are refused. Who sets a dead worker's trial
to failed, which succeeds once, enqueues its cell again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.beats import KEY, Beat, Listener
from ablations.cells import Cell
from ablations.folder import StudyFolder
from ablations.outline import Outline
from ablations.processes import Process
from ablations.records import Claim, Outcome, State, objective
from ablations.storage import is_passing, patiently
from ablations.stored_trials import HOPELESS, StoredTrials

DEATHS = 3
"""A cell whose process dies this often without getting any further has failed."""
AHEAD = 100
"""Cells that wait in the queue at most: a queue of thousands makes each look at it slow."""
ENDINGS = ("worker", "error", "given_back", "lost")
"""Attributes of a trial that say who had it and how it ended, and are not the next one's."""
LIVE = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)

MakeTrial = Callable[[Cell], FrozenTrial]
"""Makes the waiting trial of a cell, with its parameters."""


class Trials(StoredTrials):
    """A study's trials, to be enqueued, claimed and ended; one trial per cell completes."""

    def __init__(self, folder: StudyFolder, outline: Outline, make_trial: MakeTrial | None = None):
        """Open the storage.

        Args:
            folder: of the study.
            outline: what the study consists of.
            make_trial: for those who enqueue; None for those who only look.
        Raises:
            StorageError: if it cannot be reached.
        """
        super().__init__(folder, outline)
        self._make_trial, self._listener = make_trial, Listener(outline.grace_seconds)

    def enqueue(self, *states: State, limit: int = AHEAD) -> int:
        """Enqueue cells in one of these states until `limit` wait, and say how many were enqueued."""
        statuses = self.status()
        room = limit - sum(status.state == "waiting" for status in statuses)
        cells = [status.cell for status in statuses if status.state in states][: max(0, room)]
        for cell in cells:
            self._enqueue(cell)
        return len(cells)

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

    def _complete(self, claim: Claim, values: list[float], attributes: Mapping[str, Any]) -> None:
        self._end(claim, TrialState.COMPLETE, attributes, values)
        self.folder.beat(claim.unit).unlink(missing_ok=True)
        claim.is_over = True

    def _cell(self, trial: FrozenTrial) -> Cell | None:
        """Return what a trial is to train next, None if this process does not know it."""
        return self.outline.cells.get(trial.user_attrs.get("cell", ""))

    def _take(self, trial: FrozenTrial, process: Process) -> Claim | None:
        """Claim a waiting trial, unless another was faster or another trial of its cell counts."""
        cell, unit = self._cell(trial), trial.user_attrs.get("cell", "")
        if cell is None:
            return None  # of a later version of the study, which this process does not know
        mine = trial._trial_id
        try:
            if not patiently(lambda: self.storage.set_trial_state_values(mine, TrialState.RUNNING)):
                return None
        except UpdateFinishedTrialError:
            return None
        # Until it is known whose trial it is, nobody sees at once that its process is gone.
        self._set(mine, "worker", process.facts())
        claim = Claim(unit, cell, mine, trial.number, trial.params)
        rival = self._rival(trial, unit)
        if rival is not None:
            self._end(claim, TrialState.FAIL, {"refused": f"trial {rival} is of the same cell"})
            return None
        self.beat(claim, self._beat_of(trial).done)
        return claim

    def _rival(self, mine: FrozenTrial, name: str) -> int | None:
        """Return the number of another trial of the cell that counts instead."""
        for trial in self._glance(name):
            is_live = trial.state in LIVE and trial.number != mine.number
            is_other = is_live and trial.user_attrs.get("cell") == name
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


def _of(trial: FrozenTrial) -> Claim:
    """Return a claim on a trial that is somebody else's, to end it."""
    attributes = trial.user_attrs
    cell = Cell(attributes.get("arm", ""), attributes.get("seed", -1))
    return Claim(attributes.get("cell", ""), cell, trial._trial_id, trial.number)
