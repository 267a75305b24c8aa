"""Human preferences through every stage at toy size: prepared, cached by content, trained on by PPO."""

import math
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator

from tests.tasks.preference_data import hh_rows, make, write_jsonl
from workbench.checkpoint import Record
from workbench.recipes.vanilla import VANILLA
from workbench.settings import ModelSettings, PpoSettings, PrepareSettings, TrainingSettings
from workbench.stages.prepare import prepare
from workbench.tasks.preferences import PreferencesTask
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

    def last_step(self) -> int:
        return self.records[-1][0] if self.records else -1

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
