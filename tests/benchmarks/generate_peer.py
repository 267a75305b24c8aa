"""The library's own sampler, `transformers.generate`, without logits processors."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel

from workbench.sampling import pad_right
from workbench.tasks.base import Tokens


@torch.no_grad()
def generate(
    model: PreTrainedModel, prompts: Sequence[Tokens], *, cap: int, eos: int, pad: int
) -> list[Tokens]:
    """Sample one response per prompt at temperature 1, with the library's cache, until all have ended.

    Args:
        model: causal language model.
        prompts: of any lengths; padded on the left, as the library wants them.
        cap: longest response in tokens.
        eos: end token, which is part of a response.
        pad: padding token.
    Returns:
        responses, by torch's global stream of random numbers.
    """
    backwards, length = pad_right([prompt[::-1] for prompt in prompts], pad)
    tokens = backwards.flip(1)
    width = tokens.shape[1]
    mask = torch.arange(width) >= width - length[:, None]
    settings = GenerationConfig(
        max_new_tokens=cap, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        eos_token_id=eos, pad_token_id=pad, use_cache=True,
    )  # fmt: skip
    device = model.device
    said = model.generate(
        tokens.to(device), attention_mask=mask.long().to(device), generation_config=settings
    )
    return [_until_end(row[width:], eos) for row in said.tolist()]


def _until_end(response: list[int], eos: int) -> Tokens:
    return tuple(response[: response.index(eos) + 1] if eos in response else response)
