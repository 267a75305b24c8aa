"""Checkpoints: resumed equals straight, bit for bit; damage and full disks lose nothing."""

import ast
import errno
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import workbench
from tests.builders import SETTINGS, ListTracker, make_run
from workbench import checkpoint
from workbench.checkpoint import CheckpointError, Progress, load_checkpoint, save_checkpoint
from workbench.recipe import Recipe
from workbench.recipes.grpo import GRPO
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.stages.prepare import Prepared
from workbench.training import Interrupted, Result, Run
from workbench.tricks.initialise.dropout import Dropout
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.initialise.value_head_init import ValueHeadInit
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.ratio.behaviour_ratio import BehaviourRatio
from workbench.tricks.regulariser.adaptive_entropy import AdaptiveEntropy
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.weight_sync.nlpo_mask_refresh import NlpoMaskRefresh
from workbench.tricks.weight_sync.policy_ema import PolicyEma
from workbench.tricks.weight_sync.reference_refresh import ReferenceRefresh

ITERATIONS = SETTINGS.iterations
RECIPES = {
    "vanilla": VANILLA,
    "ppo_max": PPO_MAX.set({"critic_pretraining.iterations": 1}),
    "slow copies, shared trunk, dropout": VANILLA.plus(
        NlpoMask(share=0.7, min_tokens=2),
        NlpoMaskRefresh(every=2),
        BehaviourRatio(),
        PolicyEma(),
        ReferenceRefresh(every=2),
        TokenKlPenalty(weight=0.1),
        SharedTrunk(),
        Dropout(),
        AdaptiveEntropy(),
    ),
    "return_scaling": VANILLA.set({"return_scaling.epsilon": 1e-8, "experience_buffer.responses": 4}),
}


def stop_after(iterations: int) -> Callable[[], bool]:
    """Return a question that is answered yes when asked for the n-th time."""
    asked: list[None] = []

    def is_interrupted() -> bool:
        asked.append(None)
        return len(asked) == iterations

    return is_interrupted


def interrupted(run: Run, iterations: int) -> ListTracker:
    tracker = ListTracker()
    with pytest.raises(Interrupted, match=f"after iteration {iterations} of {ITERATIONS}"):
        run.train(tracker, stop_after(iterations))
    return tracker


def without_times(history: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    return [(step, {k: v for k, v in m.items() if "_seconds" not in k}) for step, m in history]


def assert_same(one: Run, other: Run, results: tuple[Result, Result]) -> None:
    """Compare two finished runs bit for bit: weights, optimiser, trick state, history, samples."""
    modules = dict(other.ppo.models.changing())
    for name, module in one.ppo.models.changing():
        theirs = dict(modules[name].named_parameters())
        for key, parameter in module.named_parameters():
            assert torch.equal(parameter, theirs[key]), f"{name} {key}"
    states = (one.ppo.optimiser.state_dict()["state"], other.ppo.optimiser.state_dict()["state"])
    assert states[0].keys() == states[1].keys() and states[0]
    for index, moments in states[0].items():
        assert all(torch.equal(value, states[1][index][key]) for key, value in moments.items())
    assert one.ppo.recipe.state_dict() == other.ppo.recipe.state_dict()
    assert without_times(results[0].history) == without_times(results[1].history)
    assert results[0].final == results[1].final
    assert results[0].samples == results[1].samples


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_equals_the_straight_one_bit_for_bit(
    name: str, stop: int, prepared: Prepared, tmp_path: Path
) -> None:
    straight = make_run(prepared, tmp_path / "straight", RECIPES[name])
    expected = straight.train(ListTracker())
    tracker = interrupted(make_run(prepared, tmp_path / "broken", RECIPES[name]), stop)
    resumed = make_run(prepared, tmp_path / "broken", RECIPES[name])
    found = resumed.train(tracker)
    assert_same(straight, resumed, (expected, found))
    assert [step for step, _ in tracker.records] == list(range(ITERATIONS + 1))


def test_a_finished_run_is_taken_up_without_training(prepared: Prepared, folder: Path) -> None:
    first = make_run(prepared, folder)
    expected = first.train(ListTracker())
    again = make_run(prepared, folder)
    assert_same(first, again, (expected, again.train(ListTracker())))


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_a_checkpoint_cut_short_falls_back_to_the_one_before(
    kept: float, prepared: Prepared, tmp_path: Path
) -> None:
    straight = make_run(prepared, tmp_path / "straight")
    expected = straight.train(ListTracker())
    interrupted(make_run(prepared, tmp_path / "broken"), 3)
    *_, newest = sorted((tmp_path / "broken").iterdir())
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else int(kept)])
    resumed = make_run(prepared, tmp_path / "broken")
    assert load_checkpoint(tmp_path / "broken", resumed.ppo, resumed.fingerprint) is not None
    assert_same(straight, resumed, (expected, resumed.train(ListTracker())))


