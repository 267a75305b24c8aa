"""A plugin: tricks that go wrong in the third iteration of a run, each in its own way."""

import os
import signal
import time

import torch
from torch import Tensor

from workbench.maths import RunningNumber
from workbench.trick import Regulariser, state
from workbench.types import Evaluation, Rollout

THIRD = 3
MORE_THAN_THERE_IS = 2**50
"""Bytes."""
HOLD = "WORKBENCH_TEST_HOLD"
"""Environment variable with the path of the file that holds runs up."""


class _Mishap(Regulariser):
    """Nothing happens."""

    seen: RunningNumber = state(RunningNumber)

    def observe(self, rollout: Rollout) -> None:
        self.seen.value = self.seen.value + 1

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return torch.zeros(())


class NotANumber(_Mishap):
    """The loss is NaN."""

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return torch.where(self.seen.value == THIRD, torch.nan, 0.0) * new.log_prob.sum()


class HeldUp(_Mishap):
    """The run stays where it is while a file is there."""

    def observe(self, rollout: Rollout) -> None:
        super().observe(rollout)
        while self.seen.value == THIRD and os.path.exists(os.environ.get(HOLD, "")):
            time.sleep(0.05)


class OutOfMemory(_Mishap):
    """A tensor does not fit into memory."""

    def observe(self, rollout: Rollout) -> None:
        super().observe(rollout)
        if self.seen.value == THIRD:
            torch.empty(MORE_THAN_THERE_IS, dtype=torch.uint8)


class KilledForMemory(_Mishap):
    """The kernel ends the process, as it does when memory runs out."""

    def observe(self, rollout: Rollout) -> None:
        super().observe(rollout)
        if self.seen.value == THIRD:
            os.kill(os.getpid(), signal.SIGKILL)
