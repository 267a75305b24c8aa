"""Temperature of sampling and of every log-probability."""

from dataclasses import replace

from workbench.trick import SamplingTransform, hyper
from workbench.types import Sampling


class SamplingTemperature(SamplingTransform):
    """Sample at a temperature, and take every log-probability at the same one.

        π(v) = softmax(z / τ)_v          in drawing, in the rollout's and in the update's log π

    Variant: the policy that learns is the one that draws, so the first ratio is 1 and the KL is that of
    what is drawn. TRL, lm-human-preferences and N+ sample at 0.7 (lm-human-preferences 0.5 on
    CNN/DailyMail), OpenRLHF and verl at 1; TRL divides by τ + 1e-7.
    Source: TRL, commit f2cd5771; lm-human-preferences, cbfd210b; arXiv:1909.08593.
    """

    temperature: float = hyper(default=0.7, above=0, search=(0.5, 1.5), log=True)
    group = "temperature"

    def __call__(self, sampling: Sampling) -> Sampling:
        return replace(sampling, temperature=self.temperature, log_prob_temperature=self.temperature)
