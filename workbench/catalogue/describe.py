"""Tricks and recipes in words: tables and pages for the terminal, plain data for programs."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.catalogue.synonyms import also_called
from workbench.names import unknown
from workbench.recipe import Recipe
from workbench.recipes import recipes
from workbench.registry import registry
from workbench.trick import Trick
from workbench.tricks import TEXTBOOK


def find_trick(name: str) -> type[Trick]:
    """Return the trick of this name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in registry():
        raise ValueError(unknown("trick", name, registry()))
    return registry()[name]


def trick_facts(kind: type[Trick]) -> dict[str, Any]:
    """Return everything that is known of a trick, as plain data."""
    told = _docstring(kind)
    return {
        "name": kind.name,
        "slot": kind.slot,
        "summary": told["summary"],
        "equation": told["equation"],
        "variant": told["variant"],
        "source": told["source"],
        "hyper_parameters": [
            {
                "name": spec.name,
                "default": spec.default,
                "domain": spec.metadata["hyper"].domain(),
                "search": list(spec.metadata["hyper"].search or ()) or None,
                "log": spec.metadata["hyper"].log,
            }
            for spec in kind.hyper_fields()
        ],
        "neutral": kind.neutral,
        "group": kind.group,
        "instead_of": [o.name for o in registry().values() if _rivals(o, kind)],
        "excludes": list(kind.excludes),
        "matches": kind.matches,
        "requires_critic": kind.requires_critic,
        "after": [o.name for o in registry().values() if kind.follows(o)],
        "requires": list(kind.requires),
        "needs": sorted(kind.needs),
        "batch_statistic": kind.batch_statistic,
        "also_called": also_called(kind.name),
        "textbook": kind.name in TEXTBOOK,
        "recipes": [r.name for r in recipes().values() if kind.name in {t.name for t in r.tricks}],
    }


def trick_table() -> Table:
    """List every trick in the order of the PPO update."""
    table = _table("slot", "trick", "hyper-parameters", "what it does")
    slot = ""
    for kind in registry().values():
        facts = trick_facts(kind)
        hypers = ", ".join(f"{h['name']}={plain(h['default'])}" for h in facts["hyper_parameters"])
        name = Text(kind.name, style="bold") + Text(" (textbook)" if facts["textbook"] else "", "dim")
        table.add_row(kind.slot if kind.slot != slot else "", name, hypers, facts["summary"])
        slot = kind.slot
    return table


