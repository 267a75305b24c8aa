"""Sample responses, with the same random numbers for every arm."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.decoder import make_decoder
from workbench.models import Policy
from workbench.seeding import generator
from workbench.tasks.base import Tokens
from workbench.types import Draft, Sampling

Restrict = Callable[[Tensor, Draft], Tensor]
"""Maps logits [N, V], given what is known of the N states, to logits [N, V]."""
KEEP_SHARE = 0.75
"""Finished rows leave the decoder's batch once at most this share of it has to stay."""

KEEP_STEP = 8
"""Some finished rows stay, so that the rows are a multiple of this and shapes of products recur."""


@dataclass(frozen=True)
class Samples:
    """Sampled responses.

    Attributes:
        tokens: [B, L] prompt, response, padding.
        prompt_length: [B].
        mask: [B, T] bool, True on response tokens, the end token included.
        text_length: [B] response tokens up to the first end token.
        log_prob: [B, T] log-probability of each token under what it was drawn from; 0 outside.
        hidden: [B, T, H] the policy's hidden state before each response token; 0 outside the mask.
        prompt_hidden: [B, P, H] the policy's hidden states over the prompt.
        is_truncated: [B] bool, True where the cap came before an end token.
    """

    tokens: Tensor
    prompt_length: Tensor
    mask: Tensor
    text_length: Tensor
    log_prob: Tensor
    hidden: Tensor
    prompt_hidden: Tensor
    is_truncated: Tensor

    def prompts(self) -> Tensor:
        """Return [B, P] the prompts; response or padding behind the shorter ones."""
        return self.tokens[:, : self.prompt_hidden.shape[1]]

    def prompt_rows(self) -> list[Tokens]:
        """Return the prompt of each row as a tuple of token ids."""
        rows = zip(self.tokens.tolist(), self.prompt_length.tolist(), strict=True)
        return [tuple(row[:n]) for row, n in rows]

    def responses(self) -> list[Tokens]:
        """Return the response of each row, up to its first end token, as a tuple of token ids."""
        lengths = self.text_length.tolist()
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
    noise: Tensor | None,
    restrict: Restrict | None = None,
    guide: Policy | None = None,
) -> Samples:
    """Sample one response per prompt by inverting the cumulative distribution.

        y_t = min{v : Σ_{w ≤ v} π(w|s_t) > u_t}          u_t uniform in [0, 1)

    Row i uses the same u at step t whatever the policy, so arms with one seed differ by policy only;
    `uniform` draws the numbers.

    Args:
        policy: model to sample from.
        prompts: B prompts.
        sampling: temperature, response cap, and whether to go on behind the end token.
        eos: end-of-sequence token.
        pad: padding token.
        noise: [cap, B] uniform numbers in [0, 1), one per step and row; None takes the likeliest token.
        restrict: changes the logits [N, V] after the temperature; the recipe's logits tricks.
        guide: model whose logits `restrict` sees beside the policy's.
    Returns:
        tokens, masks and hidden states.
    """
    device = next(policy.parameters()).device
    prompt, length = (part.to(device) for part in pad_right(prompts, pad))
    noise = noise.to(device) if noise is not None else None
    readers = [_Reader(model) for model in (policy, guide) if model]
    # A trick may keep what it sees, and autocast keeps no weight that it has cast in inference mode.
    is_inference = restrict is None and not torch.is_autocast_enabled(device.type)
    with torch.inference_mode() if is_inference else nullcontext():
        prompt_hidden, *_ = [reader.prefill(prompt, length) for reader in readers]
        steps = _decode(readers, prompt, sampling, eos, noise, restrict)
    return _collect(steps, prompt, length, prompt_hidden.clone(), eos=eos, pad=pad)


