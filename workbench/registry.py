"""The registry: the tricks of this package, and those of the plugins that are loaded."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from workbench.plugins import Plugin, all_or_none, load_file, loaded
from workbench.trick import SLOTS, Trick
from workbench.tricks import built_in


def registry() -> dict[str, type[Trick]]:
    """Return every trick's class by name, in the order of the PPO update; a slot's plugins come last.

    Raises:
        ValueError: if two tricks share a name, or an installed plugin cannot be loaded.
    """
    return _merged(loaded())


def load_plugins(files: Iterable[str | Path]) -> None:
    """Add the tricks of some files to the registry; a file that is loaded already is left alone.

    Raises:
        FileNotFoundError: if a file is not there, with the nearest that is.
        ValueError: if a file cannot be run, defines no trick, or one whose name is taken.
    """
    with all_or_none():
        for file in files:
            load_file(Path(file).expanduser().resolve())
        registry()


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
