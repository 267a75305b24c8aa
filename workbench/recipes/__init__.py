"""Published sets of tricks, each cited."""

from functools import cache

from workbench.names import unknown
from workbench.recipe import Recipe
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA


@cache
def recipes() -> dict[str, Recipe]:
    """Return every recipe by name."""
    return {recipe.name: recipe for recipe in (VANILLA, PPO_MAX)}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in recipes():
        raise ValueError(unknown("recipe", name, recipes()))
    return recipes()[name]