def _decode(
    readers: "Sequence[_Reader]",
    prompt: Tensor,
    sampling: Sampling,
    eos: int,
    noise: Tensor | None,
    restrict: Restrict | None,
) -> "list[_Step]":
    """Choose a token per row and let the readers read it, until all rows have ended or the cap comes.

    The first reader is the policy, the last one the guide, or the policy again.
    """
    cap, end = sampling.max_response_tokens, torch.tensor(eos, device=prompt.device)
    rows = torch.arange(len(prompt), device=prompt.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    history = prompt.new_empty((len(prompt), 0))
    steps: list[_Step] = []
    for step in range(cap):
        logits = readers[0].logits(sampling.temperature)
        if restrict:
            seen = readers[-1].logits(sampling.temperature) if readers[1:] else logits
            logits = restrict(logits, Draft(torch.full_like(rows, step), history, seen, end))
        token, log_prob = choose(logits, noise[step] if noise is not None else None)
        steps.append(_Step(rows, running, token, log_prob, readers[0].hidden))
        if restrict:
            history = torch.cat([history, torch.where(running, token, -1)[:, None]], 1)
        if not sampling.is_fixed_length:
            running = running & (token != eos)
        left = int(running.sum())
        if not left or step + 1 == cap:
            break
        worth_keeping = left + -left % KEEP_STEP
        if worth_keeping <= KEEP_SHARE * len(rows):
            kept = running.argsort(descending=True, stable=True)[:worth_keeping]
            rows, running, token, history = rows[kept], running[kept], token[kept], history[kept]
            noise = noise[:, kept] if noise is not None else None
            for reader in readers:
                reader.keep(kept)
        for reader in readers:
            reader.step(token)
    return steps


class _Reader:
    """A model that reads prompts and then what is chosen, one token at a time."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.decoder = make_decoder(policy)
        self.hidden = torch.empty(0)

    def prefill(self, prompt: Tensor, length: Tensor) -> Tensor:
        """Read the prompts; return the hidden states [B, P, H]."""
        hidden = self.decoder.prefill(prompt, length)
        self.hidden = hidden[torch.arange(len(prompt), device=prompt.device), length - 1]
        return hidden

    def step(self, token: Tensor) -> None:
        """Read one more token per row."""
        self.hidden = self.decoder.step(token)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only."""
        self.decoder.keep(rows)

    def logits(self, temperature: float) -> Tensor:
        """Return the logits [N, V] at the current state, divided by the temperature."""
        logits = self.policy.logits(self.hidden).float()
        return logits if temperature == 1 else logits / temperature


@dataclass(frozen=True)
class _Step:
    """What one step chose, for the N rows that were still in the batch.

    Attributes:
        rows: [N] their numbers.
        running: [N] bool, False on those that had ended before.
        token: [N].
        log_prob: [N] of the token under what it was drawn from.
        hidden: [N, H] the state that it was drawn at.
    """

    rows: Tensor
    running: Tensor
    token: Tensor
    log_prob: Tensor
    hidden: Tensor


def _collect(
    steps: Sequence[_Step], prompt: Tensor, length: Tensor, prompt_hidden: Tensor, *, eos: int, pad: int
) -> Samples:
    """Put what the steps chose into one tensor per kind."""
    running = torch.cat([step.running for step in steps]).nonzero().squeeze(1)
    counts = torch.tensor([len(step.rows) for step in steps], device=running.device)
    column = torch.arange(len(steps), device=running.device).repeat_interleave(counts)
    place = torch.cat([step.rows for step in steps])[running], column[running]

    def spread(name: str, blank: Tensor) -> Tensor:
        values = torch.cat([getattr(step, name) for step in steps])
        return blank.index_put_(place, values.index_select(0, running))

    shape = len(prompt), len(steps)
    mask = spread("running", prompt.new_zeros(shape, dtype=torch.bool))
    response = spread("token", prompt.new_full(shape, pad))
    is_end = (response == eos) & mask
    is_truncated = ~is_end.any(1)
    return Samples(
        tokens=_join(prompt, length, response, mask, pad),
        prompt_length=length,
        mask=mask,
        text_length=torch.where(is_truncated, mask.sum(1), is_end.int().argmax(1) + 1),
        log_prob=spread("log_prob", torch.zeros(shape, device=prompt.device)),
        hidden=spread("hidden", prompt_hidden.new_zeros((*shape, prompt_hidden.shape[-1]))),
        prompt_hidden=prompt_hidden,
        is_truncated=is_truncated,
    )


def uniform(sampling: Sampling, rows: int, *seed: int | str) -> Tensor:
    """Draw the uniform numbers [cap, rows] of the stream that the seed names, for `sample`."""
    return torch.rand((sampling.max_response_tokens, rows), generator=generator(*seed))


def choose(logits: Tensor, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: [B, V].
        uniform: [B] in [0, 1); None takes the likeliest token.
    Returns:
        tokens [B] and their log-probabilities [B].
    """
    probability = logits.softmax(-1)
    if uniform is None:
        token = probability.argmax(-1)
    else:
        cumulative = probability.cumsum(-1)
        threshold = uniform[:, None] * cumulative[:, -1:]
        found = torch.searchsorted(cumulative, threshold, right=True).squeeze(1)
        token = found.clamp(max=logits.shape[1] - 1)
    return token, probability.gather(1, token[:, None]).squeeze(1).log()


def _join(prompt: Tensor, length: Tensor, response: Tensor, mask: Tensor, pad: int) -> Tensor:
    """Put each response [B, T] right behind its prompt [B, P], padding at the end: [B, L]."""
    total = int((length + mask.sum(1)).max())
    tokens = torch.nn.functional.pad(prompt, (0, response.shape[1]), value=pad)
    at = length[:, None] + torch.arange(response.shape[1], device=prompt.device)
    return tokens.scatter(1, at, torch.where(mask, response, pad))[:, :total]
