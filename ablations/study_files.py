"""Studies from files and the command line, checked before anything runs; a mistake is one sentence."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablations.study import Study, as_paths
from workbench.settings import sentence
from workbench.tasks import task_settings
from workbench.yaml_files import parse_yaml, read_yaml


def load_study(
    path: Path, changes: Mapping[str, Any] | None = None, plugins: Sequence[str] = ()
) -> Study:
    """Read a study file, change some of its keys, and check all of it before anything runs.

    Args:
        path: YAML file; the study's name is the file's unless it says otherwise.
        changes: dotted key -> value, such as {"ppo.iterations": 20}.
        plugins: files with tricks, besides those of the study file.
    Raises:
        ValueError: for any mistake, in one sentence that names the file, the changes if the file alone
            has no mistake, and the nearest right name.
        FileNotFoundError: if the file, or a plugin, is not there.
    """
    content = {"name": path.stem, **read_yaml(path)}
    try:
        content["plugins"] = [*as_paths(content.get("plugins", []), path.parent), *plugins]
    except ValueError as error:
        raise ValueError(f"{path}: plugins: {error}") from None
    changed = deepcopy(content)
    for key, value in (changes or {}).items():
        _put(changed, key, value)
    try:
        return make_study(changed, str(path))
    except ValueError:
        if not changes or not _is_sound(content):
            raise
    return make_study(changed, f"{path} with {', '.join(changes)} of the command line")


def _is_sound(content: Mapping[str, Any]) -> bool:
    """Say whether a study file has no mistake of its own."""
    try:
        make_study(content, "")
    except ValueError:
        return False
    return True


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
        ValueError: if one has no `=`, or nothing behind it.
    """
    changes = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"{option} {assignment}: write {option} key=value")
        if not value.strip():
            raise ValueError(f"{option} {assignment}: give it a value")
        changes[key.strip()] = parse_yaml(value, f"{option} {key}")
    return changes


def parse_seeds(text: str) -> int | list[int]:
    """Read `--seeds`: a number of seeds, or a list of them such as `0,3`, or `3,` for seed 3 alone.

    Raises:
        ValueError: if it is neither.
    """
    parts = text.removesuffix(",").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(
            "--seeds must be a number or a list such as 0,3 (`--seeds 3,` is seed 3 alone),"
            f" got {text!r}"
        )
    return [int(part) for part in parts] if "," in text else int(text)


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
        if not isinstance(content, dict):
            raise ValueError(f"--set {key}: '{part}' has no keys of its own")
    content[last] = value
