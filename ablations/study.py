"""A study file: which recipes, over which seeds, on which task. Every mistake in it is one sentence."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from workbench.names import unknown
from workbench.plugins import load_plugins
from workbench.recipe import Recipe
from workbench.recipes import find_recipe
from workbench.settings import (
    CollapseRule,
    PpoSettings,
    PrepareSettings,
    PruneSettings,
    Settings,
    TaskSettings,
    sentence,
)
from workbench.tasks import task_settings
from workbench.textbook import textbook_optimisation, textbook_sampling
from workbench.trick import Value
from workbench.tricks import registry
from workbench.yaml_files import parse_yaml, read_yaml

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"


def _as_seeds(seeds: Any) -> Any:
    if isinstance(seeds, list):
        return seeds
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"it should be a number of seeds, or a list of them, got {seeds!r}")
    return list(range(seeds))


def _as_paths(files: Any, folder: Path | None = None) -> Any:
    """Make the paths of plugins absolute, each once; `folder` is where relative ones start."""
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"it should be a list of files, got {files!r}")
    start = folder or Path()
    return list(dict.fromkeys(str((start / Path(file).expanduser()).resolve()) for file in files))


def _as_arm(arm: Any) -> Any:
    if not isinstance(arm, str | dict | Arm):
        raise ValueError(f"it should be a recipe's name, or recipe, with, without, got {arm!r}")
    return {"recipe": arm} if isinstance(arm, str) else arm


class Arm(Settings):
    """A recipe, perhaps with some tricks changed, added or left out."""

    model_config = ConfigDict(populate_by_name=True)

    recipe: str = Field(description="name of a published recipe: see `workbench recipes`")
    with_: dict[str, bool | int | float | str] = Field(
        {}, alias="with", description="`trick.field: value`, or `trick: true` to add it as it is"
    )
    without: list[str] = Field([], description="tricks to leave out")


class Study(Settings):
    """Arms that are compared over the same seeds, on the same task and the same prepared models."""

    name: str = Field(pattern=NAME, description="of the MLflow experiment and the folder")
    question: str = Field("", description="what the study is to answer, in words")
    plugins: Annotated[list[str], BeforeValidator(_as_paths)] = Field(
        [], description="files with tricks of your own, relative to the study file"
    )
    task: TaskSettings = TaskSettings()
    prepare: PrepareSettings = PrepareSettings()
    ppo: PpoSettings = PpoSettings()
    arms: dict[Annotated[str, Field(pattern=NAME)], Annotated[Arm, BeforeValidator(_as_arm)]] = Field(
        min_length=1, description="what is compared, by name"
    )
    baseline: str | None = Field(None, description="arm that the others are compared with")
    seeds: Annotated[list[int], BeforeValidator(_as_seeds)] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="a number of seeds, or a list of them"
    )
    collapse: CollapseRule = Field(CollapseRule(), description="when a run counts as collapsed")
    prune: PruneSettings | None = Field(
        None,
        description="ends runs that have collapsed; by default none, as collapse is what a study of"
        " arms and seeds is to find",
    )
    retries: int = Field(
        0,
        ge=0,
        description="how often one command tries a cell again that failed; what failed for its"
        " settings fails again, so 0",
    )

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        load_plugins(self.plugins)
        if self.baseline is not None and self.baseline not in self.arms:
            raise ValueError(unknown("baseline", self.baseline, self.arms))
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must be distinct and not negative, got {self.seeds}")
        _refuse_twins(self.recipes)
        return self

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each arm, under the arm's name, in the order of the file."""
        recipes = {}
        for name, arm in self.arms.items():
            try:
                recipe = change_recipe(find_recipe(arm.recipe), arm.with_, arm.without)
                self._try(recipe)
            except ValueError as error:
                raise ValueError(f"arm {name}: {error}") from None
            recipes[name] = Recipe(name, recipe.tricks)
        return recipes

    def _try(self, recipe: Recipe) -> None:
        """Let the recipe's tricks refuse a rollout size that they do not divide."""
        sampling = recipe.sampling(textbook_sampling(self.ppo, self.ppo.rollout_size))
        recipe.optimisation(textbook_optimisation(self.ppo), sampling.buffer_size)


def change_recipe(recipe: Recipe, values: Mapping[str, Value], without: Sequence[str]) -> Recipe:
    """Return a recipe without some tricks and with others changed or added.

    Args:
        recipe: where to start.
        values: `trick.field` -> value, or `trick` -> True for a trick as it is.
        without: tricks to leave out.
    Raises:
        ValueError: for an unknown name, a value outside its domain, or tricks that exclude each other.
    """
    added = [key for key, value in values.items() if "." not in key and value is True]
    changed = {key: value for key, value in values.items() if key not in added}
    names = {key.partition(".")[0]: None for key in values}
    for key in changed:
        if "." not in key:
            raise ValueError(f"'{key}: {changed[key]}' says no field; write '{key}.<field>' or true")
    for name in names:
        if name not in registry():
            raise ValueError(unknown("trick", name, registry()))
        if name in without:
            raise ValueError(f"{name} stands both in 'with' and in 'without'")
    _refuse_rivals(list(names))
    fewer = recipe.without(*without)
    present = {trick.name for trick in fewer.tricks}
    fresh = [registry()[name]() for name in added if name not in present]
    return fewer.plus(*fresh).set(changed)


