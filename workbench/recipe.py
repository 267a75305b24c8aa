"""A recipe is a set of tricks: order by declaration, alternatives by group, state by name."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor

from workbench.names import unknown
from workbench.plugins import source_hash
from workbench.registry import registry
from workbench.trick import SLOTS, AdvantageEstimator, Trick, Value
from workbench.tricks import TEXTBOOK
from workbench.update_lines import UpdateLines

State = dict[str, dict[str, dict[str, Tensor]]]


@dataclass(frozen=True)
class Recipe(UpdateLines):
    """Tricks in execution order, at most one of each group, exactly one where the textbook needs one.

    Build one by set algebra: `PPO_MAX.without("value_clip").plus(TokenKlPenalty(weight=0.1))`; a
    published one, whose every trick says where it comes from, by `Recipe.cited`.

    Attributes:
        name: of the recipe.
        tricks: given in any order.
        about: what the recipe is, where it comes from, what of the system is left out.
        sources: trick -> where the source says that the trick is used, with these values.
    """

    name: str
    tricks: tuple[Trick, ...] = ()
    about: str = field(default="", compare=False)
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def cited(cls, name: str, about: str, *cited: tuple[Trick, str]) -> "Recipe":
        """Return a published recipe.

        Args:
            name: of the recipe.
            about: one or two sentences: what it is, its arXiv number or commit, what is left out.
            cited: pairs of a trick and the place in the source that sets it so.
        Raises:
            ValueError: if a trick stands there twice, or two of one group do, or a source is empty.
        """
        taken: dict[str, str] = {}
        for trick, source in cited:
            key = trick.group or trick.name
            if key in taken:
                raise ValueError(f"recipe {name} holds both {taken[key]} and {trick.name} (group {key})")
            if not source.strip():
                raise ValueError(f"recipe {name} says no source for {trick.name}")
            taken[key] = trick.name
        return cls(name, tuple(t for t, _ in cited), about, {t.name: source for t, source in cited})

    def __post_init__(self) -> None:
        """Fill in the textbook's choices, order the tricks, refuse missing prerequisites."""
        given = {trick.name: trick for trick in self.tricks}
        groups = {trick.group for trick in given.values() if trick.group}
        defaults = [kind() for kind in map(registry().__getitem__, TEXTBOOK)]
        chosen = [*given.values(), *(t for t in defaults if t.group not in groups)]
        object.__setattr__(self, "tricks", _in_order(chosen))
        for trick in self.tricks:
            self._refuse_nonsense(trick)

    def plus(self, *tricks: Trick) -> "Recipe":
        """Return this recipe with the tricks added, each displacing its namesake and its group."""
        kept = {trick.name: trick for trick in self.tricks}
        for new in tricks:
            kept = {n: t for n, t in kept.items() if not (new.group and t.group == new.group)}
            kept[new.name] = new
        return self._of_tricks(kept.values())

    def without(self, *names: str) -> "Recipe":
        """Return this recipe with the tricks removed; a choice falls back to the textbook's.

        Raises:
            ValueError: if a name is not in the recipe, or is the textbook's own choice.
        """
        present = [trick.name for trick in self.tricks]
        for name in names:
            if name not in present:
                raise ValueError(no_trick(name, present, self.name))
            if name in TEXTBOOK:
                raise ValueError(f"{name} is the textbook's choice: replace it, it cannot be left out")
        return self._of_tricks(t for t in self.tricks if t.name not in names)

    def set(self, values: Mapping[str, Value]) -> "Recipe":
        """Return this recipe with `trick.field` set to each value; a trick it lacks is added.

        Args:
            values: `trick.field` -> value, or `trick` -> True for a trick as it is.
        Raises:
            ValueError: for an unknown trick or field, or a value outside its domain.
        """
        present = {trick.name: trick for trick in self.tricks}
        return self.plus(*(make_trick(n, v, base=present.get(n)) for n, v in by_trick(values).items()))

    def start(self) -> "Recipe":
        """Return the same recipe with fresh state, for one run."""
        return replace(self, tricks=tuple(trick.fresh() for trick in self.tricks))

    def state_dict(self) -> State:
        """Return the state of every trick, keyed by trick and field."""
        return {
            trick.name: {name: part.state_dict() for name, part in trick.states().items()}
            for trick in self.tricks
            if trick.states()
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned, from a recipe of the same tricks."""
        for trick in self.tricks:
            for name, part in trick.states().items():
                part.load_state_dict(state[trick.name][name])

    def to(self, device: torch.device) -> "Recipe":
        """Move the state of every trick to a device; returns the recipe itself."""
        for trick in self.tricks:
            for part in trick.states().values():
                part.load_state_dict({n: t.to(device) for n, t in part.state_dict().items()})
        return self

    def parameters(self) -> dict[str, Value]:
        """Return `trick.field` -> value over all tricks, as logged to MLflow."""
        return {f"{t.name}.{k}": v for t in self.tricks for k, v in t.hypers().items()}

    def fingerprint(self) -> str:
        """Hash the tricks and their hyper-parameters, not the recipe's name: 12 hex digits.

        A plugin's source goes in as well, so that an edited plugin never takes up an old checkpoint.
        """
        sources = [source_hash(type(trick)) for trick in self.tricks]
        content = [
            (trick.name, trick.hypers(), *([source] if source else []))
            for trick, source in zip(self.tricks, sources, strict=True)
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def _of_tricks(self, tricks: Iterable[Trick]) -> "Recipe":
        """Return a recipe of other tricks; those that are as they were keep their sources."""
        tricks = tuple(tricks)
        same = {trick.name for trick in self.tricks if trick in tricks}
        sources = {name: source for name, source in self.sources.items() if name in same}
        return replace(self, tricks=tricks, sources=sources)

    def _refuse_nonsense(self, trick: Trick) -> None:
        """Raise ValueError if the trick lacks another, contradicts one, or has no critic to work on."""
        names = {other.name for other in self.tricks}
        for missing in set(trick.requires) - names:
            raise ValueError(f"{trick.name} needs {missing}, which recipe {self.name} lacks")
        for rival in names.intersection(trick.excludes):
            raise ValueError(f"{trick.name} and {rival} cannot be together; leave one of them out")
        if trick.requires_critic and "value" not in self.needs:
            estimator = self._the(AdvantageEstimator).name
            lost = ", ".join(other.name for other in self.tricks if other.requires_critic)
            raise ValueError(
                f"{trick.name} needs a critic, and {estimator} does without one: leave out {lost}, or "
                "let the estimator have 'value' in its needs"
            )
        values = self.parameters() if trick.matches else {}
        pairs = [(own, other) for own, others in trick.matches.items() for other in others]
        for own, other in pairs:
            mine, theirs = values[f"{trick.name}.{own}"], values.get(other)
            if theirs not in (None, mine):
                raise ValueError(
                    f"{trick.name}.{own} must equal {other}, got {mine} and {theirs}; set both"
                )


def by_trick(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Gather the fields to set by trick; one that is only to be there has none.

    Raises:
        ValueError: for a trick without a field whose value is not True.
    """
    fields: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        trick, _, field_name = key.partition(".")
        own = fields.setdefault(trick, {})
        if field_name:
            own[field_name] = value
        elif value is not True:
            raise ValueError(f"'{key}: {value}' says no field; write '{key}.<field>' or true")
    return fields


def no_trick(name: str, present: Iterable[str], recipe: str) -> str:
    """Say that a recipe has no trick of this name: which it has, or which name was meant."""
    if name in registry():
        return f"recipe {recipe} has no {name}; it has: {', '.join(present)}"
    return unknown("trick", name, present, where=f"recipe {recipe}")


def make_trick(name: str, values: Mapping[str, Value], base: Trick | None = None) -> Trick:
    """Make the trick of this name, starting from `base` or its defaults.

    Raises:
        ValueError: for an unknown name or field, or a value outside its domain.
    """
    kinds = registry()
    if name not in kinds:
        raise ValueError(unknown("trick", name, kinds))
    known = [spec.name for spec in kinds[name].hyper_fields()]
    for key in values:
        if key not in known:
            raise ValueError(unknown("hyper-parameter", key, known, where=f"trick {name}"))
    start = base or kinds[name]()
    return start.fresh(**{k: _as_type(v, start.hypers()[k], f"{name}.{k}") for k, v in values.items()})


def _as_type(value: Value, like: Value, name: str) -> Value:
    """Take an int for a float, as YAML and the command line write `1` for `1.0`; refuse other kinds."""
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(like):
        kinds = {float: "a number", int: "a whole number", bool: "true or false"}
        raise ValueError(f"{name} must be {kinds.get(type(like), 'a word')}, got {value!r}")
    return value


def _in_order(tricks: Iterable[Trick]) -> tuple[Trick, ...]:
    """Sort by slot, then by the declared `after`, then by name; raise if that is a cycle."""
    by_name = {trick.name: trick for trick in sorted(tricks, key=lambda trick: trick.name)}
    slots = list(SLOTS)
    ordered: list[Trick] = []
    for slot in slots:
        members = {name: t for name, t in by_name.items() if t.slot == slot}
        graph = {n: {m for m, o in members.items() if t.follows(o)} for n, t in members.items()}
        try:
            ordered += [members[name] for name in _sorted_topologically(graph)]
        except CycleError as cycle:
            names = " → ".join(cycle.args[1])
            raise ValueError(f"tricks of slot {slot} are each after the other: {names}") from None
    return tuple(ordered)


def _sorted_topologically(graph: Mapping[str, set[str]]) -> Iterator[str]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        yield from ready
        sorter.done(*ready)
