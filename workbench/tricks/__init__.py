"""The tricks of this package: every file in a slot's folder is one."""

from functools import cache
from importlib import import_module
from pathlib import Path

from workbench.trick import SLOTS, Trick

TEXTBOOK = (
    "policy_from_sft",
    "critic_from_sft",
    "gae",
    "clipped_surrogate",
    "value_mse",
    "token_mean",
)
"""The textbook's member of every group that cannot be empty."""


@cache
def built_in() -> dict[str, type[Trick]]:
    """Return the tricks of this package by name, in the order of the PPO update.

    Raises:
        ValueError: if two tricks share a name.
    """
    kinds: dict[str, type[Trick]] = {}
    for slot in SLOTS:
        for file in sorted((Path(__file__).parent / slot).glob("[!_]*.py")):
            if file.stem in kinds:
                raise ValueError(f"two tricks are called {file.stem}")
            class_name = "".join(word.capitalize() for word in file.stem.split("_"))
            kinds[file.stem] = getattr(import_module(f"workbench.tricks.{slot}.{file.stem}"), class_name)
    return kinds