def load_study(
    path: Path, changes: Mapping[str, Any] | None = None, plugins: Sequence[str] = ()
) -> Study:
    """Read a study file, change some of its keys, and check all of it before anything runs.

    Args:
        path: YAML file; the study's name is the file's unless it says otherwise.
        changes: dotted key -> value, such as {"ppo.iterations": 20}.
        plugins: files with tricks, besides those of the study file.
    Raises:
        ValueError: for any mistake, in one sentence that names the file and the nearest right name.
        FileNotFoundError: if the file, or a plugin, is not there.
    """
    content = {"name": path.stem, **read_yaml(path)}
    try:
        content["plugins"] = [*_as_paths(content.get("plugins", []), path.parent), *plugins]
    except ValueError as error:
        raise ValueError(f"{path}: plugins: {error}") from None
    for key, value in (changes or {}).items():
        _put(content, key, value)
    return make_study(content, str(path))


def make_study(content: Mapping[str, Any], place: str) -> Study:
    """Check the content of a study file.

    Args:
        content: keys of `Study`.
        place: the file it comes from, for the error.
    Raises:
        ValueError: for any mistake, in one sentence.
    """
    try:
        study = Study.model_validate(content)
        task_settings(study.task)
    except ValidationError as error:
        raise ValueError(sentence(error, place)) from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return study


def change_study(study: Study, changes: Mapping[str, Any], plugins: Sequence[str] = ()) -> Study:
    """Return a study with some keys changed, and perhaps more plugins, checked again.

    Raises:
        ValueError: for any mistake, in one sentence.
    """
    content = study.model_dump(by_alias=True)
    content["plugins"] += plugins
    for key, value in changes.items():
        _put(content, key, value)
    return make_study(content, "command line")


def make_arm_study(
    recipe: str,
    values: Sequence[str],
    without: Sequence[str],
    task: str,
    iterations: int | None,
    changes: Sequence[str],
    plugins: Sequence[str] = (),
) -> Study:
    """Make the study of one arm that `workbench train` asks for; the arm is named after its changes.

    Args:
        recipe: where to start.
        values: `trick.field=value`, or `trick`.
        without: tricks to leave out.
        task: name of the task.
        iterations: of PPO; None for the default.
        changes: `key=value` for any other setting.
        plugins: files with tricks.
    Raises:
        ValueError: for any mistake, in one sentence.
    """
    given = [value if "=" in value else f"{value}=true" for value in values]
    added = parse_changes(given, "--with")
    signs = [f"+{value}" for value in values] + [f"-{name}" for name in without]
    arm = recipe + "".join(signs).replace("=", "_")
    content: dict[str, Any] = {
        "name": "train",
        "plugins": list(plugins),
        "task": {"name": task},
        "arms": {arm: {"recipe": recipe, "with": added, "without": list(without)}},
        "ppo": {} if iterations is None else {"iterations": iterations},
    }
    for key, value in parse_changes(changes).items():
        _put(content, key, value)
    return make_study(content, "command line")


def parse_changes(assignments: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read `key=value` options; values are YAML, so numbers, lists and words are what they look like.

    Raises:
        ValueError: if one has no `=`.
    """
    changes = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"{option} {assignment}: write {option} key=value")
        changes[key.strip()] = parse_yaml(value, f"{option} {key}")
    return changes


def parse_seeds(text: str) -> int | list[int]:
    """Read `--seeds`: a number of seeds, or a list of them such as 0,3.

    Raises:
        ValueError: if it is neither.
    """
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--seeds must be a number or a list such as 0,3, got {text}")
    return int(text) if len(parts) == 1 else [int(part) for part in parts]


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
        if not isinstance(content, dict):
            raise ValueError(f"--set {key}: '{part}' has no keys of its own")
    content[last] = value


def _refuse_rivals(names: Sequence[str]) -> None:
    by_group: dict[str, str] = {}
    for name in names:
        group = registry()[name].group
        if group and group in by_group:
            raise ValueError(
                f"{by_group[group]} and {name} exclude each other (group {group}); keep one of them"
            )
        by_group |= {group: name} if group else {}


def _refuse_twins(recipes: Mapping[str, Recipe]) -> None:
    first: dict[str, str] = {}
    for name, recipe in recipes.items():
        twin = first.setdefault(recipe.fingerprint(), name)
        if twin != name:
            raise ValueError(f"arms {twin} and {name} are the same recipe; drop one of them")
