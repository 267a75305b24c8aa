"""The trials of a search: each is a recipe that was proposed, with a run per seed."""

from collections.abc import Mapping, Sized
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ablations.cells import Cell
from ablations.folder import StudyFolder
from ablations.outline import Outline
from ablations.processes import Process
from ablations.records import Claim, Outcome, State, Status
from ablations.search.judging import excess, is_hopeless, worth
from ablations.search.proposals import RESULT, again, arm_of, done_run, facts_of, first, results_of
from ablations.search.samplers import make_sampler
from ablations.search.settings import COLLAPSED, Search
from ablations.storage import patiently
from ablations.stored_trials import latest
from ablations.trials import Trials

if TYPE_CHECKING:
    from ablations.search.space import Space

PATIENCE = 200
"""Proposals in a row that cannot be run, or were made before, until the space counts as exhausted."""
STUBBORN = 20
"""How many of these TPE makes; it may come back to the same few, so the rest are drawn at random."""
EXHAUSTED = "exhausted"
"""Attribute of the study that is set once the space is."""


class SearchTrials(Trials):
    """Proposed recipes in Optuna's storage; a trial is worth its mean over the seeds that were run."""

    def __init__(
        self, folder: StudyFolder, outline: Outline, search: Search, space: "Space | None" = None
    ) -> None:
        """Open the storage.

        Args:
            folder: of the study.
            outline: what the study consists of.
            search: what is searched for.
            space: for those who propose; None for those who only look.
        """
        self._search, self._space = search, space
        super().__init__(folder, outline)

    def enqueue(self, *states: State, limit: int = 1) -> int:
        """Enqueue proposals in one of these states, at first the recipe around which to search.

        Others are asked for. One whose trial has ended is missing until its next one is enqueued.
        """
        if self._space is None:
            return 0
        units = self._units()
        lacking = [] if units or "missing" not in states else [first(self._space)]
        for arm, trial in units.items():
            if trial.state == TrialState.FAIL and self._runs(arm, trial)[-1].state in states:
                lacking.append(again(trial))
        for trial in lacking:
            self._create(trial)
        return len(lacking)

    def claim(self, process: Process) -> Claim | None:
        """Take a recipe that waits, or ask for a new one; None if there were enough."""
        self.enqueue("missing")
        waiting = sorted(self._trials(TrialState.WAITING), key=lambda trial: trial.number)
        taken = next(filter(None, (self._take(trial, process) for trial in waiting)), None)
        return taken or (self._propose(process) if self._space else None)

    def record(self, claim: Claim, outcome: Outcome) -> None:
        """Note a seed's run; the last one, or one that shows the rest to be hopeless, ends the trial."""
        result = {**outcome.final, COLLAPSED: float(outcome.state == "collapsed")}
        facts = {"run_id": outcome.run_id, "iterations": outcome.iterations, "final": result}
        try:
            self._set(claim.trial, f"{RESULT}{claim.cell.seed}", facts)
            self._go_on(claim)
        except UpdateFinishedTrialError:  # others took this process for dead, and the trial from it
            claim.is_over = True

    def status(self) -> list[Status]:
        """Say how every run of every proposal stands, and how many are still to be proposed."""
        units = self._units()
        known = [status for arm, trial in units.items() for status in self._runs(arm, trial)]
        return known + [
            Status(Cell(f"proposal {number}", seed), "missing" if later else "waiting", 0)
            for number in self._to_come(units)
            for later, seed in enumerate(self.outline.seeds)
        ]

    @property
    def shortfall(self) -> str | None:
        """Why fewer recipes are tried than were asked for; None if they are not."""
        made, wanted = len(self._units()), self._search.trials
        if made >= wanted or not self._attribute(EXHAUSTED):
            return None
        return (
            f"the search ends after {made} of {wanted} recipes:"
            f" {PATIENCE} more proposals were made before, or cannot be run"
        )

    @property
    def _directions(self) -> list[StudyDirection]:
        return [StudyDirection[way.upper()] for way in self._search.objectives.values()]

    def _take(self, trial: FrozenTrial, process: Process) -> Claim | None:
        """Claim a recipe that waits; one that was run with all seeds only lacks its end, and gets it."""
        claim = super()._take(trial, process)
        if claim and results_of(trial):
            self._go_on(claim)
        return None if claim and claim.is_over else claim

    def _go_on(self, claim: Claim) -> None:
        """Turn to the next seed, or end the trial if there is none, or it is hopeless to go on."""
        results = results_of(self._get(claim.trial))
        left = [seed for seed in self.outline.seeds if seed not in results]
        others = [results_of(trial) for trial in self._trials(TrialState.COMPLETE)]
        gives_up = bool(left) and self._search.give_up and is_hopeless(results, others, self._search)
        if left and not gives_up:
            claim.cell = Cell(claim.unit, left[0])
            return
        study = self.study
        trial = patiently(lambda: Trial(study, claim.trial))
        for name, over in excess(results, self._search).items():
            patiently(partial(trial.set_constraint, name, over))
        whole = [one for one in others if len(one) == len(self.outline.seeds)]
        self._complete(claim, worth(results, self._search, whole), {"given_up": gives_up})

    def _cell(self, trial: FrozenTrial) -> Cell | None:
        """Return the first run of a waiting proposal that is still to do."""
        arm = trial.user_attrs.get("cell")
        return Cell(arm, self._left(trial)[0]) if arm else None

    def _left(self, trial: FrozenTrial) -> list[int]:
        """Return the seeds that a trial is to run; the last one counts once the trial has completed."""
        if trial.state == TrialState.COMPLETE:
            return []
        noted = facts_of(trial)
        return [seed for seed in self.outline.seeds if seed not in noted] or [self.outline.seeds[-1]]

    def _propose(self, process: Process) -> Claim | None:
        """Claim a new recipe; None if there were enough, or the space has no more."""
        for tried in range(PATIENCE):
            if not self._to_come(self._units()):
                return None
            if asked := self._ask(at_random=tried >= STUBBORN):
                return self._open(asked, process)
        self._keep(EXHAUSTED, True)
        return None

    def _to_come(self, units: Sized) -> range:
        """Return the numbers of the proposals that are still to be made."""
        made = len(units)
        return range(made, made if self._attribute(EXHAUSTED) else self._search.trials)

    def _ask(self, *, at_random: bool) -> FrozenTrial | None:
        """Ask a sampler for a recipe; one that cannot be run, or is there already, is refused."""
        trial = self._blank(at_random)
        try:
            patiently(lambda: self._required_space.propose(trial))
        except ValueError as error:
            return self._refuse(trial, str(error))
        earlier = self._units(below=trial.number)
        twins = [arm for arm, other in earlier.items() if other.params == trial.params]
        if twins:
            return self._refuse(trial, f"the same as {twins[0]}")
        if len(earlier) >= self._search.trials:
            return self._refuse(trial, "others were faster to propose the last ones")
        for key in ("cell", "arm"):
            self._set(trial._trial_id, key, arm_of(trial.number))
        return self._get(trial._trial_id)

    def _blank(self, at_random: bool) -> Trial:
        """Begin a trial; `Study.ask` would rather take one that was put back a moment ago."""
        sampler = make_sampler(self._search, len(self._trials()), at_random=at_random)
        study = self._study(sampler)
        made = patiently(lambda: self.storage.create_new_trial(self._study_id))
        return patiently(lambda: Trial(study, made))

    @property
    def _required_space(self) -> "Space":
        if self._space is None:
            raise RuntimeError("these trials were opened to look at, not to propose")
        return self._space

    def _open(self, trial: FrozenTrial, process: Process) -> Claim:
        """Claim a trial that this process has just asked for, and which therefore runs already."""
        arm = trial.user_attrs["cell"]
        claim = Claim(arm, Cell(arm, self.outline.seeds[0]), trial._trial_id, trial.number, trial.params)
        self._set(claim.trial, "worker", process.facts())
        self.beat(claim, 0)
        return claim

    def _refuse(self, trial: Trial, reason: str) -> FrozenTrial | None:
        """End a proposal that does not count; return nothing, so that another one is asked for."""
        nobody = Claim("", Cell("", -1), trial._trial_id, trial.number)
        self._end(nobody, TrialState.FAIL, {"refused": reason})
        return None

    def _again(self, claim: Claim, changes: Mapping[str, Any]) -> None:
        """Enqueue what an ended trial was of; nothing if its process died before it had proposed."""
        if claim.unit:
            super()._again(claim, changes)

    def _units(self, below: int | None = None) -> dict[str, FrozenTrial]:
        """Return the trial that counts of every proposal, failed ones included."""
        trials = self._trials()
        return latest(trial for trial in trials if below is None or trial.number < below)

    def _runs(self, arm: str, trial: FrozenTrial) -> list[Status]:
        """Say how the runs of one proposal stand; those that were given up are left out.

        Its trial is one thing to claim, and so of its runs to come one waits at most.
        """
        facts, left = facts_of(trial), self._left(trial)
        over = [seed for seed in self.outline.seeds if seed in facts and seed not in left]
        done = [done_run(Cell(arm, seed), facts[seed]) for seed in over]
        if not left:
            return done
        now = self._status(Cell(arm, left[0]), trial)
        later: State = "failed" if now.state == "failed" else "missing"
        rest = replace(now, state=later, iteration=0, worker=None)
        return [*done, now, *(replace(rest, cell=Cell(arm, seed)) for seed in left[1:])]
