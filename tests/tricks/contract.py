"""What every trick promises, as checks that raise AssertionError; `test_contract.py` runs them all.

A check takes the trick's class and needs to know nothing else of it: the slot says how to call it.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from tests.builders import VOCABULARY, make_draft, make_evaluation, make_rollout, map_tensors
from workbench.names import unknown
from workbench.plugins import source_hash
from workbench.registry import registry
from workbench.trick import NEEDS, Hyper, Trick, Value
from workbench.tricks.advantage_estimator.monte_carlo import MonteCarlo
from workbench.tricks.policy_loss.unclipped_surrogate import UnclippedSurrogate
from workbench.tricks.value_loss.value_mse import ValueMse
from workbench.types import Draft, Evaluation, Optimisation, Rollout, Sampling

Kind = type[Trick]
PER_RESPONSE = ("reward_function", "score", "selection")
PER_TOKEN = (
    "value", "reward", "advantage_estimator", "rollout_advantage", "advantage", "ratio", "policy_loss",
    "policy_weight", "value_target", "value_loss", "value_weight",
)  # fmt: skip
SCALAR = ("aggregation", "regulariser", "stopping")
LOSSES = ("ratio", "policy_loss", "value_target", "value_loss", "aggregation", "regulariser")
TENSORS = (*PER_RESPONSE, *PER_TOKEN, *SCALAR, "logits", "gradient")
BOOLEAN = ("selection", "stopping")
WITHOUT_TENSORS = ("optimisation", "sampling", "schedule")
OPTIMISATION = Optimisation(epochs=1, minibatch_size=32)


@dataclass(frozen=True)
class Inputs:
    """All that a trick may be given."""

    rollout: Rollout
    new: Evaluation
    logits: Tensor
    draft: Draft
    iteration: int = 3

    @classmethod
    def draw(cls, seed: int = 0, dtype: torch.dtype = torch.float64) -> "Inputs":
        rollout = make_rollout(seed=seed, dtype=dtype)
        evaluation = make_evaluation(rollout, seed=seed + 100)
        return cls(rollout, evaluation, *make_draft(rollout, seed=seed + 200))

    def map(self, change: Callable[[str, Tensor], Tensor]) -> "Inputs":
        return replace(
            self, rollout=map_tensors(self.rollout, change), new=map_tensors(self.new, change)
        )


def call(trick: Any, given: Inputs) -> tuple[Tensor, ...]:
    """Call a trick as its slot is called in the PPO update; return what comes out as tensors."""
    rollout, new = given.rollout, given.new
    if trick.slot == "gradient":
        policy, critic = trick([rollout.value, rollout.score], [new.pretraining_loss])
        return (*policy, *critic)
    if trick.slot in WITHOUT_TENSORS:
        return (torch.tensor(_settings(trick, given)),)
    if trick.slot == "value_target":
        value, target = trick(new, rollout)
        return (value, target.value, target.returns)
    log_ratio = torch.where(rollout.mask, new.log_prob - rollout.log_prob, 0.0)
    arguments: dict[str, tuple[Any, ...]] = {
        "logits": (given.logits, given.draft),
        "reward_function": (rollout.score, rollout),
        "score": (rollout.score, rollout),
        "value": (rollout.value, rollout.mask),
        "reward": (rollout.reward, rollout),
        "advantage_estimator": (rollout,),
        "rollout_advantage": (rollout.advantage, rollout),
        "selection": (rollout,),
        "advantage": (rollout.advantage, rollout.mask),
        "ratio": (log_ratio, new, rollout),
        "policy_loss": (log_ratio, new, rollout, rollout.advantage),
        "policy_weight": (new, rollout, rollout.advantage),
        "value_loss": (new.value, rollout),
        "value_weight": (rollout,),
        "aggregation": (new.log_prob, rollout.mask),
        "regulariser": (new, rollout),
        "stopping": (new, rollout),
    }
    result = trick(*arguments[trick.slot])
    assert result is not None, f"{trick.name} returns nothing; a `return` is missing"
    return result if isinstance(result, tuple) else (result,)


def _settings(trick: Any, given: Inputs) -> list[float]:
    """Return the settings that a trick without tensors gives, as numbers."""
    if trick.slot == "schedule":
        return list(vars(trick(given.iteration, 100)).values())
    if trick.slot == "sampling":
        changed = trick(Sampling(temperature=1.0, max_response_tokens=8, buffer_size=128))
    else:
        changed = trick(OPTIMISATION, 128)
    flat = [v if isinstance(v, tuple) else (v,) for v in vars(changed).values()]
    return [float(number) for part in flat for number in part]


def observed(kind: Kind, given: Inputs, **hypers: Value) -> Trick:
    """Make a trick that has seen a rollout twice: what is measured may count from the next one on."""
    trick = kind(**hypers)
    trick.observe(given.rollout)
    trick.observe(given.rollout)
    return trick


# 1. What it says of itself.


def check_docstring(kind: Kind) -> None:
    """The docstring has an indented equation, then `Variant:`, then `Source:` with a place to look."""
    text = inspect.getdoc(kind) or ""
    assert re.search(r"\n\n    \S", text), f"{kind.name} shows no equation, indented by four"
    assert "\nVariant: " in text, f"{kind.name} does not say which variant it is"
    source = text.partition("\nSource: ")[2]
    place = r"arXiv:\d{4}\.\d{5}|[0-9a-f]{8}|Schulman|baselines"
    assert re.search(place, source), (
        f"{kind.name} names no source that can be found: of what it is or what it departs from give the "
        "number as in arXiv:2307.04964, or a commit of at least eight digits"
    )


def check_names(kind: Kind) -> None:
    """File, class and slot folder carry the trick's name; a plugin may be any file."""
    *_, folder, file = kind.__module__.split(".")
    assert (folder, file) == (kind.slot, kind.name) or source_hash(kind)


