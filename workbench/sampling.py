"""Sample responses, with the same random numbers for every arm."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.decoder import make_decoder
from workbench.models import Policy
from workbench.seeding import generator
from workbench.tasks.base import Tokens
from workbench.types import Sampling

KEEP_SHARE = 0.75
"""Finished rows leave the decoder's batch once at most this share of it is still running."""


@dataclass(frozen=True)
class Samples:
    """Sampled responses.

    Attributes:
        tokens: [B, L] prompt, response, padding.
        prompt_length: [B].
        mask: [B, T] bool, True on response tokens, the end token included.
        hidden: [B, T, H] the policy's hidden state before each response token; 0 outside the mask.
        prompt_hidden: [B, P, H] the policy's hidden states over the prompt.
        is_truncated: [B] bool, True where the cap came before an end token.
    """

    tokens: Tensor
    prompt_length: Tensor
    mask: Tensor
    hidden: Tensor
    prompt_hidden: Tensor
    is_truncated: Tensor

    def prompts(self) -> Tensor:
        """Return [B, P] the prompts; response or padding behind the shorter ones."""
        return self.tokens[:, : self.prompt_hidden.shape[1]]

    def responses(self) -> list[Tokens]:
        """Return the response of each row as a tuple of token ids."""
        lengths = self.mask.sum(1).tolist()
        starts = self.prompt_length.tolist()
        rows = self.tokens.tolist()
        return [tuple(r[s : s + n]) for r, s, n in zip(rows, starts, lengths, strict=True)]


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Stack token sequences, padded on the right: tokens [B, L] and lengths [B]."""
    length = torch.tensor([len(row) for row in rows])
    width = int(length.max())
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    return tokens, length


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Sequence[Tokens],
    sampling: Sampling,
    *,
    eos: int,
    pad: int,
    noise: Tensor,
) -> Samples:
    """Sample one response per prompt by inverting the cumulative distribution.

        y_t = min{v : Σ_{w ≤ v} π(w|s_t) > u_t}          u_t uniform in [0, 1)

    Row i uses the same u at step t whatever the policy, so arms with one seed differ by policy only;
    `uniform` draws the numbers.

    Args:
        policy: model to sample from.
        prompts: B prompts.
        sampling: temperature and response cap.
        eos: end-of-sequence token.
        pad: padding token.
        noise: [cap, B] uniform numbers in [0, 1), one per step and row.
    Returns:
        tokens, masks and hidden states.
    """
    device = next(policy.parameters()).device
    prompt, length = (part.to(device) for part in pad_right(prompts, pad))
    cap = sampling.max_response_tokens
    noise = noise.to(device)
    decoder = make_decoder(policy, cap)
    prompt_hidden = decoder.prefill(prompt, length)
    rows = torch.arange(len(prompts), device=device)
    hidden = prompt_hidden[rows, length - 1]
    running = torch.ones_like(rows, dtype=torch.bool)
    response = prompt.new_full((len(prompts), cap), pad)
    mask = torch.zeros_like(response, dtype=torch.bool)
    states = hidden.new_zeros((len(prompts), cap, hidden.shape[-1]))
    for step in range(cap):
        token = choose(policy.logits(hidden).float() / sampling.temperature, noise[step, rows])
        response[rows, step] = torch.where(running, token, pad)
        mask[rows, step] = running
        states[rows, step] = hidden * running[:, None]
        running = running & (token != eos)
        left = int(running.sum())
        if not left or step + 1 == cap:
            break
        if left <= KEEP_SHARE * len(rows):
            decoder.keep(running.nonzero().squeeze(1))
            rows, token = rows[running], token[running]
            running = running[running]
        hidden = decoder.step(token)
    is_truncated = torch.zeros_like(length, dtype=torch.bool)
    is_truncated[rows] = running
    used = int(mask.sum(1).max())
    mask, states = mask[:, :used], states[:, :used]
    tokens = _join(prompt, length, response[:, :used], mask, pad)
    return Samples(tokens, length, mask, states, prompt_hidden, is_truncated)


def uniform(sampling: Sampling, rows: int, *seed: int | str) -> Tensor:
    """Draw the uniform numbers [cap, rows] of the stream that the seed names, for `sample`."""
    return torch.rand((sampling.max_response_tokens, rows), generator=generator(*seed))


def choose(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: [B, V].
        uniform: [B] in [0, 1).
    Returns:
        tokens [B].
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    threshold = uniform[:, None] * cumulative[:, -1:]
    return (
        torch.searchsorted(cumulative, threshold, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    )


def _join(prompt: Tensor, length: Tensor, response: Tensor, mask: Tensor, pad: int) -> Tensor:
    """Put each response [B, T] right behind its prompt [B, P], padding at the end: [B, L]."""
    total = int((length + mask.sum(1)).max())
    tokens = torch.nn.functional.pad(prompt, (0, response.shape[1]), value=pad)
    at = length[:, None] + torch.arange(response.shape[1], device=prompt.device)
    return tokens.scatter(1, at, torch.where(mask, response, pad))[:, :total]
