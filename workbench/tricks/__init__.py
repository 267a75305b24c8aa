"""The registry: every file in a slot's folder is a trick; plugins add more."""

from functools import cache
from importlib import import_module
from pathlib import Path

from workbench.plugins import Plugin, loaded
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


def registry() -> dict[str, type[Trick]]:
    """Return every trick's class by name, in the order of the PPO update; a slot's plugins come last.

    Raises:
        ValueError: if two tricks share a name, or an installed plugin cannot be loaded.
    """
    return _merged(loaded())


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


@cache
def _merged(plugins: tuple[Plugin, ...]) -> dict[str, type[Trick]]:
    """Add plugins to the tricks of this package; what is kept is kept per set of plugins."""
    kinds, places = dict(built_in()), dict.fromkeys(built_in(), "this package")
    for plugin in plugins:
        for kind in plugin.tricks:
            if kind.name in kinds:
                raise ValueError(
                    f"{plugin.place} defines {kind.name}, which is a trick of {places[kind.name]};"
                    " give the class another name"
                )
            kinds[kind.name], places[kind.name] = kind, plugin.place
    order = list(SLOTS)
    return dict(sorted(kinds.items(), key=lambda item: order.index(item[1].slot)))
