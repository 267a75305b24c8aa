"""Where prompts, demonstrations, preferences and the gold judge come from; tasks by name."""

from importlib import import_module

from pydantic import BaseModel, ValidationError

from workbench.names import unknown
from workbench.settings import TaskSettings, sentence
from workbench.tasks.base import Task

TASKS = {
    "dialogue": ("workbench.tasks.dialogue", "DialogueSettings", "DialogueTask"),
    "randomwalks": ("workbench.tasks.randomwalks", "RandomWalksSettings", "RandomWalksTask"),
    "preferences": ("workbench.tasks.preferences", "PreferencesSettings", "PreferencesTask"),
}
"""Module, settings and class of each task; a task is imported when it is made."""


def task_settings(settings: TaskSettings) -> BaseModel:
    """Check a task's name and the keys that are its own, without reading any data.

    Raises:
        ValueError: in one sentence, if the name, a key or a value is wrong.
    """
    if settings.name not in TASKS:
        raise ValueError(unknown("task", settings.name, TASKS))
    place, settings_name, _ = TASKS[settings.name]
    kind: type[BaseModel] = getattr(import_module(place), settings_name)
    try:
        return kind.model_validate(settings.own())
    except ValidationError as error:
        raise ValueError(sentence(error, f"task {settings.name}")) from None


def make_task(settings: TaskSettings) -> Task:
    """Make a task by its name, with the keys that are its own.

    Args:
        settings: name of the task and its own keys.
    Raises:
        ValueError: in one sentence, if the name, a key, a value or the task's data is wrong.
        FileNotFoundError: in one sentence, if the task's data is not there.
    """
    own = task_settings(settings)
    place, _, task_name = TASKS[settings.name]
    task: Task = getattr(import_module(place), task_name)(own)
    return task
