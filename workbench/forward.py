"""What the models say of response tokens: without gradient in the rollout, with it in the update."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workbench.chunks import in_chunks
from workbench.models import CHUNK_ELEMENTS, Batch, Models, Policy
from workbench.parallel import Share
from workbench.recipe import Recipe
from workbench.types import Draft, Evaluation, Rollout, Sampling

FORBIDDEN = -50.0
"""Log-probability of a token that the logits tricks now forbid, so that its ratio is finite."""


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
    recipe: Recipe,
    minibatch: Rollout,
    sampling: Sampling,
    *,
    eos: int,
    pretraining: tuple[Tensor, Tensor] | None,
) -> Evaluation:
    """Evaluate policy and critic on a minibatch, with gradient; several processes share its rows.

    Args:
        models: policy and critic, and what else the recipe needs.
        recipe: says what is needed.
        minibatch: B responses of at most T tokens.
        sampling: how they were sampled.
        eos: the end token.
        pretraining: tokens and mask of a pre-training batch, if needed.
    Returns:
        log-probabilities, values and what else was needed.
    """
    share = Share.of(len(minibatch.mask))
    tokens, length, mask = minibatch.tokens, minibatch.prompt_length, minibatch.mask
    batch = Batch.of(tokens[share.rows], length[share.rows], mask[share.rows])
    said: dict[str, Tensor] = {}
    # The critic first, whose gradients then come last: while those of the policy's tied embedding are
    # summed, three of that size are held, and its peak should not have the critic's gradients beside it.
    if "value" in recipe.needs:
        value, end = map(share.gather, critic_outputs(models, recipe, batch))
        said["value"], said["end_value"] = recipe.value(value, mask), at_end(recipe, end)
    by_policy = _policy_outputs(models, recipe, batch, sampling, eos)
    said |= {name: share.gather(output) for name, output in by_policy.items()}
    if pretraining is not None:
        said["pretraining_loss"] = _language_loss(models.policy, *pretraining)
    none = torch.zeros_like(said["log_prob"])
    nothing = {"end_value": none[:, 0], "pretraining_loss": none[0, 0]}
    per_token = ("behaviour_log_prob", "entropy", "ref_kl", "value")
    return Evaluation(**(dict.fromkeys(per_token, none) | nothing | said))


def _policy_outputs(
    models: Models, recipe: Recipe, batch: Batch, sampling: Sampling, eos: int
) -> dict[str, Tensor]:
    """Return what the policy says of each response token, each [B, T], as far as it is needed."""
    asked = _Asked(models, recipe, batch, sampling, eos)
    parts = in_chunks(asked, models.policy.states(batch), models.policy.vocabulary)
    return {name: batch.spread(torch.cat([part[name] for part in parts])) for name in parts[0]}


@dataclass(frozen=True)
class _Asked:
    """What the update asks of the policy's logits, at any of the N states of a batch."""

    models: Models
    recipe: Recipe
    batch: Batch
    sampling: Sampling
    eos: int

    def __call__(self, hidden: Tensor, rows: slice) -> dict[str, Tensor]:
        """Return what the recipe needs, each [n], given the policy's hidden states [n, H] there."""
        needs, target = self.recipe.needs, self.batch.target[rows, None]
        raw = self.models.policy.logits(hidden).float()
        logits = _tempered(raw, self.sampling.log_prob_temperature)
        normaliser = logits.logsumexp(-1)
        said = {"log_prob": logits.gather(-1, target).squeeze(-1) - normaliser}
        if "entropy" in needs:
            mean_logit = ((logits - normaliser[:, None]).exp() * logits).sum(-1)
            said["entropy"] = normaliser - mean_logit
        if "ref_kl" in needs:
            log_p, log_q = logits - normaliser[:, None], self._log_reference(rows)
            said["ref_kl"] = (log_p.exp() * (log_p - log_q)).sum(-1)
        if "behaviour_log_prob" in needs:
            scaled = raw / self.sampling.temperature
            changed = self.recipe.logits(scaled, self._draft(scaled, rows))
            drawn = changed.log_softmax(-1).gather(-1, target).squeeze(-1)
            said["behaviour_log_prob"] = drawn.clamp(min=FORBIDDEN)
        return said

    @torch.no_grad()
    def _log_reference(self, rows: slice) -> Tensor:
        """Return log π_ref [n, V] at n states."""
        logits = self.models.reference.logits(self._reference[rows])
        return _log_softmax(logits, self.sampling.log_prob_temperature)

    @torch.no_grad()
    def _draft(self, logits: Tensor, rows: slice) -> Draft:
        """Say what was known when the response tokens of n states were drawn."""
        guide = logits.detach()
        if self._guide is not None:
            model, hidden = self._guide
            guide = model.logits(hidden[rows]).float() / self.sampling.temperature
        end = torch.tensor(self.eos, device=guide.device)
        return Draft(self.batch.step[rows], self._history[rows], guide, end)

    @cached_property
    def _reference(self) -> Tensor:
        """Hidden states [N, H] of the reference."""
        return self.models.reference.states(self.batch)

    @cached_property
    def _guide(self) -> tuple[Policy, Tensor] | None:
        """The guide and its hidden states [N, H], if there is one."""
        guide = self.models.guide
        return None if guide is None else (guide, guide.states(self.batch))

    @cached_property
    def _history(self) -> Tensor:
        """Response tokens [N, T] before each of the states; −1 behind them."""
        batch = self.batch
        column = torch.arange(batch.mask.shape[1], device=batch.mask.device)
        at = (batch.length - batch.mask.sum(1))[:, None] + column
        response = batch.tokens.gather(1, at.clamp(max=batch.tokens.shape[1] - 1))
        return torch.where(column < batch.step[:, None], response[batch.row], -1)


def _language_loss(policy: Policy, texts: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean cross-entropy of the wanted tokens of all processes' texts, a scalar."""
    share, device = Share.of(len(texts)), next(policy.parameters()).device
    mine = wanted[share.rows].to(device)
    loss = policy.language_loss(texts[share.rows].to(device), mine)
    return share.total(loss * (mine.sum() / wanted.sum()))


def critic_outputs(models: Models, recipe: Recipe, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the critic's raw output [B, T], and that after the last token [B]; 0 unless needed."""
    if "end_value" in recipe.needs:
        return models.critic.with_end(batch)
    blank = torch.zeros(batch.mask.shape, device=batch.mask.device)
    outputs = models.critic(batch) if "value" in recipe.needs else blank
    return outputs, torch.zeros_like(outputs[:, 0])


def at_end(recipe: Recipe, output: Tensor) -> Tensor:
    """Map the critic's raw output [B] after the last token to a value."""
    return recipe.value(output[:, None], torch.ones_like(output[:, None], dtype=torch.bool)).squeeze(1)


def _chunks(count: int, policy: Policy) -> tuple[Tensor, ...]:
    """Split the indices below `count` so that a chunk's logits stay within CHUNK_ELEMENTS."""
    size = max(1, CHUNK_ELEMENTS // policy.vocabulary)
    return torch.split(torch.arange(count), size)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return _tempered(logits.float(), temperature).log_softmax(-1)


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits by a temperature; the usual one needs no copy of them."""
    return logits if temperature == 1 else logits / temperature
