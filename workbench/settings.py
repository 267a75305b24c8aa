"""Settings of the pipeline, validated: a wrong key or value is one sentence before anything runs."""

from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.names import unknown


class Settings(BaseModel):
    """Base of all settings: immutable, and a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Settings):
    """A language model: a Hugging Face folder or hub name, or a small GPT-2 from scratch."""

    path: str | None = Field(None, description="Hugging Face folder or hub name; from scratch if absent")
    width: int = Field(64, gt=0, description="hidden size of the model from scratch")
    layers: int = Field(2, gt=0, description="transformer blocks")
    heads: int = Field(4, gt=0, description="attention heads; must divide the width")
    context: int = Field(128, gt=0, description="longest prompt and response together, in tokens")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}")
        return self


class TrainingSettings(Settings):
    """Supervised training on sequences of tokens."""

    steps: int = Field(400, ge=0, description="optimiser steps; 0 skips the stage")
    batch_size: int = Field(64, gt=0, description="sequences per step")
    learning_rate: float = Field(4e-3, gt=0, description="peak; warmed up over 5 %, cosine to a tenth")


class RewardModelSettings(Settings):
    """The reward model: its trunk, and how it is trained on preference pairs."""

    path: str | None = Field(None, description="trained sequence-classification folder; skips training")
    epochs: int = Field(2, gt=0, description="passes over the preference pairs")
    batch_size: int = Field(64, gt=0, description="pairs per step")
    learning_rate: float = Field(1e-3, gt=0, description="peak; warmed up over 5 %, cosine to a tenth")
    head_std: float | None = Field(
        None, ge=0, description="deviation of the head's first weights; 1/√(width + 1) if absent"
    )
    lm_weight: float = Field(0.0, ge=0, description="β_rm, weight of the LM loss on chosen responses")
    stop_after: int | None = Field(
        None, gt=0, description="optimiser steps after which training ends early, on the same schedule"
    )
    seed: int | Literal["run"] | None = Field(
        None,
        description="of pairs, batches and head; that of `prepare` if absent; `run`: each run has a"
        " reward model of its own seed, so that intervals cover the reward model's training",
    )

    def unchosen(self) -> set[str]:
        """Name the newer settings that are not used, so that hashes from before they existed hold."""
        return {name for name in ("stop_after", "seed") if getattr(self, name) is None}


class PrepareSettings(Settings):
    """Everything that is made once and shared by all arms."""

    seed: int = Field(0, description="seed of initial weights, batches and preference samples")
    policy: ModelSettings = ModelSettings()
    pretrain: TrainingSettings = TrainingSettings(steps=400)
    sft: TrainingSettings = TrainingSettings(steps=1200)
    reward_model: RewardModelSettings = RewardModelSettings()

    @property
    def is_per_run(self) -> bool:
        """Whether runs of different seeds have different reward models."""
        return self.reward_model.seed == "run"

    def for_run(self, seed: int) -> "PrepareSettings":
        """Return the settings of the models of the runs with one seed."""
        if not self.is_per_run:
            return self
        own = self.reward_model.model_copy(update={"seed": seed})
        return self.model_copy(update={"reward_model": own})


class PpoSettings(Settings):
    """What PPO does besides its tricks; the same for every arm of a study.

    Attributes:
        UNTOLD: settings that are the machine's, and are not told of a run or a study.
        IDLE: those and others that decide no numbers, so that a run goes on when they were changed.
    """

    UNTOLD: ClassVar[set[str]] = {"micro_batch_size"}
    IDLE: ClassVar[set[str]] = {"checkpoint_every"} | UNTOLD

    iterations: int = Field(150, gt=0, description="PPO iterations")
    rollout_size: int = Field(128, gt=1, description="responses per iteration")
    minibatch_size: int = Field(32, gt=0, description="responses per optimiser step")
    epochs: int = Field(1, gt=0, description="passes over each buffer")
    policy_learning_rate: float = Field(1e-4, gt=0, description="Adam step size of the policy")
    critic_learning_rate: float = Field(3e-4, gt=0, description="Adam step size of the critic")
    max_response_tokens: int = Field(64, gt=0, description="cap on the response")
    temperature: float = Field(1.0, gt=0, description="of sampling and of every log-probability")
    eval_every: int = Field(5, gt=0, description="iterations between evaluations on held-out prompts")
    eval_prompts: int = Field(128, gt=0, description="held-out prompts per evaluation")
    checkpoint_every: int = Field(20, gt=0, description="iterations between checkpoints")
    micro_batch_size: int | None = Field(
        None,
        gt=0,
        description="rows that a model reads at a time, also where it is prepared; else all",
    )

    @model_validator(mode="after")
    def _minibatch_divides_rollout(self) -> Self:
        if self.rollout_size % self.minibatch_size:
            raise ValueError(
                f"minibatch_size must divide rollout_size,"
                f" got {self.minibatch_size} and {self.rollout_size}"
            )
        return self


class CollapseRule(Settings):
    """When a run counts as collapsed: `workbench.collapse.find_collapse` says it in words."""

    standard_errors: float = Field(
        2.0, ge=0, description="judged: fall of gold, in standard errors of the start's mean gold"
    )
    evaluations_in_a_row: int = Field(2, gt=0, description="judged: how long the fall has to last")
    distinct_share: float = Field(
        0.5, ge=0, le=1, description="unjudged: fewer distinct responses than this share of the start's"
    )
    truncated_rise: float = Field(
        0.5, ge=0, le=1, description="unjudged: share of responses cut at the cap, beyond the start's"
    )
    perplexity_factor: float = Field(
        2.0, ge=1, description="unjudged: perplexity above the start's, or below it, by this factor"
    )
    iterations_in_a_row: int = Field(5, gt=0, description="unjudged: how long any of these has to last")


class PruneSettings(Settings):
    """Which collapsed runs are ended before their last iteration, and how soon.

    With the key `prune` in a study file, a run ends once its own records say that it has collapsed and
    `patience` further iterations have passed. Up to there it is the run that it would have been. It is
    evaluated once more, its policy is kept, and it counts as collapsed: at the iteration that the rule
    of the verdict names, or where that rule had seen nothing, the rule of pruning. Its tag `stopped_at`
    says how many iterations it was trained for. Its final values are those at its stop, not those that
    it would have had at the end, and its curves end there, so that the mean of an arm is from then on
    the mean of the runs that went on. Without the key, which is the default, no run is ended: where
    arms are compared, what becomes of a collapsed run is part of the answer.
    """

    rule: Literal["collapse", "gold", "monitors"] = Field(
        "collapse",
        description="`collapse`: the rule of the verdict; `gold`: its judged half, which needs a gold"
        " judge; `monitors`: its unjudged half, even where there is a judge",
    )
    patience: int = Field(
        10, ge=0, description="iterations for which a run goes on after its records say so"
    )


class TaskSettings(BaseModel):
    """A task by name; every other key belongs to that task and is checked by it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = "dialogue"

    def own(self) -> dict[str, Any]:
        """Return the keys that belong to the task itself."""
        return dict(self.model_extra or {})


