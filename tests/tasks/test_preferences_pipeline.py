"""Human preferences through every stage at toy size: prepared, cached by content, trained on by PPO."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from accelerate import Accelerator

from ablations import preparation
from ablations.folder import StudyFolder
from ablations.plan import make_plan
from tests.ablations.toy import toy
from tests.tasks.preference_data import hh_rows, make, write_jsonl
from workbench import train_one
from workbench.checkpoint import Record
from workbench.recipes.vanilla import VANILLA
from workbench.settings import (
    CollapseRule,
    ModelSettings,
    PpoSettings,
    PrepareSettings,
    TaskSettings,
    TrainingSettings,
)
from workbench.stages.prepare import prepare
from workbench.tasks.preferences import PreferencesTask
from workbench.tracking.store import Store
from workbench.training import Run

CAPS = {"max_prompt_tokens": 24, "max_response_tokens": 12}
SETTINGS = PrepareSettings(
    policy=ModelSettings(width=16, layers=1, heads=2, context=36),
    pretrain=TrainingSettings(steps=3, batch_size=4),
    sft=TrainingSettings(steps=3, batch_size=4),
)
PPO = PpoSettings(
    iterations=2, rollout_size=4, minibatch_size=2, max_response_tokens=12, eval_every=1, eval_prompts=2
)


class Memory:
    """A tracker that keeps its records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def log(self, records: Sequence[Record]) -> None:
        self.records += records


def test_every_stage_runs_on_human_preferences(tmp_path: Path) -> None:
    task = make(write_jsonl(tmp_path / "a.jsonl", hh_rows()), **CAPS)
    accelerator = Accelerator(cpu=True)
    prepared = prepare(task, SETTINGS, tmp_path, accelerator, PPO.max_response_tokens)
    assert prepared.facts["reward_model"]["pairs"] == 9
    assert prepared.facts["reward_model"]["held_out_pairs"] == 3
    tracker = Memory()
    Run(task, VANILLA, PPO, prepared, 0, tmp_path / "run", accelerator).train(tracker)
    assert [step for step, _ in tracker.records] == [0, 1, 2]
    assert all(math.isfinite(value) for _, metrics in tracker.records for value in metrics.values())


def test_moved_data_finds_its_prepared_models_again(tmp_path: Path) -> None:
    def folders(task: PreferencesTask) -> list[Path]:
        prepared = prepare(task, SETTINGS, tmp_path, Accelerator(cpu=True), 12)
        return [prepared.base, prepared.sft, prepared.reward_model]

    first = folders(make(write_jsonl(tmp_path / "a.jsonl", hh_rows()), **CAPS))
    assert folders(make(write_jsonl(tmp_path / "moved.jsonl", hh_rows()), **CAPS)) == first
    other = folders(make(write_jsonl(tmp_path / "a.jsonl", hh_rows()[1:]), **CAPS))
    assert not set(other) & set(first)


def test_what_was_dropped_and_cut_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"chosen": hh_rows()[0]["chosen"], "rejected": hh_rows()[0]["chosen"]}
    data = write_jsonl(tmp_path / "a.jsonl", [*hh_rows(), same])
    settings = TaskSettings.model_validate({"name": "preferences", "data": str(data)})
    monkeypatch.setattr(train_one, "prepare", stop)
    monkeypatch.setattr(preparation, "prepare", stop)
    study = toy(task=settings.model_dump())
    plan = make_plan(study, tracking_uri=None, device="cpu", threads=1, command="")
    store = Store("sqlite:///nowhere.db", tmp_path)
    for begin in (
        lambda: preparation.prepare_models(StudyFolder(tmp_path, "toy"), plan, None),
        lambda: train_one.train_one(
            VANILLA, settings, SETTINGS, PPO, collapse_rule=CollapseRule(), pruner=None, seed=0,
            home=tmp_path, store=store, device="cpu",
        ),
    ):  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            begin()
        assert "of 13 rows; dropped: 1 with equal responses; cut to" in capsys.readouterr().err


def stop(*_: object) -> None:
    raise KeyboardInterrupt
