"""Temperature of sampling alone: log-probabilities stay those at 1."""

from dataclasses import replace

from workbench.trick import SamplingTransform, hyper
from workbench.types import Sampling


class UncorrectedTemperature(SamplingTransform):
    """Sample at a temperature, and take every log-probability at 1.

        drawn from softmax(z / τ)          log π = log softmax(z)

    Variant: off-policy by design: PPO's first ratio is 1 all the same, as both its log-probabilities are
    at 1, but expectations are taken over another policy. MOSS-RLHF samples at 0.8; trlX, RL4LMs and
    DeepSpeed-Chat have the same mismatch wherever τ ≠ 1. `sampling_temperature` is the remedy.
    Source: MOSS-RLHF, commit 4865d826, the code of arXiv:2307.04964.
    """

    temperature: float = hyper(default=0.8, above=0, search=(0.5, 1.5), log=True)
    group = "temperature"

    def __call__(self, sampling: Sampling) -> Sampling:
        return replace(sampling, temperature=self.temperature, log_prob_temperature=1.0)