def check_needs(kind: Kind) -> None:
    """It needs nothing that the update does not know of."""
    assert kind.needs <= set(NEEDS), f"{kind.name} needs {set(kind.needs) - set(NEEDS)}"


def check_neighbours(kind: Kind) -> None:
    """What it comes after is a trick or a group of its slot; what it requires or excludes, a trick."""
    kinds = registry()
    beside = [other for other in kinds.values() if other.slot == kind.slot]
    names = {other.name for other in beside} | {other.group for other in beside if other.group}
    for before in kind.after:
        where = f"slot {kind.slot}, which {kind.name} comes after"
        assert before in names, unknown("trick", before, names, where=where)
    for other in (*kind.requires, *kind.excludes):
        assert other in kinds, unknown("trick", other, kinds, where=f"what {kind.name} names")


def check_signature(kind: Kind) -> None:
    """Its `__call__` takes what its slot gives, by the same names."""
    slot = next(base for base in kind.__mro__ if base.__module__ == "workbench.trick")
    given, taken = (", ".join([*inspect.signature(k.__call__).parameters][1:]) for k in (slot, kind))
    assert kind.__call__ is not slot.__call__, f"{kind.name} defines no __call__(self, {given})"
    assert taken == given, (
        f"{kind.name} takes ({taken}), and slot {kind.slot} calls its tricks with ({given});"
        " is it the slot that you mean?"
    )


