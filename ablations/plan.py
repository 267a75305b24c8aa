"""What a study's processes agree on before the first trial, and which changes a begun study takes."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.beats import read_json
from ablations.cells import Cell
from ablations.folder import StudyFolder, find_study
from ablations.outline import Outline
from ablations.search_space import distributions, parameters, varied_tricks
from ablations.storage import masked
from ablations.study import Study
from ablations.study_files import change_study, load_study, make_study
from workbench.locks import write_whole
from workbench.plugins import source_hash
from workbench.recipe import Recipe
from workbench.tasks import task_settings
from workbench.trick import Value

GRACE_SECONDS = 60.0


class ChangedStudyError(ValueError):
    """A study of this name was begun with other settings."""


@dataclass(frozen=True)
class Plan:
    """What a study's processes have to agree on, kept in `study.json` and in the trials' storage.

    Attributes:
        study: the study, with its command-line changes.
        tracking_uri: MLflow store; None is the home folder's own.
        storage: address of the trials; None is a journal file in the study's folder.
        device: "auto", "cpu" or "cuda".
        threads: torch threads of each worker; kept, so that resumed numbers are the same bits.
        command: what to type to go on.
        settings: all that decides the numbers besides the recipes, flattened.
        recipes: hash of the recipe of each arm that this study trains.
        grace_seconds: silence after which a worker on another machine is taken for dead.
    """

    study: Study
    tracking_uri: str | None
    storage: str | None
    device: str
    threads: int
    command: str
    settings: Mapping[str, Any]
    recipes: Mapping[str, str]
    grace_seconds: float = GRACE_SECONDS

    @property
    def settings_hash(self) -> str:
        """Hash of all that decides the numbers besides the recipes and the seeds."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def outline(self) -> Outline:
        """What can be said of the study without its recipes."""
        return Outline.of(self.content())

    def recipe(self, arm: str, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe of an arm, or of a search's proposal by its parameters."""
        if self.study.search and parameters:
            return Recipe(arm, self.study.space.rebuild(parameters).tricks)
        return self.study.recipes[arm]

    def stand_in(self, cell: Cell) -> Cell:
        """Return a cell whose recipe is known, for a search's proposal that nobody made yet."""
        known = self.study.recipes
        return cell if cell.arm in known else Cell(next(iter(known)), cell.seed)

    def trial(self, cell: Cell) -> FrozenTrial:
        """Make the waiting trial of a cell: which tricks it has, how they are set, the seed."""
        point = self._points[cell.arm] | {"seed": cell.seed}
        space = {name: self._space[name] for name in point}
        return create_trial(state=TrialState.WAITING, params=point, distributions=space)

    def content(self) -> dict[str, Any]:
        """Return it as plain data, from which `restore_plan` makes it again."""
        fields = {key: getattr(self, key) for key in Plan.__dataclass_fields__}
        return fields | {"study": self.study.model_dump(by_alias=True)}

    @cached_property
    def _points(self) -> dict[str, dict[str, Value]]:
        varied = varied_tricks(list(self.study.recipes.values()))
        points = {arm: parameters(recipe, 0, varied) for arm, recipe in self.study.recipes.items()}
        return _telling(points)

    @cached_property
    def _space(self) -> dict[str, Any]:
        return dict(distributions(list(self._points.values())))


def make_plan(
    study: Study,
    *,
    tracking_uri: str | None,
    device: str,
    threads: int,
    command: str,
    storage: str | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> Plan:
    """Take down what decides the numbers of a study."""
    # Some only where they were chosen, so that studies from before they existed go on.
    unchosen = {"reward_model": study.prepare.reward_model.unchosen()}
    settings = {
        "task": {"name": study.task.name, **task_settings(study.task).model_dump()},
        "prepare": study.prepare.model_dump(exclude=unchosen),
        "ppo": study.ppo.model_dump(exclude=study.ppo.IDLE),
        "collapse": study.collapse.model_dump(exclude_defaults=True),
        "prune": study.prune.model_dump() if study.prune else {},
        "search": study.search.model_dump(exclude={"trials"}) if study.search else {},
    }
    trained = {arm: recipe for arm, recipe in study.recipes.items() if arm not in study.lent}
    recipes = {arm: recipe.fingerprint() for arm, recipe in trained.items()}
    return Plan(
        study, tracking_uri, storage, device, threads, command, dict(_flat(settings)), recipes,
        grace_seconds,
    )  # fmt: skip


def chosen(study: Study) -> dict[str, Any]:
    """Return what a study sets of task, preparation and PPO otherwise than by default, by dotted key."""
    prepare = study.prepare.model_dump(exclude_defaults=True)
    ppo = study.ppo.model_dump(exclude_defaults=True, exclude=study.ppo.UNTOLD)
    return dict(_flat({"task": study.task.own(), "prepare": prepare, "ppo": ppo}))


def read_plan(folder: StudyFolder) -> Plan | None:
    """Return what was agreed on, or None if the study was not begun.

    Raises:
        ChangedStudyError: if the code, or a plugin, has since given a recipe other contents.
        FileNotFoundError: if a plugin is gone.
    """
    content = read_json(folder.file)
    return restore_plan(folder, content) if content else None


def restore_plan(folder: StudyFolder, content: Mapping[str, Any]) -> Plan:
    """Return the plan of which this is the content.

    Raises:
        ChangedStudyError: if the code, or a plugin, has since given a recipe other contents.
        FileNotFoundError: if a plugin is gone.
    """
    plan = Plan(**{**content, "study": make_study(content["study"], str(folder.file))})
    for arm, agreed in plan.recipes.items():
        recipe = plan.study.recipes[arm]
        if recipe.fingerprint() != agreed:
            kinds = [type(trick) for trick in recipe.tricks]
            edited = [f"plugin trick {kind.name}" for kind in kinds if source_hash(kind)]
            what = " or ".join([f"the recipe of arm {arm}", *edited])
            raise ChangedStudyError(
                f"study {folder.name} was begun when {what} had other contents;"
                f" give the study another name, or delete {folder.path}"
            )
    return plan


def require_plan(folder: StudyFolder) -> Plan:
    """Return what was agreed on.

    Raises:
        FileNotFoundError: if the study was not begun.
    """
    plan = read_plan(folder)
    if plan is None:
        raise FileNotFoundError(f"study {folder.name} was not begun; run `workbench ablate` first")
    return plan


def compare(folder: StudyFolder, plan: Plan) -> Plan:
    """Check that the study is new, or the plan extends it by arms and seeds at most.

    Returns:
        the plan that counts, with the threads and the stores with which the study began.
    Raises:
        ChangedStudyError: if it was begun with other settings; says which.
    """
    old = read_plan(folder)
    if old is None:
        return plan
    told = [*changes(old.content(), plan.content()), *_other_stores(old, plan)]
    if told:
        raise ChangedStudyError(
            f"study {folder.name} was begun with other settings: {'; '.join(told[:3])};"
            f" undo the change, give the study another name, or delete {folder.path}"
        )
    return replace(plan, threads=old.threads, tracking_uri=old.tracking_uri, storage=old.storage)


def agree(folder: StudyFolder, plan: Plan) -> Plan:
    """Begin the study, or extend it; what was agreed on is written down for the workers."""
    plan = compare(folder, plan)
    write_whole(folder.file, plan.content())
    return plan


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
    return change_study(require_plan(find_study(home, argument)).study, changes, plugins)


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Say what differs between the contents of two plans, but for arms and seeds that were added."""
    for key in sorted({*old["settings"], *new["settings"]}):
        before, after = (plan["settings"].get(key, "the default") for plan in (old, new))
        if json.dumps(before) != json.dumps(after):
            yield f"{key} was {before} and is now {after}"
    for arm, recipe in old["recipes"].items():
        if arm not in new["recipes"]:
            yield f"arm {arm} is gone"
        elif new["recipes"][arm] != recipe:
            yield f"arm {arm} is another recipe now"
    gone = [seed for seed in old["study"]["seeds"] if seed not in new["study"]["seeds"]]
    if gone:
        yield f"seeds {', '.join(map(str, gone))} are gone"


def _other_stores(old: Plan, new: Plan) -> Iterator[str]:
    for what, was, now in (
        ("MLflow store", old.tracking_uri or "the default", new.tracking_uri),
        ("storage of trials", old.storage or "a journal file", new.storage),
    ):
        if now and now != was:
            yield f"the {what} was {masked(was)} and is now {masked(now)}"


def _telling(points: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
    """Leave out fields that are set alike wherever they are: they would make each look slow."""
    seen: dict[str, set[Value]] = {}
    for point in points.values():
        for name, value in point.items():
            seen.setdefault(name, set()).add(value)
    told = {name for name, values in seen.items() if "." not in name or len(values) > 1}
    return {arm: {k: v for k, v in point.items() if k in told} for arm, point in points.items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.loads(json.dumps(value, default=str))
