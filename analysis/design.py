"""What a study was designed to tell: its kind, its factors, and each arm's level of each factor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from analysis.intervals import FloatArray
from analysis.runs import Study

Level = bool | int | float | str

KINDS = (
    *("named", "grid", "leave_one_out", "add_one_in", "pairwise"),
    *("factorial", "fractional_factorial", "random", "search"),
)


@dataclass(frozen=True)
class Change:
    """An arm that differs from the recipe in one factor; left out if it was on and is off."""

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
    def single_changes(self) -> list[Change]:
        """Arms that differ from the recipe in exactly one factor."""
        found = []
        for arm, changed in self.changes.items():
            if len(changed) == 1:
                was, now = self.level(self.recipe, changed[0]), self.level(arm, changed[0])
                is_switch = isinstance(now, bool)
                name = changed[0] if is_switch else f"{changed[0]} = {now}"
                found.append(Change(arm, name, is_switch and was is True))
        return found

    def level(self, arm: str, factor: str) -> Level:
        """Return an arm's level of a factor."""
        return self.levels[arm][self.factors.index(factor)]

    def levels_of(self, factor: str, arms: Sequence[str]) -> list[Level]:
        """List a factor's levels in these arms, the reference first: off, else the recipe's."""
        seen = list(dict.fromkeys(self.level(arm, factor) for arm in arms))
        base = self.level(self.recipe, factor) if self.recipe in self.levels else seen[0]
        base = False if False in seen else base
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


def design_of(study: Study) -> Design:
    """Read the design of a study.

    Raises:
        ValueError: if the tag names an unknown kind, or an arm's levels do not fit the factors.
    """
    said: dict[str, Any] = study.spec.get("design") or {}
    design = Design(
        kind=said.get("kind", "named"),
        recipe=said.get("recipe") or "",
        factors=tuple(said.get("factors") or ()),
        levels={arm: tuple(levels) for arm, levels in (said.get("levels") or {}).items()},
        aliases=tuple(said.get("aliases") or ()),
        objectives=dict(said.get("objectives") or {}),
        constraints=dict(said.get("constraints") or {}),
    )
    if design.kind not in KINDS:
        raise ValueError(f"study {study.name!r} has an unknown design {design.kind!r}; known: {KINDS}")
    for arm, levels in design.levels.items():
        if len(levels) != len(design.factors):
            sizes = f"{len(levels)} levels for {len(design.factors)} factors"
            raise ValueError(f"the design of study {study.name!r} gives arm {arm!r} {sizes}")
    return design
