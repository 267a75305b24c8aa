"""The folder of a study: what was agreed on when it began, checkpoints, locks, the report."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ablations.designs import Cell, named_arms
from ablations.locks import LockedError, holder, try_to_hold, write_whole
from ablations.study import Study, change_study, load_study, make_study
from workbench.names import unknown
from workbench.plugins import source_hash
from workbench.stages.prepare import Prepared
from workbench.tasks import task_settings
from workbench.tracking import Store, default_store


class ChangedStudyError(ValueError):
    """A study of this name was begun with other settings."""


@dataclass(frozen=True)
class Plan:
    """What a study's processes have to agree on, kept in `study.json`.

    Attributes:
        study: the study, with its command-line changes.
        tracking_uri: MLflow store; None is the home folder's own.
        device: "auto", "cpu" or "cuda".
        threads: torch threads of each worker; kept, so that resumed numbers are the same bits.
        command: what to type to go on.
        settings: all that decides the numbers besides the recipes, flattened.
        recipes: hash of each arm's recipe.
    """

    study: Study
    tracking_uri: str | None
    device: str
    threads: int
    command: str
    settings: Mapping[str, Any]
    recipes: Mapping[str, str]

    @property
    def settings_hash(self) -> str:
        """Hash of all that decides the numbers besides the recipes and the seeds."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Cells by name, in the order in which they run."""
        return {cell.name: cell for cell in named_arms(self.study)}


def make_plan(
    study: Study, *, tracking_uri: str | None, device: str, threads: int, command: str
) -> Plan:
    """Take down what decides the numbers of a study."""
    settings = {
        "task": {"name": study.task.name, **task_settings(study.task).model_dump()},
        "prepare": study.prepare.model_dump(),
        "ppo": study.ppo.model_dump(exclude={"checkpoint_every"}),
    }
    recipes = {arm: recipe.fingerprint() for arm, recipe in study.recipes.items()}
    return Plan(study, tracking_uri, device, threads, command, dict(_flat(settings)), recipes)


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study below the home folder.

    Attributes:
        home: where everything lies.
        name: of the study.
    """

    home: Path
    name: str

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.home / "studies" / self.name

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.path / "journal.log"

    @property
    def claims(self) -> Path:
        """Lock that is held while a trial changes hands."""
        return self.path / "claims.lock"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    def cell(self, cell: Cell) -> Path:
        """Folder of one cell: checkpoints, progress, and in the end the policy."""
        return self.path / "cells" / cell.folder_name

    def cell_lock(self, cell: Cell) -> Path:
        """Lock that is held while the cell is trained."""
        return self.cell(cell) / "lock"

    def progress(self, cell: Cell) -> Path:
        """Small file that says how far the cell has come."""
        return self.cell(cell) / "progress.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study, so that two starts of it do not meet.

        Raises:
            LockedError: if it is running, with the process that runs it.
        """
        path = self.path / "study.lock"
        file = try_to_hold(path)
        if file is None:
            raise LockedError(
                f"study {self.name} is already running as process {holder(path)};"
                f" see `workbench status {self.name}`, or join it with `workbench worker {self.name}`"
            )
        with file:
            yield

    def store(self, plan: Plan) -> Store:
        """Return the study's MLflow store."""
        return default_store(self.home, plan.tracking_uri)

    def read_plan(self) -> Plan | None:
        """Return what was agreed on, or None if the study was not begun.

        Raises:
            ChangedStudyError: if the code, or a plugin, has since given a recipe other contents.
            FileNotFoundError: if a plugin is gone.
        """
        path = self.path / "study.json"
        if not path.is_file():
            return None
        content = json.loads(path.read_text())
        plan = Plan(**{**content, "study": make_study(content["study"], str(path))})
        for arm, recipe in plan.study.recipes.items():
            if recipe.fingerprint() != plan.recipes[arm]:
                kinds = [type(trick) for trick in recipe.tricks]
                edited = [f"plugin trick {kind.name}" for kind in kinds if source_hash(kind)]
                what = " or ".join([f"recipe {plan.study.arms[arm].recipe}", *edited])
                raise ChangedStudyError(
                    f"study {self.name} was begun when {what} had other contents;"
                    f" give the study another name, or delete {self.path}"
                )
        return plan

    def plan(self) -> Plan:
        """Return what was agreed on.

        Raises:
            FileNotFoundError: if the study was not begun.
        """
        plan = self.read_plan()
        if plan is None:
            raise FileNotFoundError(f"study {self.name} was not begun; run `workbench ablate` first")
        return plan

    def compare(self, plan: Plan) -> Plan:
        """Check that the study is new, or the plan extends it by arms and seeds at most.

        Returns:
            the plan that counts, with the threads and the store with which the study began.
        Raises:
            ChangedStudyError: if it was begun with other settings; says which.
        """
        old = self.read_plan()
        if old is None:
            return plan
        changes = list(_changes(old, plan))
        if changes:
            raise ChangedStudyError(
                f"study {self.name} was begun with other settings: {'; '.join(changes[:3])};"
                f" undo the change, give the study another name, or delete {self.path}"
            )
        return replace(plan, threads=old.threads, tracking_uri=old.tracking_uri)

    def agree(self, plan: Plan) -> Plan:
        """Begin the study, or extend it; what was agreed on is written down for the workers."""
        plan = self.compare(plan)
        fields = {key: value for key, value in vars(plan).items() if key in Plan.__dataclass_fields__}
        write_whole(self.path / "study.json", fields | {"study": plan.study.model_dump(by_alias=True)})
        return plan

    def write_prepared(self, prepared: Prepared, start: Mapping[str, Any], seconds: float) -> None:
        """Keep what the workers start from; paths below the home folder stay relative to it."""
        folders = {name: str(_below(self.home, path)) for name, path in _folders(prepared).items()}
        facts = {"start": dict(start), "seconds": seconds}
        content = {**asdict(prepared), **folders, "facts": {**prepared.facts, **facts}}
        write_whole(self.path / "prepared.json", content)

    def read_prepared(self) -> Prepared | None:
        """Return the models that all arms share, or None if they are not prepared or were deleted."""
        path = self.path / "prepared.json"
        if not path.is_file():
            return None
        content = json.loads(path.read_text())
        folders = {name: self.home / content[name] for name in ("base", "sft", "reward_model")}
        if not all(folder.is_dir() for folder in folders.values()):
            return None
        return Prepared(**{**content, **folders})