def check_tensors_only(kind: Kind) -> None:
    """Nothing turns a tensor into a number, so that the trick can run under vmap."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(kind)))  # type: ignore[arg-type]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            banned = node.attr in ("item", "tolist", "numpy", "cpu", "detach_")
            assert not banned, f"{kind.name} uses .{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            is_cast = node.func.id in ("float", "int", "bool") and kind.slot in TENSORS
            assert not is_cast, f"{kind.name} calls {node.func.id}()"


# 2. What comes out.


def check_shapes(kind: Kind) -> None:
    """Transforms keep shape and dtype; aggregations and regularisers give a scalar; all is finite."""
    for dtype in (torch.float32, torch.float64):
        given = Inputs.draw(dtype=dtype)
        whole, rows = given.rollout.mask.shape, given.rollout.score.shape
        longer = torch.Size([whole[0], whole[1] + 1])
        expected = dict.fromkeys(PER_TOKEN, (whole,)) | dict.fromkeys(PER_RESPONSE, (rows,))
        expected |= {"logits": (torch.Size([rows[0], VOCABULARY]),), "value_target": (whole, longer)}
        wanted = torch.bool if kind.slot in BOOLEAN else dtype
        for out in call(observed(kind, given), given):
            assert not out.isnan().any()
            assert kind.slot == "logits" or out.isfinite().all()
            assert out.dtype == wanted, f"{kind.name} turns {dtype} into {out.dtype}"
            if kind.slot != "gradient":
                assert out.shape in expected.get(kind.slot, (torch.Size([]),))
        if kind.slot == "gradient":
            sizes = [gradient.shape for gradient in call(kind(), given)]
            assert sizes == [given.rollout.value.shape, rows, torch.Size([])]


class _OnlyDoubles(TorchFunctionMode):
    """Let nothing make a float32, as a quotient of integers is or a choice between two numbers."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        assert getattr(made, "dtype", None) != torch.float32, (
            f"{function.__name__} makes a float32 where all is float64, as a number times integers does;"
            " take counts and constants in the dtype of what they meet: `count.to(score.dtype)`"
        )
        return made


def check_precision(kind: Kind) -> None:
    """What is given in float64 is computed in it to the end, not only cast back."""
    given = Inputs.draw(dtype=torch.float64)
    with _OnlyDoubles():
        call(observed(kind, given), given)


