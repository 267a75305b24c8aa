"""A trick is one dataclass: its init fields are hyper-parameters, its state fields are its state.

Its base class is its slot, a line of the PPO update; its docstring is its equation and its source.
State moves in `observe` only, once per rollout and before anything is computed from that rollout.
Everything is tensors: no `.item()`, no Python branch on a tensor's value, no loop over rows, so a
trick runs under `torch.func.vmap` with a leading axis of replicas.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    dataclass_transform,
    runtime_checkable,
)

from torch import Tensor

from workbench.names import unknown
from workbench.types import Draft, Evaluation, Optimisation, Rates, Rollout, Sampling

if TYPE_CHECKING:
    from workbench.models import Models
    from workbench.stages.prepare import Prepared

Value = float | int | bool | str

NEEDS = {
    "value": "the critic's value of every state",
    "end_value": "the critic's value of the state after the last token",
    "entropy": "the entropy of π over the vocabulary, in the update",
    "ref_kl": "KL(π ‖ π_ref) over the vocabulary, in the update",
    "behaviour_log_prob": "log π after the logits tricks, in the update",
    "pretraining_loss": "the language-model loss on pre-training texts, in the update",
    "greedy_score": "the score of a greedy response to each prompt",
    "reference_score": "the score of the task's own response to each prompt",
    "guide": "a frozen copy of the policy whose logits the logits tricks see",
    "moving_reference": "a reference policy that may move away from the SFT policy",
    "average": "a copy of the policy to average weights in; held-out prompts are answered by it",
}
"""What a trick may need beyond a plain rollout, and what that costs."""


@dataclass(frozen=True)
class Hyper:
    """The domain in which a hyper-parameter is valid, and the range in which to search it.

    Attributes:
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        at_most: inclusive upper bound.
        choices: the only valid values, where the hyper-parameter is categorical.
        search: (low, high) to search in; None where it is recorded but not searched.
        log: search on a logarithmic scale.
    """

    above: float = -inf
    at_least: float = -inf
    at_most: float = inf
    choices: tuple[Value, ...] | None = None
    search: tuple[float, float] | None = None
    log: bool = False

    def complaint(self, value: Value) -> str | None:
        """Say what is wrong with a value, or None if it lies in the domain."""
        if self.choices is not None:
            options = ", ".join(map(str, self.choices))
            return None if value in self.choices else f"must be one of {options}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        number = float(value)
        if not number > self.above and self.above > -inf:
            return f"must be above {self.above:g}"
        if not number >= self.at_least:
            return f"must be at least {self.at_least:g}"
        if not number <= self.at_most:
            return f"must be at most {self.at_most:g}"
        return None

    def domain(self) -> str:
        """Write the domain as an interval or a set."""
        if self.choices is not None:
            return "{" + ", ".join(map(str, self.choices)) + "}"
        low = f"({self.above:g}" if self.above > self.at_least else f"[{self.at_least:g}"
        return f"{low}, {self.at_most:g}]".replace("[-inf", "(−∞").replace("inf]", "∞]")


def hyper(
    *,
    default: Any,
    above: float = -inf,
    at_least: float = -inf,
    at_most: float = inf,
    choices: tuple[Value, ...] | None = None,
    search: tuple[float, float] | None = None,
    log: bool = False,
) -> Any:
    """Declare a hyper-parameter: its default, its valid domain, its search range."""
    spec = Hyper(above, at_least, at_most, choices, search, log)
    return field(default=default, metadata={"hyper": spec})


def state(factory: Callable[[], Any], *, init: Literal[False] = False) -> Any:
    """Declare a piece of state, made anew by `factory` in every run and kept in checkpoints."""
    return field(default_factory=factory, init=init, repr=False, compare=False)


@runtime_checkable
class Stateful(Protocol):
    """What a state field holds: something that can be saved and restored as tensors."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as named tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned."""
        ...


