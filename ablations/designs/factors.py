"""What a design varies: a trick that is there or not, the value of a field, a choice within a group.

Leaving out a trick leaves out with it the tricks that need it; adding one adds what it needs. The names
of arms say so.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from ablations.designs.levels import Level, members
from workbench.names import unknown
from workbench.recipe import Recipe, make_trick
from workbench.registry import registry
from workbench.trick import Trick, Value
from workbench.tricks import TEXTBOOK

NONE = "none"
"""The choice of no trick of a group."""


@dataclass(frozen=True)
class Factor:
    """Something that a design varies.

    Attributes:
        name: a trick, a `trick.field`, or a group.
        levels: its settings.
        read: returns the setting that a recipe has: 1 or 0, a value, a trick; None if it has none.
    """

    name: str
    levels: tuple[Level, ...]
    read: Callable[[Recipe], Value | None]

    @property
    def reference(self) -> Level:
        """The recipe's own setting if it is one of the levels, else the first."""
        return next((level for level in self.levels if not level.label), self.levels[0])

    @property
    def changed(self) -> Level:
        """The other of two levels."""
        return next(level for level in self.levels if level is not self.reference)


def make_factor(base: Recipe, name: str, values: Sequence[Value], number: int) -> Factor:
    """Make a factor as study files write it.

    Args:
        base: the recipe that is varied.
        name: `trick` with values true and false, `trick.field` with values, or a group with tricks.
        values: its settings.
        number: 1 for the design's first factor.
    Raises:
        ValueError: for an unknown name, a value outside its domain, or one given twice.
    """
    if "." in name:
        return _of_field(base, name, values, number)
    if all(isinstance(value, str) for value in values):
        return _of_group(base, name, [str(value) for value in values], number)
    if name in registry() and not all(isinstance(value, bool) for value in values):
        raise ValueError(f"{name}: it takes true and false; for values, write '{name}.<field>'")
    _refuse_twice(name, values)
    return of_trick(base, name, number, levels=[bool(value) for value in values])


def of_trick(
    base: Recipe,
    trick: str,
    number: int,
    *,
    levels: Sequence[bool] = (False, True),
    source: Recipe | None = None,
) -> Factor:
    """Make the factor of a trick that is there or not.

    Args:
        base: the recipe that is varied.
        trick: name of a trick.
        number: 1 for the design's first factor.
        levels: False for without the trick, True for with it.
        source: recipe that says how the trick is set; as it is by default if None.
    Raises:
        ValueError: if the trick is unknown, or the textbook's choice and so cannot be left out.
    """
    if trick not in registry():
        raise ValueError(unknown("trick", trick, registry()))
    made = [
        _present(base, trick, str(number), source) if level else _absent(base, trick, str(number))
        for level in levels
    ]
    return Factor(trick, tuple(made), lambda recipe: int(trick in recipe_tricks(recipe)))


def refuse_dependent(factors: Sequence[Factor]) -> None:
    """Refuse a field as a factor where its trick is not there at some level of another.

    Raises:
        ValueError: naming the two factors.
    """
    for one in factors:
        trick = one.levels[0].sets
        for level in (level for other in factors for level in other.levels):
            if trick in level.rules_out:
                raise ValueError(
                    f"{one.name} and {level.factor} cannot be crossed: {trick} is not there to be set"
                    f" where {level.factor} is {level.shown}; a grid leaves such arms out"
                )


def recipe_tricks(recipe: Recipe) -> list[str]:
    """Return names of the tricks of a recipe, in their order."""
    return [trick.name for trick in recipe.tricks]


def _present(base: Recipe, trick: str, code: str, source: Recipe | None = None) -> Level:
    rivals = frozenset(members(registry()[trick].group)) - {trick}
    own = recipe_tricks(base)
    level = Level(trick, "present", brings=frozenset([trick]), rules_out=rivals)
    if trick in own:
        return level
    given = {own.name: own for own in source.tricks} if source else {}
    names = [name for name in _with_needed(trick) if name not in own]
    with_: dict[str, Value] = {}
    for name in names:
        with_ |= {name: True} | (_settings(given[name]) if name in given else {}) | _matching(base, name)
    label = "".join(f"+{name}" for name in names)
    return replace(level, label=label, code=code, with_=with_, brings=frozenset(names))


