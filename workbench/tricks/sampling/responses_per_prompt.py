"""Several responses to each prompt."""

from dataclasses import replace

from workbench.trick import SamplingTransform, hyper
from workbench.types import Sampling


class ResponsesPerPrompt(SamplingTransform):
    """Answer fewer prompts, each several times.

        an update's B responses are G each to B / G prompts

    Variant: the number of responses stays, so arms cost the same and see fewer prompts. G must divide
    the responses of one buffer, so that a group is never split between updates. OpenRLHF, verl and
    the other PPO trainers have 1, TRL's RLOO 2 and its GRPO 8.
    Source: OpenRLHF n_samples_per_prompt, commit 3c3be623; verl rollout.n, commit b178a3cd.
    """

    count: int = hyper(default=4, at_least=1, search=(2, 8), log=True)
    after = ("experience_buffer",)
    neutral = {"count": 1}

    def __call__(self, sampling: Sampling) -> Sampling:
        if sampling.buffer_size % self.count:
            raise ValueError(
                f"responses_per_prompt.count must divide the buffer size {sampling.buffer_size},"
                f" got {self.count}"
            )
        return replace(sampling, responses_per_prompt=self.count)
