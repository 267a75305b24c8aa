"""Linear learning-rate warm-up."""

from workbench.trick import Schedule, hyper
from workbench.types import Rates


class LearningRateWarmup(Schedule):
    """Raise both learning rates linearly over the first share of the run.

        factor = min(1, (k + 1) / (s·K))          k = iteration, K = iterations

    Variant: stepped once per iteration, then constant; MOSS-RLHF goes on with an inverse square root.
    Source: arXiv:2307.04964, §5.1 ("warm-up over the first 10 % of steps").
    """

    share: float = hyper(default=0.1, at_least=0, at_most=1, search=(0.0, 0.3))
    neutral = {"share": 0.0}

    def __call__(self, iteration: int, iterations: int) -> Rates:
        span = self.share * iterations
        factor = min(1.0, (iteration + 1) / span) if span else 1.0
        return Rates(policy=factor, critic=factor)
