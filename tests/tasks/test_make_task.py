"""Tasks by name: the right task with its own keys, or one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.preference_data import hh_rows, write_jsonl
from workbench.settings import TaskSettings
from workbench.tasks import TASKS, make_task
from workbench.tasks.dialogue import DialogueTask
from workbench.tasks.preferences import PreferencesTask


def test_the_default_task_is_the_dialogue_with_its_own_keys() -> None:
    task = make_task(TaskSettings.model_validate({"seed": 3, "eval_prompts": 16}))
    assert isinstance(task, DialogueTask)
    assert (task.settings.seed, task.settings.eval_prompts) == (3, 16)


def test_the_preferences_task_is_made_from_its_file(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "a.jsonl", hh_rows())
    own = {"name": "preferences", "data": str(data), "roles": {"human": "\n\nHuman: "}}
    task = make_task(TaskSettings.model_validate(own))
    assert isinstance(task, PreferencesTask)
    assert task.settings.roles.human == "\n\nHuman: "


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"name": "dialog"}, "unknown task 'dialog'; did you mean 'dialogue'?"),
        ({"name": "chess"}, "unknown task 'chess'; known: dialogue, preferences, randomwalks"),
        ({"name": "preferences"}, "task preferences: data: it has to be given"),
        ({"name": "preferences", "data": "a.jsonl", "max_prompt_token": 3},
         "task preferences: unknown key 'max_prompt_token'; did you mean 'max_prompt_tokens'?"),
        ({"name": "preferences", "data": "a.jsonl", "roles": {"humn": "Q:"}},
         "task preferences: unknown key 'humn' in roles; did you mean 'human'?"),
        ({"eval_prompts": 0}, "task dialogue: eval_prompts: it should be greater than 0, got 0"),
    ],
)  # fmt: skip
def test_a_wrong_name_key_or_value_is_one_sentence(own: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_task(TaskSettings.model_validate(own))
    assert str(caught.value) == sentence


def test_a_task_is_imported_only_when_it_is_made() -> None:
    code = "import sys, workbench.tasks; print([n for n in sys.modules if n in sys.argv[1:]])"
    modules = [place for place, _, _ in TASKS.values()]
    heavy = ["torch", "transformers", "datasets", "tokenizers"]
    command = [sys.executable, "-c", code, *modules, *heavy]
    root = Path(__file__).parents[2]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
