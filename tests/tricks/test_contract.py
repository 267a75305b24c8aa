"""The contract of `contract.py`, held against every trick of the registry, and against wrong ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tricks import contract
from workbench import tricks
from workbench.maths import RunningMoments
from workbench.registry import registry
from workbench.trick import (
    SLOTS,
    AdvantageTransform,
    LogitTransform,
    ScoreTransform,
    ValueLoss,
    hyper,
    state,
)
from workbench.types import Draft, Rollout

KINDS = registry()


def having(*slots: str) -> pytest.MarkDecorator:
    """Parametrise over the tricks of these slots."""
    return pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind.slot in slots])


every = pytest.mark.parametrize("name", KINDS)
on_tensors = having(*contract.TENSORS)
callable_alone = having(*contract.TENSORS, *contract.WITHOUT_TENSORS)


def test_every_slot_has_a_folder_and_a_trick() -> None:
    home = Path(tricks.__file__).parent
    assert {path.name for path in home.iterdir() if path.is_dir() and path.name[0] != "_"} == set(SLOTS)
    assert {kind.slot for kind in KINDS.values()} == set(SLOTS)


def test_a_file_is_a_trick_of_its_folders_slot() -> None:
    home = Path(tricks.__file__).parent
    files = {(f.parent.name, f.stem) for f in home.glob("*/*.py") if f.stem != "__init__"}
    assert files == {(kind.slot, name) for name, kind in KINDS.items()}


@every
def test_a_docstring_has_equation_variant_and_source(name: str) -> None:
    contract.check_docstring(KINDS[name])


@every
def test_file_folder_and_class_carry_the_name(name: str) -> None:
    contract.check_names(KINDS[name])


@every
def test_it_needs_only_what_the_update_can_give(name: str) -> None:
    contract.check_needs(KINDS[name])


@every
def test_what_it_comes_after_requires_or_excludes_is_there(name: str) -> None:
    contract.check_neighbours(KINDS[name])


@every
def test_it_takes_what_its_slot_gives(name: str) -> None:
    contract.check_signature(KINDS[name])


@every
def test_no_tensor_becomes_a_number(name: str) -> None:
    contract.check_tensors_only(KINDS[name])


@on_tensors
def test_shape_and_dtype_are_kept(name: str) -> None:
    contract.check_shapes(KINDS[name])


@on_tensors
def test_nothing_is_rounded_to_float32_on_the_way(name: str) -> None:
    contract.check_precision(KINDS[name])


@having(*contract.LOSSES)
def test_a_loss_has_a_finite_gradient(name: str) -> None:
    contract.check_gradient(KINDS[name])


@having("logits")
def test_logits_tricks_leave_a_token_to_draw(name: str) -> None:
    contract.check_a_token_is_left(KINDS[name])


@having("logits")
def test_logits_of_one_state_do_not_depend_on_the_others(name: str) -> None:
    contract.check_states_are_independent(KINDS[name])


@having(*(slot for slot in contract.TENSORS if slot not in ("gradient", "logits")))
def test_padding_changes_nothing(name: str) -> None:
    contract.check_padding(KINDS[name])


@having(*(slot for slot in contract.TENSORS if slot not in ("gradient", "logits")))
def test_permuted_responses_give_permuted_results(name: str) -> None:
    contract.check_permutation(KINDS[name])


@having(*contract.PER_RESPONSE, *contract.PER_TOKEN)
def test_responses_are_independent_unless_declared(name: str) -> None:
    contract.check_row_independence(KINDS[name])


@callable_alone
def test_a_call_changes_neither_inputs_nor_trick(name: str) -> None:
    contract.check_purity(KINDS[name])


@callable_alone
def test_every_hyper_parameter_changes_something(name: str) -> None:
    contract.check_no_dead_knob(KINDS[name])


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind.neutral is not None])
def test_the_neutral_setting_equals_the_textbook(name: str) -> None:
    contract.check_neutral(KINDS[name])


@every
def test_a_search_range_holds_the_default_inside_the_domain(name: str) -> None:
    contract.check_search_range(KINDS[name])


@every
def test_a_value_outside_the_domain_is_refused_by_name_and_bound(name: str) -> None:
    contract.check_domain(KINDS[name])


@callable_alone
def test_resumed_equals_never_stopped(name: str) -> None:
    contract.check_resume(KINDS[name])


@callable_alone
def test_replace_gives_fresh_state(name: str) -> None:
    contract.check_fresh_state(KINDS[name])


@on_tensors
def test_vmap_over_replicas_equals_the_loop(name: str) -> None:
    contract.check_vmap(KINDS[name])


# The contract catches what it is for: each of these tricks breaks one promise.


class Leaky(AdvantageTransform):
    """Centres by a mean over padding too."""

    batch_statistic = True

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, advantage - advantage.mean(), 0.0)


class Centred(ScoreTransform):
    """Centres over the batch without declaring it, in place."""

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score.sub_(score.mean())


class Idle(ScoreTransform):
    """Has a hyper-parameter that nothing reads."""

    scale: float = hyper(default=0.5, at_least=0)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return 2 * score


class Flipped(ValueLoss):
    """Clips with the wrong sign, so that its neutral limit is no longer the squared error."""

    clip_range: float = hyper(default=0.2, above=0, search=(0.5, 1.0), log=True)
    neutral = {"clip_range": float("inf")}

    def __call__(self, value: Tensor, minibatch: Rollout) -> Tensor:
        step = (minibatch.value - value).clamp(-self.clip_range, self.clip_range)
        return 0.5 * (minibatch.value + step - minibatch.returns) ** 2


class Branching(ScoreTransform):
    """Decides by a tensor's value, and moves its state in the call; no equation, no source."""

    moments: RunningMoments = state(RunningMoments)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        self.moments.update(score)
        return score.float() / self.moments.std if score.max().item() > 0 else score


