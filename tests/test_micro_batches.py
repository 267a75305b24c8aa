"""Rows read a few at a time: the numbers and gradients of the whole, with a few of them there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import Module
from torch.testing import assert_close

from tests.ablations.toy import TOY, toy_plan
from tests.builders import (
    EOS,
    SETTINGS,
    ListTracker,
    TinyTask,
    as_policy,
    make_prepared,
    make_rollout,
    make_run,
    tiny_gpt2,
    tiny_llama,
    tiny_model,
)
from tests.parallel_cases import NEEDY, ODD, Case
from tests.test_checkpoint import interrupted, without_times
from tests.test_parallel import assert_same_curves
from tests.test_stages import QUICK
from workbench import chunks, models
from workbench.errors import is_plain, one_sentence
from workbench.forward import evaluate
from workbench.models import Models, Policy, Scorer, Wrapper
from workbench.packing import Wanted
from workbench.recipe import Recipe
from workbench.recipes.vanilla import VANILLA
from workbench.stages.prepare import prepare
from workbench.trick import AdvantageEstimator
from workbench.types import Evaluation, Sampling

ROLLOUT = make_rollout(dtype=torch.float32)
ROWS = len(ROLLOUT.mask)
SAMPLING = Sampling(1.0, max_response_tokens=5, buffer_size=4)
ASKED = ("log_prob", "entropy", "ref_kl", "value", "end_value", "pretraining_loss")
KINDS = {"gpt2": tiny_gpt2, "llama": tiny_llama}
SIZES = pytest.mark.parametrize("size", [1, 3])
INNER = 64
"""Width of the activations inside a block of the tiny GPT-2, which nothing else has."""


class NeedsAll(AdvantageEstimator):
    """Needs the critic, and all that the update reads of the policy's hidden states."""

    needs = frozenset(ASKED[1:])


def small(kind: str, seed: int) -> Any:
    return KINDS[kind](seed)


def scorer_of(policy: Policy, folder: Path) -> Scorer:
    policy.model.save_pretrained(folder)
    scorer = Scorer()
    scorer.load_trunk(folder, head_std=0.5)
    return scorer


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Models:
    policy, reference = (as_policy(small(request.param, seed)) for seed in (1, 2))
    critic = scorer_of(policy, tmp_path)
    return Models(policy, critic, reference, critic)


def judged(made: Models, size: int | None) -> Evaluation:
    for wrapper in (made.policy, made.critic, made.reference):
        wrapper.rows_at_once = size
    texts = ROLLOUT.tokens, torch.ones_like(ROLLOUT.tokens, dtype=torch.bool)
    recipe = Recipe("all", (NeedsAll(),))
    return evaluate(made, recipe, ROLLOUT, SAMPLING, eos=EOS, pretraining=texts)


