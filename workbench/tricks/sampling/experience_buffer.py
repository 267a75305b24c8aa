"""Experience-buffer size: responses sampled before the policy is updated on them."""

from dataclasses import replace

from workbench.trick import SamplingTransform, hyper
from workbench.types import Sampling


class ExperienceBuffer(SamplingTransform):
    """Update after every `responses` samples instead of once per iteration.

        an iteration's prompts are worked off in buffers of `responses`: sample, then update

    Variant: every iteration uses the same prompts whatever the buffer, so arms stay paired; a smaller
    buffer makes the data fresher, not fewer. `responses` must divide the iteration's rollout size;
    0 means all of it, the textbook.
    Source: arXiv:2307.04964, §5.4 ("small experience buffer"); tricks of MOSS-RLHF, 4865d826.
    """

    responses: int = hyper(default=32, at_least=0, search=(16, 128), log=True)
    neutral = {"responses": 0}

    def __call__(self, sampling: Sampling) -> Sampling:
        size = self.responses or sampling.buffer_size
        if sampling.buffer_size % size:
            raise ValueError(
                f"experience_buffer.responses must divide the rollout size {sampling.buffer_size},"
                f" got {size}"
            )
        return replace(sampling, buffer_size=size)
