"""Every trick trains: alone beside vanilla PPO, and missing from every recipe that has it."""

import math
from pathlib import Path

import pytest

from tests.builders import SETTINGS, ListTracker, TinyTask, make_run
from workbench.recipe import Recipe
from workbench.recipes import recipes
from workbench.recipes.vanilla import VANILLA
from workbench.registry import registry
from workbench.stages.prepare import Prepared
from workbench.tasks.base import Tokens
from workbench.tricks import TEXTBOOK

SMOKE = SETTINGS.model_copy(
    update={
        "iterations": 2, "rollout_size": 32, "minibatch_size": 8, "epochs": 1, "eval_every": 2,
        "eval_prompts": 4, "checkpoint_every": 2,
    }
)  # fmt: skip
REMOVALS = [
    (recipe.name, trick.name)
    for recipe in recipes().values()
    for trick in recipe.tricks
    if trick.name not in TEXTBOOK
]


class TaskWithResponses(TinyTask):
    """Has a response of its own to every prompt."""

    def reference_responses(self, prompts: list[Tokens]) -> list[Tokens]:  # type: ignore[override]
        return [(3, 4, 1) for _ in prompts]


def train(recipe: Recipe, prepared: Prepared, folder: Path) -> None:
    """Train for two iterations; every metric has to be finite, and the policy has to have moved."""
    run = make_run(prepared, folder, recipe, settings=SMOKE, task=TaskWithResponses())
    tracker = ListTracker()
    run.train(tracker)
    assert [step for step, _ in tracker.records] == [0, 1, 2]
    wrong = [name for _, metrics in tracker.records for name in metrics if not _is_fine(metrics[name])]
    assert not wrong
    assert all(metrics["stability/nonfinite_count"] == 0 for _, metrics in tracker.records)


def _is_fine(value: float) -> bool:
    return math.isfinite(value) and abs(value) < 1e6


@pytest.mark.parametrize("name", registry())
def test_a_trick_added_to_vanilla_trains(name: str, prepared: Prepared, folder: Path) -> None:
    kind = registry()[name]
    if set(kind.requires) - {trick.name for trick in VANILLA.tricks}:
        with pytest.raises(ValueError, match=f"^{name} needs .*, which recipe vanilla lacks$"):
            VANILLA.plus(kind())
    company = [registry()[needed]() for needed in kind.requires]
    train(VANILLA.plus(*company, kind()), prepared, folder)


@pytest.mark.parametrize(("recipe", "name"), REMOVALS)
def test_a_recipe_without_one_of_its_tricks_trains(
    recipe: str, name: str, prepared: Prepared, folder: Path
) -> None:
    whole = recipes()[recipe]
    needing = [trick.name for trick in whole.tricks if name in trick.requires]
    if needing:
        with pytest.raises(
            ValueError, match=f"^{needing[0]} needs {name}, which recipe {recipe} lacks$"
        ):
            whole.without(name)
    train(whole.without(name, *needing), prepared, folder)