@dataclass_transform(kw_only_default=True, field_specifiers=(hyper, state))
class Trick:
    """Base of all tricks; subclasses become keyword-only dataclasses by being declared.

    Class attributes:
        slot: the line of the PPO update that it changes; set by the slot's base class.
        name: snake_case of the class name, also the file, the Optuna axis and the MLflow key.
        group: tricks of one group are alternatives; the last one added wins.
        after: names of tricks, and of groups, that come before this one in its slot.
        requires: names of tricks that this one is meaningless without.
        excludes: names of tricks that do the same in another way, or change what this one goes by.
        requires_critic: refused where the advantage estimator does without a critic.
        matches: own hyper-parameter -> every `trick.field` that has to have its value, if it is there.
        needs: extra quantities that must be computed for it; the keys of `NEEDS`.
        neutral: hyper-parameters at which it equals the textbook; None if it has no such setting.
        batch_statistic: one response's result depends on the others.
    """

    slot: ClassVar[str]
    name: ClassVar[str]
    group: ClassVar[str | None] = None
    after: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[tuple[str, ...]] = ()
    requires_critic: ClassVar[bool] = False
    matches: ClassVar[dict[str, tuple[str, ...]]] = {}
    needs: ClassVar[frozenset[str]] = frozenset()
    neutral: ClassVar[dict[str, Value] | None] = None
    batch_statistic: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Turn the subclass into a dataclass and name it.

        Raises:
            ValueError: if a field is neither hyper-parameter nor state, a default lies outside its
                domain, or a name is not known.
        """
        super().__init_subclass__()
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if "__init__" in vars(cls):
            raise ValueError(
                f"{cls.name} defines __init__, whose arguments nothing would record or search: declare "
                "each as a field, `limit: float = hyper(default=1.0, above=0)`"
            )
        dataclass(kw_only=True)(cls)
        cls._refuse_nonsense()

    @classmethod
    def _refuse_nonsense(cls) -> None:
        """Raise ValueError for what would be ignored, or found out in training only."""
        for name in ("after", "requires", "excludes", "needs"):
            if isinstance(given := getattr(cls, name), str):
                names = f'frozenset({{"{given}"}})' if name == "needs" else f'("{given}",)'
                raise ValueError(f"{cls.name}.{name} is a string: write `{name} = {names}`")
        for own, others in cls.matches.items():
            if isinstance(others, str):
                raise ValueError(
                    f'{cls.name}.matches["{own}"] is a string: write `"{own}": ("{others}",)`'
                )
        hypers = cls.hyper_fields()
        for spec in hypers:
            if complaint := spec.metadata["hyper"].complaint(spec.default):
                raise ValueError(
                    f"the default of {cls.name}.{spec.name} {complaint}, got {spec.default}"
                )
        known = [spec.name for spec in hypers]
        for spec in fields(cls):  # type: ignore[arg-type]
            if spec.init and spec.name not in known:
                raise ValueError(
                    f"{cls.name}.{spec.name} is declared by neither hyper() nor state(): write "
                    f"`{spec.name}: float = hyper(default=1.0, above=0)` with its domain"
                )
        for need in set(cls.needs).difference(NEEDS):
            raise ValueError(unknown("quantity", need, NEEDS, where=f"the needs of {cls.name}"))
        for name in set(cls.neutral or ()).difference(known):
            raise ValueError(unknown("hyper-parameter", name, known, where=f"{cls.name}.neutral"))

    def __post_init__(self) -> None:
        """Refuse hyper-parameters outside their domain, and state that no checkpoint can keep."""
        for name, value in self.states().items():
            if not isinstance(value, Stateful):
                raise ValueError(
                    f"{self.name}.{name} is state of type {type(value).__name__}, which no checkpoint "
                    "can keep; use RunningNumber or RunningMoments of workbench.maths, or a class with "
                    "state_dict and load_state_dict"
                )
        for spec in self.hyper_fields():
            value = getattr(self, spec.name)
            complaint = spec.metadata["hyper"].complaint(value)
            if not complaint and isinstance(spec.default, int) and value % 1 != 0:
                complaint = "must be a whole number"
            if complaint:
                raise ValueError(f"{self.name}.{spec.name} {complaint}, got {value}")

    def observe(self, rollout: Rollout) -> None:
        """Move running statistics; called once per rollout, before anything is computed from it."""
        return None

    @classmethod
    def hyper_fields(cls) -> list["Field[Any]"]:
        """Return the dataclass fields that are hyper-parameters."""
        return [spec for spec in fields(cls) if "hyper" in spec.metadata]  # type: ignore[arg-type]

    def hypers(self) -> dict[str, Value]:
        """Return hyper-parameters by name."""
        return {spec.name: getattr(self, spec.name) for spec in self.hyper_fields()}

    @classmethod
    def follows(cls, other: "Trick | type[Trick]") -> bool:
        """Say whether the other trick comes before this one in its slot, by its name or its group."""
        return other.slot == cls.slot and not {other.name, other.group}.isdisjoint(cls.after)

    def fresh(self, **values: Value) -> Self:
        """Return a copy with fresh state, and other hyper-parameters where given."""
        return replace(self, **values)  # type: ignore[type-var]

    def states(self) -> dict[str, Stateful]:
        """Return state fields by name."""
        every = fields(self)  # type: ignore[arg-type]
        return {spec.name: getattr(self, spec.name) for spec in every if not spec.init}


class Initialise(Trick):
    """Slot: set the starting weights. Members of a group are alternatives."""

    slot = "initialise"
    is_of_critic: ClassVar[bool] = False
    """It changes the critic alone, and is left out where a recipe has none.

    Any other has to do without `models.critic.model` there.
    """

    def __call__(self, models: "Models", prepared: "Prepared", seed: int) -> None:
        """Change the models in place before training; `seed` is that of the run."""
        raise TypeError(f"{self.name} does not define __call__")


class OptimisationTransform(Trick):
    """Slot: change the optimiser's settings and how a buffer is worked through."""

    slot = "optimisation"

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        """Return the changed settings, given how many responses a buffer holds."""
        raise TypeError(f"{self.name} does not define __call__")