def trick_page(kind: type[Trick]) -> Group:
    """Describe one trick: slot, equation, variant, source, hyper-parameters, relations."""
    facts = trick_facts(kind)
    lines: list[Any] = [Text(f"{kind.name}: {facts['summary']}", style="bold"), ""]
    if facts["equation"]:
        lines += [Text("\n".join(f"    {line}" for line in facts["equation"].splitlines())), ""]
    relations = {
        "slot": facts["slot"],
        "also called": ", ".join(facts["also_called"]),
        "variant": facts["variant"],
        "source": facts["source"],
        "neutral": _neutral(facts["neutral"]),
        "group": _group(facts),
        "after": ", ".join(facts["after"]),
        "requires": ", ".join(facts["requires"] + ["a critic"] * facts["requires_critic"]),
        "not with": ", ".join(facts["excludes"]),
        "same as": ", ".join(facts["matches"].values()),
        "needs": ", ".join(facts["needs"]),
        "in recipes": ", ".join(facts["recipes"]),
    }
    words = Table.grid(padding=(0, 2))
    for key, value in relations.items():
        if value:
            words.add_row(Text(key, style="dim"), Text(value))
    return Group(*lines, words, *_hyper_table(facts["hyper_parameters"]))


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data."""
    return {
        "name": recipe.name,
        "hash": recipe.fingerprint(),
        "about": recipe.about,
        "tricks": [
            {
                "name": trick.name,
                "slot": trick.slot,
                "hyper_parameters": trick.hypers(),
                "source": trick_source(recipe, trick),
            }
            for trick in recipe.tricks
        ],
    }


def recipe_table(every: Sequence[Recipe]) -> Table:
    """List recipes with the tricks that the textbook lacks."""
    table = _table("recipe", "hash", "tricks beyond the textbook")
    for recipe in every:
        extra = [trick.name for trick in recipe.tricks if trick.name not in TEXTBOOK]
        table.add_row(Text(recipe.name, style="bold"), recipe.fingerprint(), ", ".join(extra))
    return table


def recipe_page(recipe: Recipe) -> Group:
    """Describe one recipe: what it is, and its tricks in the order in which they act."""
    table = _table("slot", "trick", "hyper-parameters", "source")
    for trick in recipe.tricks:
        name = Text(trick.name, style="bold")
        table.add_row(trick.slot, name, _settings(trick), trick_source(recipe, trick))
    return Group(Text(recipe.name, style="bold"), Text(recipe.about), "", table)


def recipe_difference(first: Recipe, second: Recipe) -> Table:
    """List the tricks that one of two recipes lacks or sets otherwise."""
    table = _table("slot", "trick", first.name, second.name)
    sides = [{trick.name: trick for trick in recipe.tricks} for recipe in (first, second)]
    for name, kind in registry().items():
        cells = [_settings(side[name]) or "yes" if name in side else "—" for side in sides]
        if cells[0] != cells[1]:
            table.add_row(kind.slot, Text(name, style="bold"), *cells)
    if not table.rows:
        table.add_row("", "the same tricks, set alike", "", "")
    return table


def trick_source(recipe: Recipe, trick: Trick) -> str:
    """Return where a recipe's source sets a trick, or that the textbook filled it in."""
    return recipe.sources.get(trick.name) or ("textbook" if trick.name in TEXTBOOK else "")


def plain(value: Any) -> str:
    """Write a value as people do."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _docstring(kind: type[Trick]) -> dict[str, str]:
    """Take a trick's docstring apart: summary, indented equation, `Variant:` and `Source:`."""
    text = inspect.cleandoc(kind.__doc__ or "")
    if text.startswith(f"{kind.__name__}("):  # what dataclass writes where there is none
        text = "It has no docstring."
    summary, _, rest = text.partition("\n\n")
    blocks = rest.split("\n\n")
    equation = "\n".join(inspect.cleandoc(b) for b in blocks if b.startswith("    "))
    words = "\n".join(b for b in blocks if not b.startswith("    "))
    found = {
        key.lower(): " ".join(part.split())
        for key, part in re.findall(r"^(Variant|Source): (.*?)(?=^\w+: |\Z)", words, re.M | re.S)
    }
    return {
        "summary": " ".join(summary.split()),
        "equation": equation,
        "variant": found.get("variant", ""),
        "source": found.get("source", ""),
    }


def _hyper_table(hypers: Sequence[dict[str, Any]]) -> list[Any]:
    if not hypers:
        return []
    table = _table("hyper-parameter", "default", "domain", "search")
    for hyper in hypers:
        low_high = " … ".join(map(plain, hyper["search"] or ()))
        search = low_high + (", log" if hyper["log"] and low_high else "")
        table.add_row(hyper["name"], plain(hyper["default"]), hyper["domain"], search or "not searched")
    return ["", table]


def _neutral(neutral: dict[str, Any] | None) -> str:
    if neutral is None:
        return ""
    return ", ".join(f"{key} = {plain(value)}" for key, value in neutral.items()) or "as it is"


def _group(facts: dict[str, Any]) -> str:
    if not facts["group"]:
        return ""
    others = ", ".join(facts["instead_of"])
    return str(facts["group"]) + (f" (instead of {others})" if others else "")


def _settings(trick: Trick) -> str:
    return ", ".join(f"{key}={plain(value)}" for key, value in trick.hypers().items())


def _rivals(other: type[Trick], kind: type[Trick]) -> bool:
    return kind.group is not None and other.group == kind.group and other is not kind


def _table(*headings: str) -> Table:
    return Table(*headings, box=None, header_style="dim", pad_edge=False)
