"""A cap on the length of responses."""

from dataclasses import replace

from workbench.trick import SamplingTransform, hyper
from workbench.types import Sampling


class ResponseCap(SamplingTransform):
    """Sample at most so many tokens.

        |y| ≤ min(n, the run's max_response_tokens)

    Variant: never longer than the run's own cap, for which contexts were checked; held-out responses
    have that cap, in every arm. In tokens of a big vocabulary: RL4LMs 20 to 100, trlX 40, TRL and N+
    53, lm-human-preferences 24 or 75, MOSS-RLHF 128, DeepSpeed-Chat 256, verl 512.
    Source: TRL response_length, commit f2cd5771; MOSS-RLHF maxlen_res, commit 4865d826.
    """

    tokens: int = hyper(default=32, at_least=1, search=(4, 128), log=True)

    def __call__(self, sampling: Sampling) -> Sampling:
        return replace(sampling, max_response_tokens=min(self.tokens, sampling.max_response_tokens))
