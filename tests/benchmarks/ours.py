"""The workbench's side: iterations as a real run does them, timed by phase."""

import tempfile
import time
from pathlib import Path
from typing import Protocol

from tests.benchmarks.cases import Place
from tests.benchmarks.common import (
    CLIP_RANGE,
    CPU,
    KL_WEIGHT,
    LEARNING_RATE,
    SEED,
    TRACE,
    Common,
    accelerator,
)
from workbench.monitors import finite, iteration_metrics
from workbench.recipe import Recipe
from workbench.settings import PpoSettings
from workbench.stages.ppo import Ppo
from workbench.stages.prepare import Prepared
from workbench.training import Run
from workbench.tricks.advantage.advantage_norm import AdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.value_loss.value_clip import ValueClip

RECIPE = Recipe(
    "peer",
    (
        CriticFromRewardModel(),
        TokenKlPenalty(weight=KL_WEIGHT),
        Gae(trace=TRACE, discount=1.0),
        AdvantageNorm(),
        ClippedSurrogate(clip_range=CLIP_RANGE),
        ValueClip(clip_range=CLIP_RANGE),
    ),
)
"""The tricks that TRL's trainer has built in."""


class Side(Protocol):
    """One of the programmes that are compared."""

    def block(self, iterations: int) -> list[float]:
        """Do iterations; return the seconds of each."""
        ...

    def response_tokens(self) -> list[int]:
        """Return the length of every response so far."""
        ...


class Ours:
    """PPO of the workbench, monitors included; judging by the gold judge is timed apart."""

    def __init__(self, common: Common, place: Place = CPU) -> None:
        self.common = common
        self.ppo = make_ppo(common, place)
        self.iterations = 0
        self.lengths: list[tuple[int, int]] = []
        self.phases: list[dict[str, float]] = []
        self.gold_seconds: list[float] = []

    def block(self, iterations: int) -> list[float]:
        """Do iterations; return the seconds of each."""
        return [self._iteration() for _ in range(iterations)]

    def response_tokens(self) -> list[int]:
        """Return the length of every response so far."""
        return [response for _, response in self.lengths]

    def forget(self) -> None:
        """Forget the times so far."""
        self.phases.clear()
        self.gold_seconds.clear()

    def _iteration(self) -> float:
        prompts, watch = self.common.prompts, self.ppo.stopwatch
        start = time.perf_counter()
        experiences = self.ppo.iteration(self.iterations, prompts)
        with watch("monitors"):
            finite(iteration_metrics(experiences, None))
        seconds = time.perf_counter() - start
        self.phases.append(watch.lap())
        self.iterations += 1
        responses = [r for experience in experiences for r in experience.samples.responses()]
        pairs = zip(prompts, responses, strict=True)
        self.lengths += [(len(prompt), len(response)) for prompt, response in pairs]
        if self.common.size.vocabulary is None:  # the judge knows the task's words only
            start = time.perf_counter()
            self.common.task.gold(prompts, responses)
            self.gold_seconds.append(time.perf_counter() - start)
        return seconds


def make_ppo(common: Common, place: Place = CPU) -> Ppo:
    """Load the models and make the optimiser exactly as a run does."""
    size = common.size
    settings = PpoSettings(
        rollout_size=size.prompts,
        minibatch_size=size.prompts // size.minibatches,
        max_response_tokens=size.cap,
        policy_learning_rate=LEARNING_RATE,
        critic_learning_rate=LEARNING_RATE,
    )
    prepared = Prepared(common.policy, common.policy, common.scorer, "benchmark", {})
    folder = Path(tempfile.gettempdir())  # nothing is written: the benchmark saves no checkpoint
    return Run(common.task, RECIPE, settings, prepared, SEED, folder, accelerator(place)).ppo
