"""Policy, critic, reference and reward model: Hugging Face models behind two small interfaces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench import gpt2
from workbench.loading import load_causal, load_scorer
from workbench.types import Evaluation, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_ELEMENTS = 2**24
"""Logits held at a time where no gradient is needed: 64 MiB in float32, whatever the vocabulary."""


class Policy(nn.Module):
    """A causal language model that says log-probabilities and entropies of response tokens."""

    model: "PreTrainedModel"

    def load_weights(self, folder: Path) -> None:
        """Take architecture and weights from a Hugging Face folder."""
        self.model = load_causal(folder)

    def forward(self, batch: "Batch", temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
        """Evaluate the response tokens of a batch.

        Args:
            batch: B responses of at most T tokens.
            temperature: logits are divided by it.
            entropy: compute entropies too.
        Returns:
            log-probability [B, T] and entropy [B, T] in nats; 0 where not computed.
        """
        logits = self.logits(self.states(batch)).float() / temperature
        log_normaliser = logits.logsumexp(-1)
        chosen = logits.gather(-1, batch.target[:, None]).squeeze(-1)
        log_prob = batch.spread(chosen - log_normaliser)
        if not entropy:
            return log_prob, torch.zeros_like(log_prob)
        mean_logit = ((logits - log_normaliser[:, None]).exp() * logits).sum(-1)
        return log_prob, batch.spread(log_normaliser - mean_logit)

    def states(self, batch: "Batch") -> Tensor:
        """Return the hidden states [N, H] that predict the response tokens of a batch."""
        return hidden_at(self.model, batch.tokens, batch.length, batch.row, batch.at)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., H] to logits [..., V], as the model's own forward does."""
        config = self.model.config
        with in_full_precision(hidden):
            logits: Tensor = self.model.get_output_embeddings()(hidden.float())
        if (scale := getattr(config, "logit_scale", None)) is not None:
            logits = logits * scale
        if (scaling := getattr(config, "logits_scaling", None)) is not None:
            logits = logits / scaling
        if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits

    def language_loss(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy of the masked tokens given what is before them.

        Args:
            tokens: [B, L] rows padded on the right.
            mask: [B, L] bool, True on tokens to predict; the first token never is.
        Returns:
            scalar, in nats per token.
        """
        return language_loss(self.model, self.logits, tokens, mask)


class Scorer(nn.Module):
    """A trunk with a linear head: the critic on every token, the reward model on the last one."""

    model: "PreTrainedModel"

    def load_weights(self, folder: Path) -> None:
        """Take architecture, trunk and head from a Hugging Face sequence-classification folder."""
        self.model = load_scorer(folder)

    def load_trunk(self, folder: Path, *, head_std: float = 0.0, seed: int = 0) -> None:
        """Take the trunk of a language model; the head starts from N(0, head_std²).

        Args:
            folder: Hugging Face causal language model.
            head_std: standard deviation of the head's weights; 0 makes every first value 0.
            seed: seed of the head's weights.
        """
        self.model = load_scorer(folder)
        generator = torch.Generator().manual_seed(seed)
        weight = self.model.score.weight
        with torch.no_grad():
            weight.copy_(head_std * torch.randn(weight.shape, generator=generator))

    def forward(self, batch: "Batch") -> Tensor:
        """Return the head's output [B, T] at the states that predict response tokens; 0 elsewhere."""
        return batch.spread(self.heads(batch.tokens, batch.length, batch.row, batch.at))

    def heads(self, tokens: Tensor, length: Tensor, row: Tensor, at: Tensor) -> Tensor:
        """Return the head's output [N] at chosen positions `at` of chosen rows of tokens [B, L]."""
        hidden = hidden_at(self.model, tokens, length, row, at)
        with in_full_precision(hidden):
            value: Tensor = self.model.score(hidden.float())
        return value.squeeze(-1)

    def last(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Return the head's output [B] at the last token of each row."""
        return self.heads(tokens, length, torch.arange(len(tokens), device=tokens.device), length - 1)


@dataclass(frozen=True)
class Batch:
    """Response tokens of B rows, listed: N of them in all.

    Attributes:
        tokens: [B, L] prompt, response, padding.
        length: [B] tokens of prompt and response.
        mask: [B, T] bool, True on response tokens.
        row: [N] row of each response token.
        step: [N] its index in the response.
        at: [N] index in `tokens` of the state that predicts it.
    """

    tokens: Tensor
    length: Tensor
    mask: Tensor
    row: Tensor
    step: Tensor
    at: Tensor

    @classmethod
    def of(cls, tokens: Tensor, prompt_length: Tensor, mask: Tensor) -> "Batch":
        """List the response tokens of rows [B, L] whose prompts have the given lengths [B]."""
        row, step = mask.nonzero(as_tuple=True)
        at = prompt_length[row] + step - 1
        return cls(tokens, prompt_length + mask.sum(1), mask, row, step, at)

    @property
    def target(self) -> Tensor:
        """Return the response tokens [N]."""
        return self.tokens[self.row, self.at + 1]

    def spread(self, values: Tensor) -> Tensor:
        """Put one value per response token [N] in its place in [B, T]; 0 elsewhere."""
        return values.new_zeros(self.mask.shape).index_put((self.row, self.step), values)


def in_full_precision(hidden: Tensor) -> torch.autocast:
    """Leave bf16 for the last layer: its 8 bits would tie scores and blur the log-ratios of PPO."""
    return torch.autocast(hidden.device.type, enabled=False)


def hidden_at(
    model: "PreTrainedModel", tokens: Tensor, length: Tensor, row: Tensor, at: Tensor
) -> Tensor:
    """Compute the last hidden states [N, H] at positions `at` [N] of rows `row` [N] of tokens [B, L]."""
    trunk = model.base_model
    if gpt2.is_plain(trunk):
        return gpt2.states_at(trunk, tokens, length, row, at)
    states: Tensor = trunk(input_ids=tokens, use_cache=False).last_hidden_state
    return states[row, at]


def language_loss(
    model: "PreTrainedModel", logits: Callable[[Tensor], Tensor], tokens: Tensor, mask: Tensor
) -> Tensor:
    """Return the mean cross-entropy of the masked tokens, given an output layer for hidden states."""
    row, at = mask[:, 1:].nonzero(as_tuple=True)
    column = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    length = torch.where(mask, column, 0).amax(1)
    states = hidden_at(model, tokens, length, row, at)
    return nn.functional.cross_entropy(logits(states).float(), tokens[row, at + 1])


@dataclass
class Models:
    """The four models of PPO; reference and reward model are frozen."""

    policy: Policy
    critic: Scorer
    reference: Policy
    reward_model: Scorer

    def trained(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that PPO updates: the policy's, then the critic's."""
        yield from self.policy.parameters()
        yield from self.critic.parameters()


@dataclass(frozen=True)
class TokenStatistics:
    """What two policies say of the same response tokens, without gradient. All [B, T], 0 outside.

    Attributes:
        log_prob: log π of the sampled token.
        ref_log_prob: log π_ref of the sampled token.
        entropy: entropy of π in nats.
        kl: KL(π(·|s) ‖ π_ref(·|s)) over the vocabulary, in nats.
    """

    log_prob: Tensor
    ref_log_prob: Tensor
    entropy: Tensor
    kl: Tensor


@torch.no_grad()
def compare(
    policy: tuple[Policy, Tensor], reference: tuple[Policy, Tensor], batch: Batch, temperature: float
) -> TokenStatistics:
    """Compare two policies on response tokens, a chunk of logits at a time.

    Args:
        policy: the policy and its hidden states [N, H] that predict the response tokens.
        reference: the same of the reference policy.
        batch: the N response tokens of B responses.
        temperature: logits of both are divided by it.
    Returns:
        statistics per token.
    """
    target = batch.target[:, None]
    columns: list[list[Tensor]] = []
    for part in _chunks(len(target), policy[0]):
        log_p = _log_softmax(policy[0].logits(policy[1][part]), temperature)
        log_q = _log_softmax(reference[0].logits(reference[1][part]), temperature)
        p = log_p.exp()
        chosen = [log.gather(-1, target[part]).squeeze(-1) for log in (log_p, log_q)]
        columns.append([*chosen, -(p * log_p).sum(-1), (p * (log_p - log_q)).sum(-1)])
    return TokenStatistics(*(batch.spread(torch.cat(column)) for column in zip(*columns, strict=True)))


@torch.no_grad()
def log_probabilities(policy: Policy, hidden: Tensor, tokens: Tensor, length: Tensor) -> Tensor:
    """Say how likely a policy finds given tokens, the first of each row apart.

    Args:
        policy: whose logits to use, at temperature 1.
        hidden: [B, P, H] its hidden states on the tokens.
        tokens: [B, P] rows padded on the right.
        length: [B] tokens per row.
    Returns:
        [B, P] log π(token_t | tokens before t) at t ≥ 1; 0 at t = 0 and on padding.
    """
    column = torch.arange(1, tokens.shape[1], device=tokens.device)
    row, at = (column < length[:, None]).nonzero(as_tuple=True)
    target = tokens[row, at + 1][:, None]
    found = [
        policy.logits(hidden[row[part], at[part]]).float().log_softmax(-1).gather(-1, target[part])
        for part in _chunks(len(row), policy)
    ]
    blank = torch.zeros(tokens.shape, device=tokens.device)
    return blank.index_put((row, at + 1), torch.cat(found).squeeze(1)) if found else blank


def evaluate(
    models: Models,
    minibatch: Rollout,
    temperature: float,
    needs: frozenset[str],
    pretraining: tuple[Tensor, Tensor] | None,
) -> Evaluation:
    """Evaluate policy and critic on a minibatch, with gradient.

    Args:
        models: policy and critic are used.
        minibatch: B responses of at most T tokens.
        temperature: of the log-probabilities.
        needs: extra quantities to compute.
        pretraining: tokens and mask of a pre-training batch, if needed.
    Returns:
        log-probabilities, values and what else was needed.
    """
    batch = Batch.of(minibatch.tokens, minibatch.prompt_length, minibatch.mask)
    log_prob, entropy = models.policy(batch, temperature, "entropy" in needs)
    value = models.critic(batch)
    loss = models.policy.language_loss(*pretraining) if pretraining else log_prob.new_zeros(())
    return Evaluation(log_prob=log_prob, value=value, entropy=entropy, pretraining_loss=loss)


def _chunks(count: int, policy: Policy) -> tuple[Tensor, ...]:
    """Split the indices below `count` so that a chunk's logits stay within CHUNK_ELEMENTS."""
    size = max(1, CHUNK_ELEMENTS // policy.model.config.vocab_size)
    return torch.split(torch.arange(count), size)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return (logits.float() / temperature).log_softmax(-1)