def test_with_every_checkpoint_cut_short_the_run_starts_anew(prepared: Prepared, folder: Path) -> None:
    interrupted(make_run(prepared, folder), 2)
    for file in folder.iterdir():
        file.write_bytes(b"")
    run = make_run(prepared, folder)
    assert load_checkpoint(folder, run.ppo, run.fingerprint) is None
    assert len(run.train(ListTracker()).history) == ITERATIONS + 1


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": PPO_MAX},
        {"recipe": VANILLA.set({"gae.trace": 0.5})},
        {"seed": 1},
        {"settings": SETTINGS.model_copy(update={"epochs": 1})},
    ],
    ids=["recipe", "hyper-parameter", "seed", "settings"],
)
def test_a_checkpoint_of_another_run_is_refused(
    other: dict[str, object], prepared: Prepared, folder: Path
) -> None:
    interrupted(make_run(prepared, folder), 1)
    message = rf"belongs to a run with other settings; delete {folder} to start anew$"
    with pytest.raises(CheckpointError, match=message):
        make_run(prepared, folder, **other).train(ListTracker())  # type: ignore[arg-type]


def test_how_often_checkpoints_are_written_is_no_other_run(prepared: Prepared, folder: Path) -> None:
    interrupted(make_run(prepared, folder), 2)
    settings = SETTINGS.model_copy(update={"checkpoint_every": 3})
    resumed = make_run(prepared, folder, settings=settings)
    assert len(resumed.train(ListTracker()).history) == ITERATIONS + 1


def test_the_recipes_name_is_no_other_run(prepared: Prepared, folder: Path) -> None:
    interrupted(make_run(prepared, folder), 2)
    resumed = make_run(prepared, folder, Recipe("renamed", VANILLA.tricks))
    assert len(resumed.train(ListTracker()).history) == ITERATIONS + 1


def test_a_folder_that_cannot_be_written_is_one_sentence(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    run = make_run(prepared, tmp_path / "file" / "run")
    message = r"^cannot write .*/checkpoint-000001.safetensors: Not a directory; [^\n]*$"
    with pytest.raises(CheckpointError, match=message):
        run.train(ListTracker())


def test_a_full_disk_is_one_sentence_and_leaves_the_checkpoint_before(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(make_run(prepared, folder), 2)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = r"^cannot write .*: No space left on device; make room [^\n]*$"
    with pytest.raises(CheckpointError, match=message):
        make_run(prepared, folder).train(ListTracker())
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    monkeypatch.undo()
    assert len(make_run(prepared, folder).train(ListTracker()).history) == ITERATIONS + 1


def test_a_checkpoint_is_written_without_a_copy_of_it_in_memory(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ppo = make_run(prepared, folder).ppo
    kept = {f"policy/{number}": torch.full((2**18,), number).float() for number in range(8)}
    kept |= {
        "recipe/flag": torch.tensor([True, False, True]),
        "recipe/wide": torch.tensor(1.5, dtype=torch.float64),
        "recipe/half": torch.ones(3, 1, dtype=torch.bfloat16).T,
        "recipe/turned": torch.arange(6).view(2, 3).T,
        "recipe/none": torch.zeros(0, 2),
    }
    monkeypatch.setattr(checkpoint, "_tensors", lambda ppo: iter(kept.items()))
    tracemalloc.start()
    try:
        path = save_checkpoint(folder, ppo, Progress("run", 1, []))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 < 8 * 2**20 < path.stat().st_size  # one tensor alone has 2^20 bytes
    found = load_file(path)
    assert found.keys() == kept.keys()
    for name, tensor in kept.items():
        assert_close(found[name], tensor, rtol=0, atol=0)


def test_the_last_two_checkpoints_are_kept_as_safetensors(prepared: Prepared, folder: Path) -> None:
    make_run(prepared, folder).train(ListTracker())
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["checkpoint-000003.safetensors", "checkpoint-000004.safetensors"]
    with safe_open(folder / names[-1], framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        owners = {name.partition("/")[0] for name in file.keys()}
    assert progress["iteration"] == ITERATIONS
    assert owners == {"policy", "critic", "optimiser"}


def test_a_recipe_without_a_critic_has_none_and_takes_up_checkpoints_that_kept_one(
    prepared: Prepared, folder: Path
) -> None:
    recipe = GRPO.set({"responses_per_prompt.count": 2}).plus(Dropout(), ValueHeadInit())
    straight = make_run(prepared, folder / "straight", recipe)
    result = straight.train(ListTracker())
    assert not list(straight.ppo.models.critic.parameters())
    tracker = interrupted(make_run(prepared, folder, recipe), 2)
    (_, last) = sorted(folder.glob("*.safetensors"))
    with safe_open(last, framework="pt") as file:
        kept, told = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    assert {name.partition("/")[0] for name in kept} == {"policy", "optimiser"}
    save_file(kept | {"critic/model.score.weight": torch.ones(1, 16)}, last, told)  # as they were
    resumed = make_run(prepared, folder, recipe)
    assert_same(straight, resumed, (result, resumed.train(tracker)))


def test_trick_state_is_in_the_checkpoint_by_name(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, PPO_MAX)
    run.train(ListTracker())
    with safe_open(max(folder.iterdir()), framework="pt") as file:
        count = file.get_tensor("recipe/reward_norm/moments/count")
    assert float(count) == ITERATIONS * SETTINGS.rollout_size


def test_a_history_with_nan_survives(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    history = [(0, {"reward/gold": float("nan"), "policy/entropy": 1e9})]
    save_checkpoint(folder, run.ppo, Progress(run.fingerprint, 1, history))
    loaded = load_checkpoint(folder, run.ppo, run.fingerprint)
    assert loaded is not None and repr(loaded.history) == repr(history)


def test_nothing_in_the_library_pickles() -> None:
    for path in Path(workbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "joblib", "dill", "cloudpickle"}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert f"{node.value.id}.{node.attr}" not in ("torch.save", "torch.load"), path
