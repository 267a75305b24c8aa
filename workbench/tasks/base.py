"""What a task gives the pipeline: prompts, demonstrations, preference pairs, held-out language, a judge.

Everything is in token ids of the task's tokenizer. A response ends with the end-of-sequence token
when it is finished; a response without it was cut off by the response cap.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from workbench.settings import PrepareSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Tokens = tuple[int, ...]

Respond = Callable[[Sequence[Tokens], int], list[Tokens]]
"""Sample one response per prompt from the SFT policy: (prompts, seed) -> responses."""

Reward = Callable[[Sequence[Tokens]], list[float]]
"""Score texts, each a prompt with its response, as a reward model would."""


@dataclass(frozen=True)
class Demonstration:
    """One prompt with the response that a demonstrator gave."""

    prompt: Tokens
    response: Tokens


@dataclass(frozen=True)
class PreferencePair:
    """One prompt with a preferred and a rejected response."""

    prompt: Tokens
    chosen: Tokens
    rejected: Tokens


@dataclass(frozen=True)
class Preferences:
    """Preference pairs to train the reward model on, and pairs held out to measure it."""

    train: list[PreferencePair]
    held_out: list[PreferencePair]


@dataclass(frozen=True)
class JudgePlan:
    """How a judge is learnt: as the reward model of another task, whose data serve nothing else."""

    task: "Task"
    settings: PrepareSettings


class Task(ABC):
    """One problem for the whole pipeline; deterministic in its settings, which include its seed."""

    name: ClassVar[str]
    settings: BaseModel
    tokenizer: "PreTrainedTokenizerBase"

    @abstractmethod
    def pretraining_texts(self) -> list[Tokens]:
        """Return sequences of plain language for pre-training, and for PPO-ptx."""

    @abstractmethod
    def held_out_texts(self) -> list[Tokens]:
        """Return language never trained on; its perplexity is the alignment tax."""

    @abstractmethod
    def demonstrations(self) -> list[Demonstration]:
        """Return prompts with responses to imitate, for supervised fine-tuning."""

    @abstractmethod
    def train_prompts(self) -> list[Tokens]:
        """Return the prompts that PPO samples from."""

    @abstractmethod
    def eval_prompts(self) -> list[Tokens]:
        """Return prompts that no stage trains on."""

    @abstractmethod
    def preferences(self, respond: Respond) -> Preferences:
        """Return preference pairs; `respond` samples from the SFT policy where a task needs that."""

    @property
    def vocabulary(self) -> int:
        """One more than the largest token id; numbers from here on mean nothing."""
        last: int = max(self.tokenizer.get_vocab().values())
        return last + 1

    def redrawn(self, seed: int) -> "Task":
        """Return this task with another draw of preference pairs; itself where they are given data."""
        return self

    def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float] | None:
        """Score responses by a judge that nothing trains on, or None where the task has no judge."""
        return None

    @property
    def judge_plan(self) -> JudgePlan | None:
        """How the judge is made before any run starts; None where it is code, or there is none."""
        return None

    def seat_judge(self, folder: Path, device: "torch.device", rows_at_once: int | None = None) -> None:
        """Let `gold` score by the judge that was made by `judge_plan`.

        Args:
            folder: sequence-classification model.
            device: where to score.
            rows_at_once: rows that it reads at a time, if there is a limit.
        Raises:
            ValueError: if the task has no plan for a judge.
        """
        raise ValueError(f"task {self.name} has no plan for a judge, so the one in {folder} has no seat")

    @property
    def own_reward(self) -> Reward | None:
        """What PPO is rewarded with in the place of a reward model's score; None for that score."""
        return None

    def reference_responses(self, prompts: Sequence[Tokens]) -> list[Tokens]:
        """Return the task's own response to each prompt; a demonstration unless overridden.

        Raises:
            ValueError: if a prompt has none.
        """
        known = self._demonstrated
        if any(prompt not in known for prompt in prompts):
            raise ValueError(f"task {self.name} has no response of its own to some training prompt")
        return [known[prompt] for prompt in prompts]

    @cached_property
    def _demonstrated(self) -> dict[Tokens, Tokens]:
        """The first demonstration of each prompt."""
        return {d.prompt: d.response for d in reversed(self.demonstrations())}

    def fingerprint(self) -> str:
        """Name everything that decides the task's data; part of the key of cached models."""
        return f"{self.name} {self.settings.model_dump_json()}"

    def summary(self) -> str:
        """Say in one sentence what became of given data; nothing where the task makes its own."""
        return ""

    def prompt_class(self, prompt: Tokens) -> str:
        """Name the kind of prompt, for results told apart by kind."""
        return "all"
