"""Random walks through every stage at toy size: prepared, and PPO walks better than its SFT policy."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from accelerate import Accelerator

from tests.builders import ListTracker, TinyTask, make_run
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.settings import ModelSettings, PpoSettings, PrepareSettings, TrainingSettings
from workbench.stages.prepare import Prepared, prepare
from workbench.tasks.base import Reward, Tokens
from workbench.tasks.randomwalks import RandomWalksSettings, RandomWalksTask

SIZES = {"preference_pairs": 2_000, "held_out_pairs": 500}
SETTINGS = PrepareSettings(
    policy=ModelSettings(width=32, layers=1, heads=2, context=24),
    pretrain=TrainingSettings(steps=100),
    sft=TrainingSettings(steps=100),
)
PPO = PpoSettings(
    iterations=15, rollout_size=64, minibatch_size=16, policy_learning_rate=1e-3,
    critic_learning_rate=3e-3, max_response_tokens=10, eval_every=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walks")


def prepared_for(task: RandomWalksTask, home: Path) -> Prepared:
    return prepare(task, SETTINGS, home, Accelerator(cpu=True), PPO.max_response_tokens)


def records(task: RandomWalksTask, home: Path, folder: Path, recipe: str) -> list[dict[str, float]]:
    """Train and return the metrics of the evaluated iterations."""
    tracker = ListTracker()
    chosen = {"vanilla": VANILLA, "ppo_max": PPO_MAX}[recipe]
    make_run(prepared_for(task, home), folder, chosen, settings=PPO, task=task).train(tracker)
    return [metrics for _, metrics in tracker.records if "eval/gold" in metrics]


@pytest.mark.parametrize("recipe", ["vanilla", "ppo_max"])
def test_ppo_raises_optimality_in_a_short_run(recipe: str, home: Path, folder: Path) -> None:
    found = records(RandomWalksTask(RandomWalksSettings(**SIZES)), home, folder, recipe)
    assert found[-1]["eval/gold"] > found[0]["eval/gold"] + 0.1
    assert [m["eval/proxy"] for m in found] == pytest.approx([m["eval/gold"] for m in found])
    assert all(metrics.get("reward/gap", 0) == pytest.approx(0, abs=1e-5) for metrics in found)


def test_the_reward_can_be_left_to_a_reward_model(home: Path, folder: Path) -> None:
    task = RandomWalksTask(RandomWalksSettings(reward="model", **SIZES))
    assert prepared_for(task, home).facts["reward_model"]["accuracy"] > 0.7
    found = records(task, home, folder, "vanilla")
    assert all(abs(metrics["eval/proxy"] - metrics["eval/gold"]) > 1e-3 for metrics in found)


class TaskWithReward(TinyTask):
    """Rewards the length of a text, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tokens] = []

    @property
    def own_reward(self) -> Reward | None:
        return self._reward

    def _reward(self, texts: Sequence[Tokens]) -> list[float]:
        self.seen += texts
        return [float(len(text)) for text in texts]


def test_a_task_that_rewards_sees_prompt_and_response_without_padding(
    prepared: Prepared, folder: Path
) -> None:
    task = TaskWithReward()
    ppo = make_run(prepared, folder, task=task).ppo
    [experience] = ppo.iteration(0, task.train_prompts()[:8])
    samples = experience.samples
    rows = [(*p, *r) for p, r in zip(samples.prompt_rows(), samples.responses(), strict=True)]
    assert task.seen == rows
    assert len(set(map(len, rows))) > 1
    assert experience.score.tolist() == [len(row) for row in rows]
