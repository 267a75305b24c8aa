"""Published sets of tricks, each cited."""

from functools import cache
from importlib import import_module

from workbench.names import unknown
from workbench.recipe import Recipe

NAMES = (
    "vanilla",
    "ppo_max",
    "moss_rlhf_en",
    "moss_rlhf_zh",
    "instructgpt",
    "lm_human_preferences",
    "n_plus",
    "trl",
    "trlx",
    "rl4lms_ppo",
    "rl4lms_nlpo",
    "openrlhf",
    "verl",
    "deepspeed_chat",
    "rloo",
    "grpo",
    "dr_grpo",
    "dapo",
    "gspo",
    "reinforce_plus_plus",
    "lite_ppo",
)
"""The paper's two ends, then systems with a critic by age, then methods without one."""


@cache
def recipes() -> dict[str, Recipe]:
    """Return every recipe by name."""
    return {name: getattr(import_module(f"{__name__}.{name}"), name.upper()) for name in NAMES}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in recipes():
        raise ValueError(unknown("recipe", name, recipes()))
    return recipes()[name]