def find_study(home: Path, name: str) -> StudyFolder:
    """Return the folder of a study that was begun.

    Raises:
        FileNotFoundError: if there is none of this name, with the nearest.
    """
    known = [path.parent.name for path in (home / "studies").glob("*/study.json")]
    if name not in known:
        raise FileNotFoundError(unknown("study", name, known, where=str(home)))
    return StudyFolder(home, name)


def open_study(
    argument: str, home: Path, changes: Mapping[str, Any], plugins: Sequence[str] = ()
) -> Study:
    """Read a study file, or a study that was begun, with changes from the command line.

    Args:
        argument: path of a study file, or name of a study in the home folder.
        home: where studies that were begun lie.
        changes: dotted key -> value.
        plugins: files with tricks, besides those of the study.
    Raises:
        FileNotFoundError: if there is no such file, study or plugin, with the nearest.
        ValueError: for any mistake in it, in one sentence.
    """
    path = Path(argument)
    if path.suffix in (".yaml", ".yml") or path.is_file() or len(path.parts) > 1:
        return load_study(path, changes, plugins)
    return change_study(find_study(home, argument).plan().study, changes, plugins)


def _changes(old: Plan, new: Plan) -> Iterator[str]:
    for key in sorted({*old.settings, *new.settings}):
        before, after = old.settings.get(key), new.settings.get(key)
        if json.dumps(before) != json.dumps(after):
            yield f"{key} was {before} and is now {after}"
    for arm, recipe in old.recipes.items():
        if arm not in new.recipes:
            yield f"arm {arm} is gone"
        elif new.recipes[arm] != recipe:
            yield f"arm {arm} is another recipe now"
    gone = [seed for seed in old.study.seeds if seed not in new.study.seeds]
    if gone:
        yield f"seeds {', '.join(map(str, gone))} are gone"
    if new.tracking_uri and new.tracking_uri != old.tracking_uri:
        yield f"the MLflow store was {old.tracking_uri or 'the default'} and is now {new.tracking_uri}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.loads(json.dumps(value, default=str))


def _folders(prepared: Prepared) -> dict[str, Path]:
    return {
        "base": prepared.base,
        "sft": prepared.sft,
        "reward_model": prepared.reward_model,
    }


def _below(home: Path, path: Path) -> Path:
    return path.relative_to(home) if path.is_relative_to(home) else path.resolve()