class Rounding(ScoreTransform):
    """Divides by a quotient of integers, which torch makes a float32."""

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score * (len(score) / rollout.is_truncated.sum().clamp(min=1))


class Permuting(ScoreTransform):
    """Weights a score by its place in the batch."""

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score * torch.arange(len(score))


class Muzzle(LogitTransform):
    """Forbids every token."""

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        return torch.full_like(logits, -torch.inf)


class Mixing(LogitTransform):
    """Centres the logits over the states of the batch."""

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        return logits - logits.mean(0)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (contract.check_docstring, Branching),
        (contract.check_names, Leaky),
        (contract.check_tensors_only, Branching),
        (contract.check_shapes, Branching),
        (contract.check_precision, Rounding),
        (contract.check_a_token_is_left, Muzzle),
        (contract.check_states_are_independent, Mixing),
        (contract.check_padding, Leaky),
        (contract.check_permutation, Permuting),
        (contract.check_row_independence, Centred),
        (contract.check_purity, Centred),
        (contract.check_purity, Branching),
        (contract.check_no_dead_knob, Idle),
        (contract.check_neutral, Flipped),
        (contract.check_search_range, Flipped),
    ],
)
def test_the_contract_catches_a_wrong_trick(check: object, wrong: type) -> None:
    assert callable(check)
    with pytest.raises(AssertionError):
        check(wrong)


class Silent(ScoreTransform):
    """Forgets to return.

        r = r

    Variant: any.
    Source: an idea of mine.
    """

    limit: float = hyper(default=1.0, above=0, search=(2.0, 3.0))

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:  # type: ignore[empty-body]
        """Do nothing."""


class PerToken(ScoreTransform):
    """Charges integers, as a count of tokens is, in the default dtype, or reads padding."""

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score - 0.1 * rollout.mask.sum(1) + rollout.reward.sum(1)


class Lost(ScoreTransform):
    """Comes after a trick that is not there, and does nothing."""

    after = ("reward_nrom",)


class Misplaced(ScoreTransform):
    """Takes advantages where scores are given, and has no number at its neutral setting."""

    limit: float = hyper(default=3.0, above=0)
    neutral = {"limit": float("inf")}

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return self.limit * torch.tanh(advantage / self.limit)


@pytest.mark.parametrize(
    ("check", "wrong", "advice"),
    [
        (contract.check_docstring, Silent, "give the number as in arXiv:2307.04964, or a commit"),
        (contract.check_neighbours, Lost, "'reward_nrom' in slot score, .*; did you mean 'reward_norm'"),
        (contract.check_signature, Lost, r"lost defines no __call__\(self, score, rollout\)"),
        (
            contract.check_signature,
            Misplaced,
            r"takes \(advantage, mask\), and slot score calls its tricks with \(score, rollout\)",
        ),
        (contract.check_neutral, Misplaced, "misplaced with {'limit': inf} does not equal the textbook"),
        (contract.check_shapes, Silent, "silent returns nothing; a `return` is missing"),
        (contract.check_search_range, Silent, "the search 2.0 to 3.0 does not hold the default 1.0"),
        (contract.check_precision, PerToken, r"mul makes a float32 .*`count.to\(score.dtype\)`"),
        (
            contract.check_padding,
            PerToken,
            r"outside the mask, .* take `torch.where\(mask, tensor, 0.0\)`",
        ),
        (
            contract.check_row_independence,
            Centred,
            "batch_statistic should be True: one response's result",
        ),
        (contract.check_purity, Branching, "move state in `observe` alone"),
        (
            contract.check_vmap,
            Branching,
            r"write `torch.where\(condition, a, b\)` for an `if` on a tensor",
        ),
    ],
)
def test_a_broken_promise_is_answered_with_what_to_do(
    check: Callable[[type], None], wrong: type, advice: str
) -> None:
    with pytest.raises(AssertionError, match=advice):
        check(wrong)