def _absent(base: Recipe, trick: str, code: str) -> Level:
    level = Level(trick, "absent", rules_out=frozenset([trick]))
    if trick not in recipe_tricks(base):
        return level
    if trick in TEXTBOOK:
        raise ValueError(f"{trick} is the textbook's choice: replace it, it cannot be left out")
    names = [trick, *(name for name in recipe_tricks(base) if trick in _with_needed(name)[1:])]
    label = "".join(f"-{name}" for name in names)
    return replace(level, label=label, code=code, without=tuple(names), rules_out=frozenset(names))


def _of_field(base: Recipe, name: str, values: Sequence[Value], number: int) -> Factor:
    trick, _, key = name.partition(".")
    own = {present.name: present for present in base.tricks}.get(trick)
    checked = [make_trick(trick, {key: value}, base=own).hypers()[key] for value in values]
    _refuse_twice(name, checked)
    levels = []
    for index, value in enumerate(checked, 1):
        level = Level(name, _word(value), sets=trick)
        if own is None or own.hypers()[key] != value:
            label = f"+{name}_{_word(value)}"
            level = replace(level, label=label, code=f"{number}_{index}", with_={name: value})
        levels.append(level)
    return Factor(name, tuple(levels), lambda recipe: recipe.parameters().get(name))


def _of_group(base: Recipe, group: str, choices: Sequence[str], number: int) -> Factor:
    known = members(group)
    if not known:
        groups = {kind.group for kind in registry().values() if kind.group}
        raise ValueError(unknown("group of tricks", group, groups))
    _refuse_twice(group, choices)
    textbook = [name for name in known if name in TEXTBOOK]
    for choice in choices:
        if choice not in (*known, NONE):
            raise ValueError(unknown("trick", choice, [*known, NONE], where=f"group {group}"))
        if choice == NONE and textbook:
            raise ValueError(f"group {group} cannot be empty: write {textbook[0]} instead of {NONE}")
    levels = [_choice(base, group, c, f"{number}_{index}") for index, c in enumerate(choices, 1)]
    return Factor(group, tuple(levels), lambda recipe: _member(recipe, known) or NONE)


def _choice(base: Recipe, group: str, choice: str, code: str) -> Level:
    known = members(group)
    own = _member(base, known)
    if choice != NONE:
        level = _present(base, choice, code)
    else:
        level = _absent(base, own, code) if own else Level(group, NONE)
    rules_out = level.rules_out.union(known) - {choice}
    return replace(level, factor=group, shown=choice, rules_out=rules_out)


def _refuse_twice(name: str, values: Sequence[Value]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{name}: {_word(value)} is given twice")


def _with_needed(trick: str) -> list[str]:
    """Return a trick and all that it needs, and what that needs."""
    names = [trick]
    for name in names:
        names += [needed for needed in registry()[name].requires if needed not in names]
    return names


def _settings(trick: Trick) -> dict[str, Value]:
    """Return the fields of a trick that are not set as they are by default."""
    usual = type(trick)().hypers()
    return {f"{trick.name}.{k}": v for k, v in trick.hypers().items() if v != usual[k]}


def _matching(base: Recipe, trick: str) -> dict[str, Value]:
    """Return the fields of a trick that have to equal a field of the recipe, set so."""
    values = base.parameters()
    return {
        f"{trick}.{own}": values[other]
        for own, others in registry()[trick].matches.items()
        for other in others
        if other in values
    }


def _member(recipe: Recipe, group: Collection[str]) -> str | None:
    return next((name for name in recipe_tricks(recipe) if name in group), None)


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")
