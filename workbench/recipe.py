"""A recipe is a set of tricks: order by declaration, alternatives by group, state by name."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from workbench.names import unknown
from workbench.trick import (
    SLOTS,
    AdvantageEstimator,
    AdvantageTransform,
    Aggregation,
    GradientTransform,
    Initialise,
    PolicyLoss,
    Regulariser,
    RewardTransform,
    SamplingTransform,
    Schedule,
    ScoreTransform,
    Trick,
    Value,
    ValueLoss,
)
from workbench.tricks import TEXTBOOK, registry
from workbench.types import Evaluation, Rates, Rollout, Sampling

if TYPE_CHECKING:
    from workbench.models import Models
    from workbench.stages.prepare import Prepared

T = TypeVar("T", bound=Trick)
State = dict[str, dict[str, dict[str, Tensor]]]


@dataclass(frozen=True)
class Recipe:
    """Tricks in execution order, at most one of each group, exactly one where the textbook needs one.

    Build one by set algebra: `PPO_MAX.without("value_clip").plus(TokenKlPenalty(weight=0.1))`.
    """

    name: str
    tricks: tuple[Trick, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the textbook's choices, order the tricks, refuse missing prerequisites."""
        given = {trick.name: trick for trick in self.tricks}
        groups = {trick.group for trick in given.values() if trick.group}
        defaults = [kind() for kind in map(registry().__getitem__, TEXTBOOK)]
        chosen = [*given.values(), *(t for t in defaults if t.group not in groups)]
        object.__setattr__(self, "tricks", _in_order(chosen))
        names = {trick.name for trick in self.tricks}
        for trick in self.tricks:
            for missing in set(trick.requires) - names:
                raise ValueError(f"{trick.name} needs {missing}, which recipe {self.name} lacks")

    def plus(self, *tricks: Trick) -> "Recipe":
        """Return this recipe with the tricks added, each displacing its namesake and its group."""
        kept = {trick.name: trick for trick in self.tricks}
        for new in tricks:
            kept = {n: t for n, t in kept.items() if not (new.group and t.group == new.group)}
            kept[new.name] = new
        return replace(self, tricks=tuple(kept.values()))

    def without(self, *names: str) -> "Recipe":
        """Return this recipe with the tricks removed; a choice falls back to the textbook's.

        Raises:
            ValueError: if a name is not in the recipe, or is the textbook's own choice.
        """
        present = [trick.name for trick in self.tricks]
        for name in names:
            if name not in present:
                raise ValueError(unknown("trick", name, present, where=f"recipe {self.name}"))
            if name in TEXTBOOK:
                raise ValueError(f"{name} is the textbook's choice: replace it, it cannot be left out")
        return replace(self, tricks=tuple(t for t in self.tricks if t.name not in names))

    def set(self, values: Mapping[str, Value]) -> "Recipe":
        """Return this recipe with `trick.field` set to each value; a trick it lacks is added.

        Raises:
            ValueError: for an unknown trick or field, or a value outside its domain.
        """
        changed: dict[str, dict[str, Value]] = {}
        for key, value in values.items():
            trick, _, field_name = key.partition(".")
            changed.setdefault(trick, {})[field_name] = value
        present = {trick.name: trick for trick in self.tricks}
        return self.plus(*(make_trick(n, v, base=present.get(n)) for n, v in changed.items()))

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
        """Hash the tricks and their hyper-parameters, not the recipe's name: 12 hex digits."""
        content = [(trick.name, trick.hypers()) for trick in self.tricks]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    @property
    def needs(self) -> frozenset[str]:
        """What the update has to compute beyond log-probabilities and values."""
        return frozenset().union(*(trick.needs for trick in self.tricks))

    # The lines of the PPO update, in its order.

    def initialise(self, models: "Models", prepared: "Prepared") -> None:
        """Set the starting weights."""
        for trick in self._of(Initialise):
            trick(models, prepared)

    def sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling settings after every sampling trick."""
        for trick in self._of(SamplingTransform):
            sampling = trick(sampling)
        return sampling

    def observe(self, rollout: Rollout) -> None:
        """Let every trick move its running statistics; the only place where they move."""
        for trick in self.tricks:
            trick.observe(rollout)

    def score(self, score: Tensor, rollout: Rollout) -> Tensor:
        """Reparameterise the score [B]."""
        for trick in self._of(ScoreTransform):
            score = trick(score, rollout)
        return score

    def reward(self, reward: Tensor, rollout: Rollout) -> Tensor:
        """Change the per-token reward [B, T]."""
        for trick in self._of(RewardTransform):
            reward = trick(reward, rollout)
        return reward

    def advantage_estimator(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Estimate advantage [B, T] and returns [B, T]."""
        return self._the(AdvantageEstimator)(rollout)

    def advantage(self, advantage: Tensor, mask: Tensor) -> Tensor:
        """Change the advantages [B, T] of one minibatch."""
        for trick in self._of(AdvantageTransform):
            advantage = trick(advantage, mask)
        return advantage

    def policy_loss(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        """Return the policy's loss, a scalar."""
        loss = self._the(PolicyLoss)(new, minibatch, advantage)
        return self._the(Aggregation)(loss, minibatch.mask)

    def value_loss(self, value: Tensor, minibatch: Rollout) -> Tensor:
        """Return the critic's loss, a scalar."""
        return self._the(Aggregation)(self._the(ValueLoss)(value, minibatch), minibatch.mask)

    def regulariser(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Return the sum of the regularising terms, a scalar."""
        terms = [trick(new, minibatch) for trick in self._of(Regulariser)]
        return torch.stack(terms).sum() if terms else new.log_prob.new_zeros(())

    def gradient(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Change the gradients of policy and critic before the optimiser's step."""
        changed = list(gradients)
        for trick in self._of(GradientTransform):
            changed = trick(changed)
        return changed

    def rates(self, iteration: int, iterations: int) -> Rates:
        """Return the factors on the learning rates at this iteration."""
        rates = Rates(policy=1.0, critic=1.0)
        for trick in self._of(Schedule):
            factor = trick(iteration, iterations)
            rates = Rates(rates.policy * factor.policy, rates.critic * factor.critic)
        return rates

    def _of(self, kind: type[T]) -> Iterator[T]:
        return (trick for trick in self.tricks if isinstance(trick, kind))

    def _the(self, kind: type[T]) -> T:
        return next(self._of(kind))


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
        graph = {name: set(t.after) & set(members) for name, t in members.items()}
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
