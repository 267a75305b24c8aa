"""Runs to compare: each with one process, in the test, and shared by two, in `parallel_program`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from tests.builders import SETTINGS, ListTracker, TinyTask, make_run
from workbench.recipe import Recipe
from workbench.recipes.grpo import GRPO
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.stages.prepare import Prepared
from workbench.tasks.base import Tokens
from workbench.training import Result, Run, Tracker
from workbench.tricks.initialise.dropout import Dropout
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.ratio.behaviour_ratio import BehaviourRatio
from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
from workbench.tricks.regulariser.full_kl_loss import FullKlLoss
from workbench.tricks.regulariser.ppo_ptx import PpoPtx
from workbench.tricks.reward_function.greedy_baseline import GreedyBaseline
from workbench.tricks.reward_function.reference_response_baseline import ReferenceResponseBaseline
from workbench.tricks.selection.drop_short import DropShort
from workbench.tricks.stopping.target_kl_stop import TargetKlStop
from workbench.tricks.value_target.value_after_end import ValueAfterEnd
from workbench.tricks.weight_sync.policy_ema import PolicyEma
from workbench.tricks.weight_sync.reference_refresh import ReferenceRefresh

ITERATIONS = 3


class Task(TinyTask):
    """The tiny task, with a response of its own to every prompt."""

    def reference_responses(self, prompts: list[Tokens]) -> list[Tokens]:  # type: ignore[override]
        return [(*prompt[-1:], 4, 1) for prompt in prompts]


@contextmanager
def float64() -> Iterator[None]:
    """Let the library compute in float64: its up-casts by `.float()` go to float64 as well."""
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(torch.Tensor, "float", torch.Tensor.double):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@dataclass(frozen=True)
class Case:
    """A recipe to train, with settings other than the tests' usual ones, in float64 if `is_exact`."""

    recipe: Recipe
    settings: dict[str, Any] = field(default_factory=dict)
    is_exact: bool = False

    def train(
        self,
        prepared: Prepared,
        folder: Path,
        tracker: Tracker | None = None,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> tuple[Run, Result]:
        """Train to the end, or until interrupted."""
        settings = SETTINGS.model_copy(update={"iterations": ITERATIONS} | self.settings)
        with float64() if self.is_exact else nullcontext():
            run = make_run(prepared, folder, self.recipe, settings=settings, task=Task())
            models = [part for part in vars(run.ppo.models).values() if isinstance(part, nn.Module)]
            for model in models if self.is_exact else []:
                model.double()
            return run, run.train(tracker or ListTracker(), is_interrupted)


NEEDY = VANILLA.plus(
    NlpoMask(share=0.7, min_tokens=2),
    BehaviourRatio(),
    PolicyEma(),
    ReferenceRefresh(every=2),
    SharedTrunk(),
    EntropyBonus(weight=0.1),
    FullKlLoss(weight=0.1),
    PpoPtx(weight=0.3),
    GreedyBaseline(),
    ReferenceResponseBaseline(),
    ValueAfterEnd(),
)
"""Whatever a trick may need beyond a plain rollout."""

LEARNING = PPO_MAX.set({"critic_pretraining.iterations": 1})
IN_THREES = GRPO.set({"responses_per_prompt.count": 3, "minibatches.count": 3})
ONE_BY_ONE = LEARNING.set({"experience_buffer.responses": 1})
STOPPED = VANILLA.plus(DropShort(min_tokens=3), TargetKlStop(target=1e-3))
ODD = {"rollout_size": 9, "minibatch_size": 3, "eval_prompts": 5}
CASES = {
    "vanilla": Case(VANILLA),
    "ppo_max": Case(LEARNING),
    "grpo": Case(IN_THREES, ODD),  # shares of 5 and 4 cut a group
    "no row for the second process": Case(
        ONE_BY_ONE, {"rollout_size": 4, "minibatch_size": 2, "eval_prompts": 1}, is_exact=True
    ),
    "selection and stopping": Case(STOPPED, is_exact=True),
    "all that tricks need": Case(NEEDY, ODD | {"micro_batch_size": 2}, is_exact=True),
}
"""Runs whose curves are those of one process."""
DROPOUT = Case(VANILLA.plus(Dropout()))
