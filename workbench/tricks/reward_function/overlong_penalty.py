"""The soft overlong punishment of DAPO."""

from torch import Tensor

from workbench.trick import RewardFunction, hyper
from workbench.types import Rollout


class OverlongPenalty(RewardFunction):
    """Charge a response for the tokens it uses of a buffer before the cap.

        r̃ = r − f · clip((|y| − (L − B)) / B, 0, 1)

    Variant: 0 up to L − B tokens, then linear, f from L on; |y| counts the text up to its end token.
    L is a hyper-parameter: set it to the cap on the response. DAPO's f is 1 and its B a fifth of L; verl
    does not bound the penalty by f, but its cap on the response does.
    Source: Yu et al. 2025, arXiv:2503.14476, eq. 13; OpenRLHF length_penalty.py, commit 3c3be623.
    """

    max_tokens: int = hyper(default=64, at_least=1)
    buffer: int = hyper(default=16, at_least=1)
    factor: float = hyper(default=1.0, at_least=0, search=(0.1, 10.0), log=True)
    neutral = {"factor": 0.0}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        free = self.max_tokens - self.buffer
        used = (rollout.text_length.to(score.dtype) - free) / self.buffer
        return score - self.factor * used.clamp(0, 1)
