"""The space of recipes around one: which trick of each group is there, and how those are set."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState, create_trial

from ablations.search.settings import Search
from workbench.names import unknown
from workbench.recipe import Recipe, make_trick
from workbench.registry import registry
from workbench.trick import Hyper, Trick, Value
from workbench.tricks import TEXTBOOK

NONE = "none"
"""The choice of no trick of a group."""


@dataclass(frozen=True)
class Space:
    """What a search may propose; a point of it is the parameters of an Optuna trial.

    A trick that stands alone is a boolean; tricks that exclude each other are one choice, named after
    their group. Fields are parameters only where their trick is there.

    Attributes:
        base: recipe around which to search.
        search: which tricks may come and go.
        attempt: raises ValueError for a recipe that cannot be run with the study's settings.
    """

    base: Recipe
    search: Search
    attempt: Callable[[Recipe], None] = lambda recipe: None

    def __post_init__(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            ValueError: for an unknown trick or field, or an empty range.
        """
        for name in self.search.tricks:
            if name not in registry():
                raise ValueError(unknown("trick", name, registry()))
        fields = {f"{name}.{spec.name}" for name in self._listed for spec in _kind(name).hyper_fields()}
        for name, (low, high) in self.search.ranges.items():
            if name not in fields:
                raise ValueError(unknown("field", name, fields, where="the search"))
            if not low < high:
                raise ValueError(f"the range of {name} should go from low to high, got {low} to {high}")
        if all(len(options) < 2 for options in self.choices.values()) and not fields:
            raise ValueError("nothing to search: name tricks that may come and go, or that have fields")

    def propose(self, trial: Trial | FixedTrial) -> Recipe:
        """Let a trial choose a recipe, or rebuild the one that it chose.

        Raises:
            ValueError: if the tricks that were chosen do not go together.
        """
        recipe = self.base
        for name, options in self.choices.items():
            chosen = trial.suggest_categorical(name, options) if len(options) > 1 else options[0]
            if isinstance(chosen, bool):  # a trick that stands alone
                chosen = name if chosen else NONE
            recipe = self._with(recipe, name, str(chosen), trial)
        self.attempt(recipe)
        return recipe

    def start(self) -> FrozenTrial:
        """Return the waiting trial of the base itself."""
        point = self._own_point()
        fixed = FixedTrial(dict(point))
        self.propose(fixed)
        space = fixed.distributions
        params = {name: point[name] for name in space}
        return create_trial(state=TrialState.WAITING, params=params, distributions=space)

    def rebuild(self, point: Mapping[str, Value]) -> Recipe:
        """Return the recipe of a point."""
        return self.propose(FixedTrial(dict(point)))

    @cached_property
    def choices(self) -> dict[str, tuple[str | bool, ...]]:
        """Return what can be chosen of each group, or of each trick that stands alone."""
        groups: dict[str, list[str]] = {}
        for name in self.search.tricks:
            groups.setdefault(_kind(name).group or name, []).append(name)
        return {group: self._options(group, names) for group, names in groups.items()}

    @cached_property
    def _listed(self) -> set[str]:
        return set(self.search.tricks)

    def _options(self, group: str, names: list[str]) -> tuple[str | bool, ...]:
        if group in registry():
            return (False, True) if group not in TEXTBOOK else (True,)
        own = [trick.name for trick in self.base.tricks if trick.group == group]
        textbook = [name for name in TEXTBOOK if _kind(name).group == group]
        return tuple(dict.fromkeys([*(own or [NONE]), *(textbook or [NONE]), *names]))

    def _with(self, recipe: Recipe, group: str, chosen: str, trial: Trial | FixedTrial) -> Recipe:
        present = {trick.name: trick for trick in recipe.tricks}
        if chosen == NONE:
            gone = [name for name, trick in present.items() if group in (trick.group, name)]
            return recipe.without(*gone)
        if chosen not in self._listed:
            own = {trick.name: trick for trick in self.base.tricks}
            return recipe.plus(own.get(chosen) or _kind(chosen)())
        trick = present.get(chosen) or _kind(chosen)()
        values = {spec.name: self._set(trick, spec.name, trial) for spec in trick.hyper_fields()}
        return recipe.plus(make_trick(chosen, values, base=trick))

    def _set(self, trick: Trick, field: str, trial: Trial | FixedTrial) -> Value:
        """Let the trial set a field; one that is not searched stays as it is."""
        name, own = f"{trick.name}.{field}", trick.hypers()[field]
        [hyper] = [s.metadata["hyper"] for s in trick.hyper_fields() if s.name == field]
        match self._distribution(name, hyper, own):
            case CategoricalDistribution(choices=choices):
                return cast(Value, trial.suggest_categorical(name, choices))
            case IntDistribution(low=low, high=high, log=log):
                return trial.suggest_int(name, low, high, log=log)
            case FloatDistribution(low=low, high=high, log=log):
                return trial.suggest_float(name, low, high, log=log)
        return own

    def _distribution(
        self, name: str, hyper: Hyper, own: Value
    ) -> CategoricalDistribution | IntDistribution | FloatDistribution | None:
        if hyper.choices:
            return CategoricalDistribution(hyper.choices)
        bounds = self.search.ranges.get(name, hyper.search)
        if bounds is None or isinstance(own, str | bool) or not math.isfinite(own):
            return None
        low, high = min(*bounds, own), max(*bounds, own)  # the base itself has to be a point
        log = hyper.log and low > 0
        if isinstance(own, int):
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)

    def _own_point(self) -> dict[str, Value]:
        """Return the base's own value of every parameter that it may be asked for."""
        present = {trick.name: trick for trick in self.base.tricks}
        groups = {trick.group: name for name, trick in present.items() if trick.group}
        point: dict[str, Value] = {
            name: name in present if name in registry() else groups.get(name, NONE)
            for name in self.choices
        }
        for name, trick in present.items():
            point |= {f"{name}.{field}": value for field, value in trick.hypers().items()}
        return point


def _kind(name: str) -> type[Trick]:
    return registry()[name]
