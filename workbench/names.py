"""One sentence for a name that is not known, or a file that is not there, with the nearest that is."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from workbench.catalogue.synonyms import SYNONYMS

NEAR = 0.6
"""How alike two names are, from 0 to 1, of which one may be meant by the other."""
MOST_LISTED = 20
"""Names that are listed where none is near; where there are more, a command lists them."""
LISTING = {"trick": "workbench tricks", "recipe": "workbench recipes"}


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "") -> str:
    """Say that `name` is no known `kind`, and which known name is nearest.

    Args:
        kind: what the name should be, such as "trick".
        name: what was given.
        known: the valid names.
        where: what the names belong to, such as "recipe ppo_max".
    Returns:
        one sentence.
    """
    options = sorted(known)
    if kind == "trick" and SYNONYMS.get(name) in options:
        return f"unknown trick '{name}'; here it is called '{SYNONYMS[name]}'"
    near = [option for option in options if _plain(option) == _plain(name)]
    near = near or get_close_matches(name, options, n=1, cutoff=NEAR)
    place = f" in {where}" if where else ""
    listed = f"known: {', '.join(options) or 'none'}"
    if len(options) > MOST_LISTED and kind in LISTING and not where:
        listed = f"see `{LISTING[kind]}`"
    hint = f"did you mean '{near[0]}'?" if near else listed
    return f"unknown {kind} '{name}'{place}; {hint}"


def _plain(name: str) -> str:
    """Leave letters and digits: `PPO-max` for `ppo_max`, a trick's class for its name."""
    return "".join(filter(str.isalnum, name.lower()))


def no_file(path: Path) -> str:
    """Say that a path is no file, as `no_such`, or that it is a folder."""
    if path.is_dir():
        return f"{path} is a folder, not a file"
    return no_such("file", str(path), path.suffix)


def no_such(kind: str, name: str, suffix: str = "") -> str:
    """Say that a path is not there, and the nearest name where it goes wrong.

    Args:
        kind: what the path should be, such as "file or folder".
        name: a path that does not exist; a relative one is looked for in the current folder.
        suffix: of the files that it may have meant, such as ".yaml"; any by default.
    Returns:
        one sentence.
    """
    path = Path(name).expanduser()
    while not path.parent.is_dir():
        path = path.parent
    beside = [other for other in path.parent.iterdir() if other.is_dir() or other.name.endswith(suffix)]
    near = get_close_matches(path.name, sorted(other.name for other in beside), n=1, cutoff=NEAR)
    if near:
        return f"there is no {kind} {name}; did you mean '{path.with_name(near[0])}'?"
    return f"there is no {kind} {name}; {path.parent.absolute()} has nothing like '{path.name}'"


def is_local(name: str) -> bool:
    """Say whether a name means a path, not one of the hub: it is there, looks so, or its folder is."""
    path = Path(name).expanduser()
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    return looks_local or path.exists() or ("/" in name and path.parent.is_dir())
