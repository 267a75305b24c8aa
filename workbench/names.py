"""One sentence for a name that is not known, with the nearest one that is."""

from collections.abc import Iterable
from difflib import get_close_matches

from workbench.catalogue.synonyms import SYNONYMS


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
    near = get_close_matches(name, options, n=1, cutoff=0.5)
    place = f" in {where}" if where else ""
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(options) or 'none'}"
    return f"unknown {kind} '{name}'{place}; {hint}"