_PLAINLY = {
    "bool_parsing": "it should be true or false",
    "bool_type": "it should be true or false",
    "dict_type": "it should be 'key: value' lines",
    "float_parsing": "it should be a number",
    "float_type": "it should be a number",
    "int_from_float": "it should be a whole number",
    "int_parsing": "it should be a whole number",
    "int_type": "it should be a whole number",
    "missing": "it has to be given",
    "model_type": "it should be 'key: value' lines",
    "string_type": "it should be a word",
    "too_short": "it should not be empty",
}
"""What pydantic says in terms of Python, by its kind of error."""


def sentence(error: ValidationError, place: str | Path) -> str:
    """Turn a pydantic error into one sentence with the nearest right name for a wrong key.

    Args:
        error: what pydantic raised.
        place: file or option that was read.
    """
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    *path, last = first["loc"] or ("",)
    if first["type"] == "extra_forbidden":
        known = _known_keys(error, tuple(path))
        return f"{place}: " + unknown("key", str(last), known, where=".".join(map(str, path)))
    place_of, told = first["loc"], [_plainly(first)]
    if _is_branch(last):  # of a union, each of whose branches says what it should be
        place_of = tuple(path)
        told = [_plainly(e) for e in errors if e["loc"][:-1] == place_of and _is_branch(e["loc"][-1])]
    first_told, *rest = dict.fromkeys(told)
    message = " or ".join([first_told, *(one.removeprefix("it should be ") for one in rest)])
    where = ".".join(str(part) for part in place_of if part != "[key]")
    got = "" if first["type"] in ("value_error", "missing") else f", got {first['input']!r}"
    return f"{place}: {where}: {message}{got}" if where else f"{place}: {message}"


def _plainly(error: Any) -> str:
    message: str = error["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return _PLAINLY.get(error["type"], message)


def _is_branch(part: int | str) -> bool:
    """Say whether a part of a location names a type of a union, as pydantic writes it, and no key."""
    return part in ("bool", "int", "float", "str") or str(part).startswith("literal[")


def _known_keys(error: ValidationError, path: tuple[int | str, ...]) -> list[str]:
    """Find the keys of the model in which the wrong key stood, by walking down its path."""
    roots = {kind.__name__: kind for kind in _subclasses(BaseModel)}
    model: Any = roots.get(error.title)
    for part in path:
        if issubclass(get_origin(model) or model, BaseModel):
            model = {f.alias or n: f.annotation for n, f in model.model_fields.items()}[str(part)]
        else:  # dict[str, Model]: the part is a key that the user chose
            model = get_args(model)[-1]
        if get_origin(model) is UnionType:  # Model | None
            model = get_args(model)[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _subclasses(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [kind, *(deep for sub in kind.__subclasses__() for deep in _subclasses(sub))]