class SamplingTransform(Trick):
    """Slot: change how responses are sampled."""

    slot = "sampling"

    def __call__(self, sampling: Sampling) -> Sampling:
        """Return the changed sampling settings."""
        raise TypeError(f"{self.name} does not define __call__")


class LogitTransform(Trick):
    """Slot: change the logits from which a token is drawn, after the temperature.

    Any of a batch's states may come together, and in the update the same ones twice, so a state's logits
    depend on neither its companions nor earlier calls.
    """

    slot = "logits"

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        """Map logits [N, V] to logits [N, V]; −∞ forbids a token."""
        raise TypeError(f"{self.name} does not define __call__")


class RewardFunction(Trick):
    """Slot: change the reward model's score before any statistics are taken of it."""

    slot = "reward_function"

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        """Map score [B] to score [B]."""
        raise TypeError(f"{self.name} does not define __call__")


class ScoreTransform(Trick):
    """Slot: reparameterise the score, one number per response."""

    slot = "score"

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        """Map score [B] to score [B]."""
        raise TypeError(f"{self.name} does not define __call__")


class ValueTransform(Trick):
    """Slot: map the critic's raw output to values, in the rollout and in the update."""

    slot = "value"

    def __call__(self, value: Tensor, mask: Tensor) -> Tensor:
        """Map value [B, T] to value [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class RewardTransform(Trick):
    """Slot: change the per-token reward, which starts as the score on the last token."""

    slot = "reward"

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        """Map reward [B, T] to reward [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class AdvantageEstimator(Trick):
    """Slot: estimate advantages and value targets. Exactly one is active.

    One that does not need "value" has no critic: none is evaluated and none is trained.
    """

    slot = "advantage_estimator"
    group = "advantage_estimator"

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return advantage [B, T] and returns [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class RolloutAdvantageTransform(Trick):
    """Slot: change the advantages of the whole rollout, before it is split into minibatches."""

    slot = "rollout_advantage"

    def __call__(self, advantage: Tensor, rollout: Rollout) -> Tensor:
        """Map advantage [B, T] to advantage [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class Selection(Trick):
    """Slot: choose the responses that the update learns from. If none is left, all are."""

    slot = "selection"

    def __call__(self, rollout: Rollout) -> Tensor:
        """Return [B] bool, True where a response is kept; `rollout.score` is the final one."""
        raise TypeError(f"{self.name} does not define __call__")


class AdvantageTransform(Trick):
    """Slot: change the advantages of one minibatch."""

    slot = "advantage"

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        """Map advantage [B, T] to advantage [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class RatioTransform(Trick):
    """Slot: change the log-ratio ℓ = log π − log π_old that the policy's loss is made of."""

    slot = "ratio"

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Map log-ratio [B, T] to log-ratio [B, T]; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class PolicyLoss(Trick):
    """Slot: the policy's loss per token. Exactly one is active."""

    slot = "policy_loss"
    group = "policy_loss"

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        """Return the loss [B, T] to minimise, given the log-ratio [B, T] of π to π_old."""
        raise TypeError(f"{self.name} does not define __call__")


class PolicyWeight(Trick):
    """Slot: weigh the tokens of the policy's loss. Several multiply; counts stay those of the mask."""

    slot = "policy_weight"

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        """Return weights [B, T] ≥ 0, without gradient; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class ValueTarget(Trick):
    """Slot: change on which states, or to what, the critic is fitted."""

    slot = "value_target"

    def __call__(self, new: Evaluation, minibatch: Rollout) -> tuple[Tensor, Rollout]:
        """Return the critic's new values [B, S] and a rollout whose mask, value, returns fit them."""
        raise TypeError(f"{self.name} does not define __call__")


class ValueLoss(Trick):
    """Slot: the critic's loss per token. Exactly one is active."""

    slot = "value_loss"
    group = "value_loss"

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        """Return the loss [B, T] to minimise, given the critic's new value [B, T]."""
        raise TypeError(f"{self.name} does not define __call__")


class ValueWeight(Trick):
    """Slot: weigh the states of the critic's loss. Several multiply; counts stay those of the mask."""

    slot = "value_weight"

    def __call__(self, minibatch: Rollout) -> Tensor:
        """Return weights [B, T] ≥ 0; 0 outside the mask."""
        raise TypeError(f"{self.name} does not define __call__")


class Aggregation(Trick):
    """Slot: how losses per token become one number. Exactly one is active."""

    slot = "aggregation"
    group = "aggregation"

    def __call__(self, loss: Tensor, mask: Tensor) -> Tensor:
        """Map loss [B, T] to a scalar."""
        raise TypeError(f"{self.name} does not define __call__")


class Regulariser(Trick):
    """Slot: a term added to the loss of one minibatch."""

    slot = "regulariser"

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Return a scalar to minimise."""
        raise TypeError(f"{self.name} does not define __call__")


class Stopping(Trick):
    """Slot: leave the rest of a buffer alone. Asked before every optimiser step."""

    slot = "stopping"

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Return a bool scalar: True drops this step and those that remain for the buffer."""
        raise TypeError(f"{self.name} does not define __call__")


class GradientTransform(Trick):
    """Slot: change the gradients before the optimiser's step."""

    slot = "gradient"

    def __call__(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Map the gradients of policy and critic to gradients of the same shapes."""
        raise TypeError(f"{self.name} does not define __call__")


class Schedule(Trick):
    """Slot: factors on the learning rates over the iterations. Several multiply."""

    slot = "schedule"

    def __call__(self, iteration: int, iterations: int) -> Rates:
        """Return the factors in effect at `iteration` (0-based) of `iterations`."""
        raise TypeError(f"{self.name} does not define __call__")


class WeightSync(Trick):
    """Slot: let slow copies of the policy follow it, after every iteration."""

    slot = "weight_sync"

    def __call__(self, models: "Models", iteration: int) -> None:
        """Change the slow copies in place; `iteration` (0-based) has just been done."""
        raise TypeError(f"{self.name} does not define __call__")


SLOTS: dict[str, type[Trick]] = {
    base.slot: base
    for base in (
        Initialise,
        OptimisationTransform,
        SamplingTransform,
        LogitTransform,
        RewardFunction,
        ScoreTransform,
        ValueTransform,
        RewardTransform,
        AdvantageEstimator,
        RolloutAdvantageTransform,
        Selection,
        AdvantageTransform,
        RatioTransform,
        PolicyLoss,
        PolicyWeight,
        ValueTarget,
        ValueLoss,
        ValueWeight,
        Aggregation,
        Regulariser,
        Stopping,
        GradientTransform,
        Schedule,
        WeightSync,
    )
}
"""Slots in the order in which the PPO update calls them."""