def check_gradient(kind: Kind) -> None:
    """A loss has a finite gradient, which is not zero, in what the models say; targets have none."""
    given = Inputs.draw()
    new = map_tensors(given.new, lambda _, tensor: tensor.clone().requires_grad_())
    out = call(observed(kind, given), replace(given, new=new))
    torch.autograd.backward(out[0].sum())
    gradients = [tensor.grad for tensor in vars(new).values() if tensor.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def check_a_token_is_left(kind: Kind) -> None:
    """Some token can be drawn, even where policy or guide is all but sure of the end token."""
    for seed in range(3):
        given = Inputs.draw(seed)
        is_end = torch.arange(VOCABULARY) == given.draft.eos
        sure = torch.where(is_end, 100.0, given.logits)
        for logits, guide in ((given.logits, sure), (sure, given.logits), (sure, sure)):
            draft = replace(given.draft, guide=guide, step=torch.zeros_like(given.draft.step))
            (out,) = call(kind(), replace(given, logits=logits, draft=draft))
            assert out.isfinite().any(-1).all(), f"{kind.name} leaves no token to draw"


def check_states_are_independent(kind: Kind) -> None:
    """Logits of one state do not depend on the other states of the batch."""
    given = Inputs.draw()
    (together,) = call(kind(), given)
    for row in range(len(together)):
        one = {name: t[row : row + 1] if t.ndim else t for name, t in vars(given.draft).items()}
        alone = replace(given, logits=given.logits[row : row + 1], draft=Draft(**one))
        assert torch.equal(call(kind(), alone)[0][0], together[row]), f"{kind.name} mixes states"


# 3. Padding, rows, purity.


def check_padding(kind: Kind) -> None:
    """Junk outside the mask changes nothing inside it, nor any scalar."""
    given = Inputs.draw()
    mask = given.rollout.mask

    def junk(name: str, tensor: Tensor) -> Tensor:
        is_token = tensor.shape == mask.shape and name != "mask"
        return torch.where(mask, tensor, 777.0) if is_token else tensor

    dirty = given.map(junk)
    clean_out = call(observed(kind, given), given)
    for clean, leaked in zip(clean_out, call(observed(kind, dirty), dirty), strict=True):
        if clean.shape == mask.shape:
            assert not clean[~mask].any(), f"{kind.name} is not 0 outside the mask"
            clean, leaked = clean[mask], leaked[mask]
        assert_close(leaked, clean, rtol=0, atol=0, msg=(
            f"{kind.name} lets padding leak: it reads tokens outside the mask, where anything may stand;"
            " take `torch.where(mask, tensor, 0.0)` before a sum"
        ))  # fmt: skip


def check_permutation(kind: Kind) -> None:
    """Permuted responses give permuted results, and the same scalars."""
    given, order = Inputs.draw(), torch.tensor([2, 0, 3, 1])
    moved = given.map(lambda _, tensor: tensor[order] if tensor.ndim else tensor)
    before, after = call(observed(kind, given), given), call(observed(kind, moved), moved)
    for old, new in zip(before, after, strict=True):
        assert_close(new, old[order] if old.ndim else old, rtol=1e-12, atol=1e-12)


def check_row_independence(kind: Kind) -> None:
    """Another first response leaves the results of the others alone, or `batch_statistic` says not."""
    given = Inputs.draw()
    trick = observed(kind, given)
    before = call(trick, given)
    is_same = True
    for seed in (7, 8, 9):
        other = Inputs.draw(seed)
        mixed = replace(
            given,
            rollout=_with_first_row(given.rollout, other.rollout),
            new=_with_first_row(given.new, other.new),
        )
        pairs = zip(before, call(trick, mixed), strict=True)
        is_same = is_same and all(torch.equal(a[1:], b[1:]) for a, b in pairs)
    if kind.slot in BOOLEAN and is_same:
        return  # a choice may come out the same although it looks at the others
    assert is_same != kind.batch_statistic, (
        f"{kind.name}.batch_statistic should be {not is_same}: one response's result does"
        f"{' not' if is_same else ''} change with the others"
    )


def _with_first_row(data: Any, other: Any) -> Any:
    """Return the same dataclass with the first row of every tensor from the other one."""
    return map_tensors(data, lambda name, t: _first_row_of(getattr(other, name), t))


def _first_row_of(source: Tensor, target: Tensor) -> Tensor:
    return torch.cat([source[:1], target[1:]]) if target.ndim else target


def check_purity(kind: Kind) -> None:
    """Calling changes neither the inputs nor the trick: the second call gives the same."""
    given = Inputs.draw()
    kept = given.map(lambda _, tensor: tensor.clone())
    trick = observed(kind, given)
    first = [out.clone() for out in call(trick, given)]
    for old, new in zip(first, call(trick, given), strict=True):
        assert torch.equal(old, new), (
            f"{kind.name} answers differently the second time; move state in `observe` alone"
        )
    for part in ("rollout", "new"):
        for name, tensor in vars(getattr(kept, part)).items():
            same = torch.equal(getattr(getattr(given, part), name), tensor)
            assert same, f"{kind.name} changes {part}.{name} in place"


# 4. Hyper-parameters.


def check_no_dead_knob(kind: Kind) -> None:
    """Every hyper-parameter changes the result for some input."""
    several = [Inputs.draw(seed) for seed in range(3)]
    several += [replace(several[0], iteration=k) for k in (0, 20, 60)]
    long = replace(several[0].rollout, text_length=20 * several[0].rollout.text_length)
    several.append(replace(several[0], rollout=long))
    for name, spec in _specs(kind):
        base = [_outputs(kind, given) for given in several]
        values = [{name: value} for value in _candidates(spec, kind().hypers()[name])]
        changed = [[_outputs(kind, given, **value) for given in several] for value in values]
        assert any(outs != base for outs in changed), f"{kind.name}.{name} changes nothing"


def _outputs(kind: Kind, given: Inputs, **hypers: Value) -> list[Any]:
    return [out.tolist() for out in call(observed(kind, given, **hypers), given)]


def _specs(kind: Kind) -> Iterator[tuple[str, Hyper]]:
    return ((spec.name, spec.metadata["hyper"]) for spec in kind.hyper_fields())


def _candidates(spec: Hyper, default: Value) -> list[Value]:
    """Return valid values other than the default; only those of its search range where it has one."""
    if spec.choices is not None:
        return [choice for choice in spec.choices if choice != default]
    whole = isinstance(default, int)
    near = spec.search or (float(default) + 1, float(default) - 0.5)
    if default == inf:
        near = spec.search or (1.0, 0.1)
    values: list[Value] = [int(value) if whole else float(value) for value in near]
    return [value for value in values if value != default and spec.complaint(value) is None]


def check_neutral(kind: Kind) -> None:
    """At its neutral setting the trick equals the textbook, where it declares one."""
    assert kind.neutral is not None
    given = Inputs.draw()
    rollout = given.rollout
    if kind.slot == "policy_loss":  # at the SFT policy, where all ratios have one denominator
        given = replace(given, rollout=replace(rollout, ref_log_prob=rollout.log_prob))
    gradients = (rollout.value, rollout.score, given.new.pretraining_loss)
    ones = rollout.mask.to(rollout.value.dtype)
    log_ratio = torch.where(rollout.mask, given.new.log_prob - rollout.log_prob, 0.0)
    textbook: dict[str, Callable[[], tuple[Tensor, ...]]] = {
        "optimisation": lambda: (torch.tensor(_settings(_AsItIs("optimisation"), given)),),
        "sampling": lambda: (torch.tensor(_settings(_AsItIs("sampling"), given)),),
        "logits": lambda: (given.logits,),
        "reward_function": lambda: (rollout.score,),
        "value": lambda: (rollout.value,),
        "rollout_advantage": lambda: (rollout.advantage,),
        "selection": lambda: (torch.ones_like(rollout.score, dtype=torch.bool),),
        "ratio": lambda: (log_ratio,),
        "policy_weight": lambda: (ones,),
        "value_target": lambda: (given.new.value, rollout.value, rollout.returns),
        "value_weight": lambda: (ones,),
        "stopping": lambda: (torch.zeros((), dtype=torch.bool),),
        "score": lambda: (rollout.score,),
        "reward": lambda: (rollout.reward,),
        "advantage_estimator": lambda: call(MonteCarlo(), given),
        "advantage": lambda: (rollout.advantage,),
        "policy_loss": lambda: call(UnclippedSurrogate(), given),
        "value_loss": lambda: call(ValueMse(), given),
        "regulariser": lambda: (torch.zeros((), dtype=torch.float64),),
        "gradient": lambda: gradients,
        "schedule": lambda: (torch.tensor([1.0, 1.0]),),
    }
    out = call(observed(kind, given, **kind.neutral), given)
    for found, expected in zip(out, textbook[kind.slot](), strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-12, msg=lambda why: (
            f"{kind.name} with {kind.neutral} does not equal the textbook; nan comes of inf · 0 and"
            f" inf / inf. {why}"
        ))  # fmt: skip


@dataclass(frozen=True)
class _AsItIs:
    """The textbook's member of a slot without tensors: it changes nothing."""

    slot: str

    def __call__(self, settings: Any, *_: Any) -> Any:
        return settings


def check_search_range(kind: Kind) -> None:
    """A search range holds the default and lies in the domain; so does the neutral setting."""
    for name, spec in _specs(kind):
        if spec.search is None:
            continue
        low, high = spec.search
        default, what = float(kind().hypers()[name]), f"{kind.name}.{name}: the search {low} to {high}"
        assert low < high and low <= default <= high, f"{what} does not hold the default {default}"
        for end in spec.search:
            assert spec.complaint(end) is None, f"{what} leaves the domain {spec.domain()}"
        assert low > 0 or not spec.log, f"{kind.name}.{name} is searched on a log scale from {low}"
    kind(**(kind.neutral or {}))


def check_domain(kind: Kind) -> None:
    """A value outside the domain is refused in a sentence that names field and bound."""
    for name, spec in _specs(kind):
        for value, bound in _outside(spec):
            message = rf"^{kind.name}\.{name} must be {re.escape(bound)}.*, got "
            with pytest.raises(ValueError, match=message):
                kind(**{name: value})
        if isinstance(kind().hypers()[name], int) and spec.choices is None:
            with pytest.raises(ValueError, match=f"^{kind.name}.{name} must be a whole number, got 2.5"):
                kind(**{name: 2.5})


def _outside(spec: Hyper) -> Iterator[tuple[Value, str]]:
    if spec.choices is not None:
        yield "nonsense", "one of " + ", ".join(map(str, spec.choices))
        return
    if spec.above > -inf:
        yield spec.above, f"above {spec.above:g}"
    if spec.at_least > -inf:
        yield spec.at_least - 1, f"at least {spec.at_least:g}"
    if spec.at_most < inf:
        yield spec.at_most + 1, f"at most {spec.at_most:g}"
    yield nan, ""
    yield "nonsense", "a number"


# 5. State.


def check_resume(kind: Kind) -> None:
    """Save, load into a fresh trick and go on: the same as never having stopped."""
    first, second = Inputs.draw(0), Inputs.draw(1)
    straight, saved, resumed = kind(), kind(), kind()
    straight.observe(first.rollout)
    saved.observe(first.rollout)
    for name, part in resumed.states().items():
        copied = saved.states()[name].state_dict()
        assert all(isinstance(value, Tensor) for value in copied.values())
        part.load_state_dict({key: value.clone() for key, value in copied.items()})
    for trick in (straight, resumed):
        trick.observe(second.rollout)
    for old, new in zip(call(straight, second), call(resumed, second), strict=True):
        assert torch.equal(old, new), f"{kind.name} forgets something in its state_dict"


def check_fresh_state(kind: Kind) -> None:
    """`replace` keeps the hyper-parameters and starts with fresh state."""
    given, other = Inputs.draw(0), Inputs.draw(1)
    fresh = replace(observed(kind, given))  # type: ignore[type-var]
    fresh.observe(other.rollout)
    fresh.observe(other.rollout)
    for old, new in zip(call(observed(kind, other), other), call(fresh, other), strict=True):
        assert torch.equal(old, new), f"{kind.name} shares state between runs"


def check_vmap(kind: Kind) -> None:
    """Under vmap, over stacked replicas and with state built inside, it equals the loop."""
    replicas = [Inputs.draw(seed) for seed in range(3)]

    def one(given: dict[str, dict[str, Tensor]]) -> tuple[Tensor, ...]:
        rollout, new = Rollout(**given["rollout"]), Evaluation(**given["new"])
        inputs = Inputs(rollout, new, given["drawn"]["logits"], Draft(**given["draft"]))
        return call(observed(kind, inputs), inputs)

    parts = [
        {
            "rollout": vars(r.rollout),
            "new": vars(r.new),
            "draft": vars(r.draft),
            "drawn": {"logits": r.logits},
        }
        for r in replicas
    ]
    stacked = {
        part: {name: torch.stack([p[part][name] for p in parts]) for name in fields}
        for part, fields in parts[0].items()
    }
    looped = [call(observed(kind, replica), replica) for replica in replicas]
    for index, batched in enumerate(_under_vmap(kind, one, stacked)):
        alone = torch.stack([out[index] for out in looped])
        assert_close(batched, alone, rtol=1e-12, atol=1e-12)


def _under_vmap(
    kind: Kind, one: Callable[[Any], tuple[Tensor, ...]], stacked: Any
) -> tuple[Tensor, ...]:
    """Run under vmap; what fails there alone is a branch of Python or a change in place."""
    try:
        out: tuple[Tensor, ...] = torch.func.vmap(one)(stacked)
    except RuntimeError as error:
        raise AssertionError(
            f"{kind.name} does not run under vmap: write `torch.where(condition, a, b)` for an `if` on "
            f"a tensor, `x = x + y` for `x += y` ({str(error).splitlines()[0]})"
        ) from error
    return out