def gradients(loss: Tensor, *trained: Module) -> list[dict[str, Tensor]]:
    for module in trained:
        module.zero_grad()
    torch.autograd.backward(loss)
    return [
        {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        for module in trained
    ]


def loss_of(new: Evaluation) -> Tensor:
    """Weigh each output of each token by another number."""
    random = torch.Generator().manual_seed(0)
    outputs = [getattr(new, name) for name in ASKED]
    assert all(output.any() for output in outputs)
    return torch.stack([(torch.randn(o.shape, generator=random) * o).sum() for o in outputs]).sum()


@SIZES
def test_outputs_and_gradients_are_those_of_the_whole(made: Models, size: int) -> None:
    said, found = [], []
    for rows in (None, size):
        new = judged(made, rows)
        said.append([getattr(new, name).detach() for name in ASKED])
        found.append(gradients(loss_of(new), made.policy, made.critic))
    assert_close(said[1], said[0], rtol=1e-5, atol=1e-6)
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List how many rows a model reads each time."""
    rows: list[int] = []
    original = Wrapper._read

    def listed(wrapper: Wrapper, wanted: Wanted) -> Tensor:
        rows.append(len(wanted.rows.length))
        return original(wrapper, wanted)

    monkeypatch.setattr(Wrapper, "_read", listed)
    return rows


@pytest.mark.parametrize(("size", "parts"), [(None, [ROWS]), (ROWS, [ROWS]), (3, [3, 1]), (1, [1] * 4)])
def test_so_many_rows_are_read_at_a_time(size: int | None, parts: list[int], read: list[int]) -> None:
    policy = as_policy(tiny_gpt2())
    policy.rows_at_once = size
    whole = torch.ones_like(ROLLOUT.tokens, dtype=torch.bool)
    policy.predicting(ROLLOUT.tokens, whole)
    assert read == parts


@pytest.mark.parametrize("size", [None, 1])
def test_between_the_passes_no_activations_of_the_blocks_are_kept(size: int | None) -> None:
    policy = as_policy(tiny_gpt2())
    policy.rows_at_once = size
    own = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape[-1:] == (INNER,) and tensor.untyped_storage().data_ptr() not in own:
            kept.append(len(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.language_loss(ROLLOUT.tokens, ROLLOUT.tokens >= 0)
    assert bool(kept) == (size is None)


def test_a_row_of_which_nothing_is_wanted_is_not_read(read: list[int]) -> None:
    policy = as_policy(tiny_gpt2())
    wanted = torch.ones_like(ROLLOUT.tokens, dtype=torch.bool)
    wanted[1] = False
    whole, target = policy.predicting(ROLLOUT.tokens, wanted)
    policy.rows_at_once = 1
    states, same = policy.predicting(ROLLOUT.tokens, wanted)
    assert read == [ROWS, 1, 1, 1]
    assert torch.equal(target, same)
    assert_close(states, whole, rtol=1e-5, atol=1e-6)


def test_what_is_read_again_drops_out_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = as_policy(tiny_model("gpt2", 1, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5))
    policy.rows_at_once = 2
    policy.train()
    found = []
    for passes in (chunks.checkpoint, lambda read, *given, use_reentrant: read(*given)):
        monkeypatch.setattr(chunks, "checkpoint", passes)
        torch.manual_seed(0)
        found.append(gradients(policy.language_loss(ROLLOUT.tokens, ROLLOUT.tokens >= 0), policy))
    assert_close(found[0], found[1])


def test_random_numbers_are_kept_of_the_device_that_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch keeps those of the devices of the tensors that it is given, and looks into no dataclass
    policy, seen = as_policy(tiny_gpt2()), []

    def listed(read: Any, *given: Any, use_reentrant: bool) -> Tensor:
        seen.append({one.device for one in given if isinstance(one, Tensor)})
        return read(*given)

    monkeypatch.setattr(chunks, "checkpoint", listed)
    policy.rows_at_once = 1
    policy.language_loss(ROLLOUT.tokens, ROLLOUT.tokens >= 0)
    assert seen == [{policy.model.device}] * ROWS


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, int]]]:
    """Collect which wrappers read how many rows at a time."""
    seen: set[tuple[str, int]] = set()

    def listed(read: Any, wanted: Wanted, size: int) -> Tensor:
        seen.add((type(read.__self__).__name__, size))
        return chunks.by_rows(read, wanted, size)

    monkeypatch.setattr(models, "by_rows", listed)
    return seen


def test_a_run_learns_the_same_and_goes_on_with_other_micro_batches(
    tmp_path: Path, sizes: set[tuple[str, int]]
) -> None:
    prepared = make_prepared(tmp_path)
    straight = make_run(prepared, tmp_path / "straight").train(ListTracker())
    assert not sizes
    few = SETTINGS.model_copy(update={"micro_batch_size": 3})
    interrupted(make_run(prepared, tmp_path / "broken", VANILLA, settings=few), 2)
    assert sizes == {("Policy", 3), ("Scorer", 3)}
    found = make_run(prepared, tmp_path / "broken", VANILLA).train(ListTracker())
    histories = (without_times(result.history) for result in (found, straight))
    for (_, metrics), (_, expected) in zip(*histories, strict=True):
        assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)


def test_all_that_tricks_need_is_that_of_the_whole_in_float64(tmp_path: Path) -> None:
    prepared, whole = make_prepared(tmp_path), Case(NEEDY, ODD, is_exact=True)
    _, expected = whole.train(prepared, tmp_path / "whole")
    parts = replace(whole, settings=ODD | {"micro_batch_size": 2})
    _, found = parts.train(prepared, tmp_path / "parts")
    assert_same_curves(whole, expected.history, found.history)


def test_models_are_prepared_in_micro_batches_under_the_same_names(
    tmp_path: Path, sizes: set[tuple[str, int]]
) -> None:
    task, accelerator = TinyTask(), Accelerator(cpu=True)
    whole = prepare(task, QUICK, tmp_path / "whole", accelerator, 5)
    assert not sizes
    parts = prepare(task, QUICK, tmp_path / "parts", accelerator, 5, 3)
    assert sizes == {("Policy", 3), ("Scorer", 3)}
    assert parts.fingerprint == whole.fingerprint
    for stage in ("pretrain", "sft", "reward_model"):
        assert parts.facts[stage]["loss"] == pytest.approx(whole.facts[stage]["loss"])


def test_a_study_goes_on_with_other_micro_batches() -> None:
    plans = [toy_plan(ppo={**TOY["ppo"], "micro_batch_size": size}) for size in (None, 2)]
    assert plans[0].settings_hash == plans[1].settings_hash


def test_a_full_card_is_one_sentence_that_names_the_setting() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
    sentence = one_sentence(error)
    assert is_plain(error)
    assert "--set ppo.micro_batch_size=2" in sentence
    assert sentence.endswith("(CUDA out of memory. Tried to allocate 2.00 GiB)")
    rays = type("OutOfMemoryError", (Exception,), {"__module__": "ray.exceptions"})
    assert one_sentence(rays("the node ran low")) == "OutOfMemoryError: the node ran low"
