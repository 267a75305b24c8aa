"""Linear learning-rate decay."""

from workbench.trick import Schedule, hyper
from workbench.types import Rates


class LinearDecay(Schedule):
    """Lower both learning rates linearly over the run.

        factor = 1 − (1 − f) · k / K          k = iteration, K = iterations

    Variant: stepped once per iteration; the first has the full rate and the last is one step short
    of f. TRL steps once per rollout to f = 0 too; lm-human-preferences and N+ once per update, which
    is the same clock; the 37 details leave it out for Procgen. `learning_rate_warmup` multiplies it.
    Source: TRL, commit f2cd5771; lm-human-preference-details, ccc19538; 37 details, fbef824e.
    """

    final: float = hyper(default=0.0, at_least=0, at_most=1, search=(0.0, 0.5))
    group = "decay"
    neutral = {"final": 1.0}

    def __call__(self, iteration: int, iterations: int) -> Rates:
        factor = 1 - (1 - self.final) * iteration / iterations
        return Rates(policy=factor, critic=factor)
