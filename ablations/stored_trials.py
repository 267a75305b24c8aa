"""A study's trials as they stand in Optuna's storage, which is waited for while it is away."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ablations.beats import AttributeBeats, Beat, Beats, FileBeats
from ablations.cells import Cell
from ablations.folder import StudyFolder
from ablations.glance import glance, without_cache
from ablations.outline import Outline
from ablations.processes import Process
from ablations.records import State, Status
from ablations.storage import open_storage, patiently

AGREEMENT = "agreement"
"""Attribute of the study under which `share` keeps what was agreed on."""
HOPELESS = "hopeless"
"""Attribute of a trial that is not tried again: each process that trained its cell died."""


class StoredTrials:
    """The trials of a study, and how each of its cells stands by them."""

    def __init__(self, folder: StudyFolder, outline: Outline):
        """Open the storage.

        Args:
            folder: of the study.
            outline: what the study consists of.
        Raises:
            StorageError: if it cannot be reached.
        """
        self.folder, self.outline = folder, outline
        self.storage = open_storage(outline.storage, folder.journal)
        self._study_id = patiently(self._find_or_make)
        self._beats: Beats = FileBeats() if self.is_on_disk else AttributeBeats(self.storage)
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
        return self._study()

    @property
    def agreement(self) -> Mapping[str, Any]:
        """What `share` kept; empty before."""
        return dict(self._attribute(AGREEMENT) or {})

    def share(self, agreement: Mapping[str, Any]) -> None:
        """Keep what the study's processes agreed on beside the trials, for hosts without its folder."""
        self._keep(AGREEMENT, dict(agreement))

    def status(self) -> list[Status]:
        """Say how every cell stands, in the order of the design."""
        trials = latest(self._glance())
        return [
            self._ended.get(name) or self._status(cell, trials.get(name))
            for name, cell in self.outline.cells.items()
        ]

    @property
    def shortfall(self) -> str | None:
        """Why fewer cells are run than were asked for; None if they are not."""
        return None

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

    def _study(self, sampler: BaseSampler | None = None) -> Study:
        name, storage = self.folder.name, self.storage
        return patiently(lambda: optuna.load_study(study_name=name, storage=storage, sampler=sampler))

    def _attribute(self, key: str) -> Any:
        """Return an attribute of the study; None before it is kept."""
        return patiently(lambda: self.storage.get_study_user_attrs(self._study_id)).get(key)

    def _keep(self, key: str, content: Any) -> None:
        patiently(lambda: self.storage.set_study_user_attr(self._study_id, key, content))

    def _create(self, trial: FrozenTrial) -> None:
        patiently(lambda: self.storage.create_new_trial(self._study_id, template_trial=trial))

    def _beat_of(self, trial: FrozenTrial) -> Beat:
        return self._beats.read(trial, self.folder.beat(trial.user_attrs.get("cell", "")))

    def _get(self, trial: int) -> FrozenTrial:
        return patiently(lambda: self.storage.get_trial(trial))

    def _set(self, trial: int, key: str, content: Any) -> None:
        patiently(lambda: self.storage.set_trial_user_attr(trial, key, content))

    def _glance(self, cell: str | None = None) -> Sequence[FrozenTrial]:
        return patiently(lambda: glance(self.storage, self._study_id, cell))

    def _trials(self, *states: TrialState) -> Sequence[FrozenTrial]:
        storage, wanted = (without_cache(self.storage), states) if states else (self.storage, None)
        return patiently(lambda: storage.get_all_trials(self._study_id, deepcopy=False, states=wanted))


def latest(trials: Iterable[FrozenTrial]) -> dict[str, FrozenTrial]:
    """Return the trial that counts of each cell: the one that completed, else the last."""
    counting: dict[str, FrozenTrial] = {}
    for trial in trials:
        name = trial.user_attrs.get("cell")
        if name is None or "refused" in trial.user_attrs:
            continue
        known = counting.get(name)
        if known is None or known.state != TrialState.COMPLETE:
            counting[name] = trial
    return counting


def _is_given_up(attributes: Mapping[str, Any], retries: int) -> bool:
    """Say whether a failed trial was its cell's last."""
    return "error" in attributes and (HOPELESS in attributes or attributes.get("attempt", 0) >= retries)
