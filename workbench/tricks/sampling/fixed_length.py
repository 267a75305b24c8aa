"""Responses of fixed length: sampling goes on behind the end token."""

from dataclasses import replace

from workbench.trick import SamplingTransform
from workbench.types import Sampling


class FixedLength(SamplingTransform):
    """Sample every response to the cap, whatever comes before it.

        |y| = max_response_tokens; the reward model reads y up to its first end token

    Variant: tokens behind the end token are trained on and the KL penalty is charged on them, as in
    lm-human-preferences; the score stands on the last token. N+, and TRL with a stop_token, cut at the
    end token before training, which equals stopping there: they need no trick. TRL without one, its
    default, goes on too, and its reward model reads what stands behind the end.
    Source: lm-human-preferences, commit cbfd210b; as lm-human-preference-details, ccc19538.
    """

    def __call__(self, sampling: Sampling) -> Sampling:
        return replace(sampling, is_fixed_length=True)
