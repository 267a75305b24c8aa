"""Levels of factors, and the arm that several of them make together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ablations.arms import Arm
from workbench.registry import registry
from workbench.trick import Value

SPELLED_OUT = 2
"""Changes that an arm's name spells out; of more, it gives the numbers of the factors."""


@dataclass(frozen=True)
class Level:
    """One setting of a factor.

    Attributes:
        factor: name of the factor.
        shown: the setting in a word.
        label: what it adds to an arm's name; nothing where it is the recipe's own setting.
        code: the same by number: "3" for factor 3 changed, "3_2" for its second setting.
        with_: what it sets or adds, as in a study file.
        without: tricks that it leaves out.
        brings: tricks that are there at this level.
        rules_out: tricks that are not.
        sets: the trick whose field it sets, which means nothing where another level rules the trick out.
    """

    factor: str
    shown: str
    label: str = ""
    code: str = ""
    with_: Mapping[str, Value] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    brings: frozenset[str] = frozenset()
    rules_out: frozenset[str] = frozenset()
    sets: str | None = None


def combine(recipe: str, levels: Iterable[Level]) -> Arm:
    """Return the arm that has all of these levels.

    Raises:
        ValueError: if they contradict each other, naming the two factors.
    """
    counted = _that_count(list(levels))
    _refuse_contradictions(counted)
    with_ = {key: value for level in counted for key, value in level.with_.items()}
    without = dict.fromkeys(name for level in counted for name in level.without)
    return Arm(recipe=recipe, with_=with_, without=list(without))


def arm_name(recipe: str, levels: Iterable[Level]) -> str:
    """Name an arm after what it changes, or, if that is much, after the numbers of the factors."""
    changed = [level for level in _that_count(list(levels)) if level.label]
    if len(changed) > SPELLED_OUT:
        return ".".join([recipe, *(level.code for level in changed)])
    set_too = {f"+{level.sets}" for level in changed}
    return "".join([recipe, *(level.label for level in changed if level.label not in set_too)])


def members(group: str | None) -> list[str]:
    """Return the tricks of a group; none for no group."""
    return [name for name, kind in registry().items() if group and kind.group == group]


def _that_count(levels: Sequence[Level]) -> list[Level]:
    """Drop the levels that set a field of a trick which another level rules out."""
    gone = {name for level in levels for name in level.rules_out}
    return [level for level in levels if level.sets not in gone]


def _refuse_contradictions(levels: Sequence[Level]) -> None:
    """Refuse a trick that one level brings and another rules out."""
    ruling = {name: level.factor for level in levels for name in level.rules_out}
    for level in levels:
        for name in sorted(level.brings & ruling.keys()):
            one, other = level.factor, ruling[name]
            group = registry()[name].group
            if name == one and other in members(group):
                raise ValueError(
                    f"{one} and {other} exclude each other (group {group}); keep one of them, or compare"
                    f" them in a grid: {group}: [{one}, {other}]"
                )
            raise ValueError(
                f"{one} and {other} cannot be varied independently: {name} comes with the one and goes"
                " with the other"
            )
