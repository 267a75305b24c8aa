"""What a study was designed to tell: its kind, its factors, and each arm's level of each factor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from analysis.intervals import FloatArray
from analysis.runs import Study

Level = bool | int | float | str | None
"""Of a factor in an arm; None for a field whose trick is not there."""

KINDS = (
    *("named", "grid", "leave_one_out", "add_one_in", "pairwise"),
    *("factorial", "fractional_factorial", "random", "search"),
)


@dataclass(frozen=True)
class Change:
    """An arm that says what a trick does; left out if the recipe has it and the arm has not."""

    arm: str
    label: str
    is_left_out: bool


@dataclass(frozen=True)
class Design:
    """The design of a study, as its experiment tag says it.

    Attributes:
        kind: one of KINDS; "named" for plain arms.
        recipe: the arm that others are changes of, or "".
        factors: names, in the order of every arm's levels.
        levels: by arm; a trick that is on or off is True or False.
        aliases: what the design's maker said is confounded, such as "a:b = c:d".
        objectives: of a search, "maximize" or "minimize" by metric.
        constraints: of a search, the largest value that is allowed by metric.
    """

    kind: str = "named"
    recipe: str = ""
    factors: tuple[str, ...] = ()
    levels: dict[str, tuple[Level, ...]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    objectives: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)

    @cached_property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """By arm, the factors in which it differs from the recipe; empty where there is no recipe."""
        base = self.levels.get(self.recipe)
        if base is None:
            return {}
        return {
            arm: tuple(f for f, x, y in zip(self.factors, base, own, strict=True) if x != y)
            for arm, own in self.levels.items()
        }

    @cached_property
    def trick_changes(self) -> list[Change]:
        """Arms that say what one trick does: those that differ from the recipe in one factor.

        In designs of single tricks an arm may differ in more, where a trick goes with one that needs it.
        """
        most = len(self.factors) if self.kind in ("leave_one_out", "add_one_in") else 1
        found = []
        for arm, changed in self.changes.items():
            if 0 < len(changed) <= most:
                now = [self.level(arm, name) for name in changed]
                is_switch = all(isinstance(level, bool) for level in now)
                label = ", ".join(changed) if is_switch else name_level(changed[0], now[0])
                found.append(Change(arm, label, is_switch and not any(now)))
        return found

    def level(self, arm: str, factor: str) -> Level:
        """Return an arm's level of a factor."""
        return self.levels[arm][self.factors.index(factor)]

    def levels_of(self, factor: str, arms: Sequence[str]) -> list[Level]:
        """List a factor's levels in these arms, the reference first: off, else the recipe's."""
        seen = list(dict.fromkeys(self.level(arm, factor) for arm in arms))
        base = self.level(self.recipe, factor) if self.recipe in self.levels else seen[0]
        base = False if any(level is False for level in seen) else base
        return sorted(seen, key=lambda level: level != base)

    def two_level(self, arms: Sequence[str]) -> list[str]:
        """List the factors that have two levels in these arms."""
        return [name for name in self.factors if arms and len(self.levels_of(name, arms)) == 2]

    def signs(self, factors: Sequence[str], arms: Sequence[str]) -> FloatArray:
        """Return [A, F]: −1 where an arm has a factor's first level, 1 where it has its other."""
        first = [self.levels_of(name, arms)[0] for name in factors]
        rows = [
            [-1.0 if self.level(arm, n) == one else 1.0 for n, one in zip(factors, first, strict=True)]
            for arm in arms
        ]
        return np.array(rows, dtype=np.float64).reshape(len(arms), len(factors))


def name_level(factor: str, level: Level) -> str:
    """Name a level of a factor that is not on or off."""
    return f"{factor} = {'absent' if level is None else level}"


def design_of(study: Study) -> Design:
    """Read the design of a study.

    Levels that the tag had no room for are read from the runs' parameters, where all factors are there.
    A recipe that is not the name of an arm stands for the first arm of the design.

    Raises:
        ValueError: if the tag names an unknown kind, or an arm's levels do not fit the factors.
    """
    said: dict[str, Any] = study.spec.get("design") or {}
    kind, factors = said.get("kind", "named"), tuple(said.get("factors") or ())
    if kind not in KINDS:
        raise ValueError(f"study {study.name!r} has an unknown design {kind!r}; known: {KINDS}")
    levels = said.get("levels") or _levels_of_params(study, factors)
    for arm, own in levels.items():
        if len(own) != len(factors):
            sizes = f"{len(own)} levels for {len(factors)} factors"
            raise ValueError(f"the design of study {study.name!r} gives arm {arm!r} {sizes}")
    asked = said.get("recipe") or ""
    return Design(
        kind=kind,
        recipe=asked if asked in levels else next(iter(levels), ""),
        factors=factors,
        levels=_with_switches(factors, levels),
        aliases=tuple(said.get("aliases") or ()),
        objectives=dict(said.get("objectives") or {}),
        constraints=dict(said.get("constraints") or {}),
    )


def _with_switches(
    factors: Sequence[str], levels: Mapping[str, Sequence[Level]]
) -> dict[str, tuple[Level, ...]]:
    """Turn the levels 0 and 1 of a trick into off and on; a field, `trick.field`, keeps its numbers."""
    columns = zip(*levels.values(), strict=True)
    is_switch = [
        "." not in name and set(column) <= {0, 1} for name, column in zip(factors, columns, strict=False)
    ]
    return {
        arm: tuple(bool(x) if switch else x for x, switch in zip(own, is_switch, strict=True))
        for arm, own in levels.items()
    }


def _levels_of_params(study: Study, factors: Sequence[str]) -> dict[str, list[Level]]:
    """Read levels from the parameters of each arm's first run; none if a factor is not among them."""
    known = {name: f"trick.{name}" if "." not in name else name for name in factors}
    if not factors or not set(known.values()) <= set(study.params):
        return {}
    first = study.runs.drop_duplicates("arm").set_index("arm")
    return {
        arm: [read_level(name, first.loc[arm, column]) for name, column in known.items()]
        for arm in first.index
    }


def read_level(factor: str, text: Any) -> Level:
    """Read a parameter as MLflow stores it: a trick is there or not, a field is a value or absent."""
    if "." not in factor:
        return isinstance(text, str)
    if not isinstance(text, str):
        return None
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text
