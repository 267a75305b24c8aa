"""The four responses on which other systems' code was run: 5, 3, 1 and 4 tokens, the rest padding."""

from dataclasses import replace

import torch
from torch import Tensor

from tests.builders import make_evaluation, make_rollout
from workbench.types import Evaluation, Rollout

LENGTHS = (5, 3, 1, 4)


def table(*rows: tuple[float, ...]) -> Tensor:
    """Put one row of numbers per response into a rectangle, 0 behind its end."""
    width = max(map(len, rows))
    return torch.tensor([(*row, *[0.0] * (width - len(row))) for row in rows], dtype=torch.float64)


MASK = table(*((1.0,) * length for length in LENGTHS)).bool()
GROUP = torch.tensor([0, 0, 1, 1])
SCORE = torch.tensor([1.2, -0.4, 2.5, 0.3], dtype=torch.float64)
IS_TRUNCATED = torch.tensor([True, False, False, False])

OLD = table((-1.2, -0.7, -2.1, -1.3, -1.5), (-1.9, -1.4, -0.3), (-1.1,), (-0.5, -2.6, -1.3, -0.8))
NEW = table((-0.9, -1.1, -0.7, -1.25, -1.6), (-0.6, -1.65, -0.2), (-1.7,), (-0.28, -3.5, -1.15, -0.3))
REF = table((-1.4, -0.6, -2.5, -1.35, -1.2), (-2.4, -1.5, -0.1), (-0.95,), (-0.8, -2.0, -1.4, -1.05))
BEHAVIOUR = table((-1.0, -1.6, -2.2, -0.3, -3.5), (-0.7, -0.5, -0.05), (-1.5,), (-0.5, -2.3, -1.5, -0.3))
"""log π_old, log π, log π_ref and log μ_old of the sampled tokens; they were drawn from μ_old."""

ADVANTAGE = table((1.5, -0.8, -0.6, 0.4, -1.2), (0.9, 0.7, -0.3), (-1.1,), (2.0, 0.6, -0.4, -1.5))
VALUE = table((0.5, 0.2, -0.1, 0.8, 0.3), (1.0, 0.4, 0.9), (-0.5,), (0.1, 0.6, -0.2, 0.7))
NEW_VALUE = table((0.9, 0.1, -0.5, 0.75, 0.6), (1.1, -0.2, 1.3), (0.0,), (0.1, 1.0, -0.3, 0.2))
RETURNS = table((1.0, 0.9, 1.1, 1.3, 1.2), (-0.3, -0.2, -0.4), (2.5,), (0.3, 0.2, 0.4, 0.3))
REWARD = table((-0.02, 0.01, -0.04, 0.0, 1.2), (-0.05, -0.01, -0.4), (2.5,), (-0.03, 0.06, -0.01, 0.3))
END_VALUE = torch.tensor([0.6, -0.3, 0.8, 0.25], dtype=torch.float64)
ENTROPY = table((1.1, 0.8, 2.0, 1.3, 1.6), (0.6, 1.4, 0.2), (1.7,), (0.3, 1.9, 1.2, 0.4))


def published_rollout() -> Rollout:
    """Return the rollout made of these tables."""
    return make_rollout(
        LENGTHS, group=GROUP, score=SCORE, log_prob=OLD, ref_log_prob=REF, behaviour_log_prob=BEHAVIOUR,
        advantage=ADVANTAGE, value=VALUE, returns=RETURNS, reward=REWARD, end_value=END_VALUE,
        is_truncated=IS_TRUNCATED, text_length=torch.tensor(LENGTHS),
    )  # fmt: skip


def published_evaluation() -> Evaluation:
    """Return what the models being updated say of it; log π keeps its gradient."""
    log_prob, entropy = NEW.clone().requires_grad_(), ENTROPY.clone().requires_grad_()
    drawn = make_evaluation(published_rollout())
    return replace(drawn, log_prob=log_prob, value=NEW_VALUE.clone(), entropy=entropy)
