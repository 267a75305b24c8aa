"""Policy, critic, reference and reward model: Hugging Face models behind two small interfaces."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench import gpt2
from workbench.arithmetic import linear
from workbench.chunks import by_rows, in_chunks
from workbench.loading import load_causal, load_scorer, scorer_on, text_config
from workbench.packing import Rows, Wanted
from workbench.parallel import process
from workbench.tasks.base import Reward

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


CHUNK_ELEMENTS = 2**24
"""Logits held at a time where no gradient is needed: 64 MiB in float32, whatever the vocabulary."""


class Wrapper(nn.Module):
    """A Hugging Face model that is read at chosen tokens.

    Attributes:
        model: the library's.
        rows_at_once: how many rows of a batch it reads at a time; None for all.
    """

    model: "PreTrainedModel"

    def __init__(self, rows_at_once: int | None = None) -> None:
        """Make a wrapper without a model."""
        super().__init__()
        self.rows_at_once = rows_at_once

    @property
    def config(self) -> "PreTrainedConfig":
        """The part of the model's configuration that is about text."""
        return text_config(self.model.config)

    def hidden_at(self, wanted: Wanted) -> Tensor:
        """Compute the last hidden states [N, H] at the wanted tokens."""
        if self.rows_at_once is None or self.rows_at_once >= len(wanted.rows.length):
            return self._read(wanted)
        return by_rows(self._read, wanted, self.rows_at_once)

    def predicting(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden states [N, H] that predict the masked tokens [B, L], and these [N]."""
        row, at = mask[:, 1:].nonzero(as_tuple=True)
        column = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        length = torch.where(mask, column, 0).amax(1)
        return self.hidden_at(Rows(tokens, length).choose(row, at)), tokens[row, at + 1]

    def _read(self, wanted: Wanted) -> Tensor:
        trunk = self.model.base_model
        if gpt2.is_plain(trunk):
            return gpt2.states_at(trunk, wanted)
        states: Tensor = trunk(input_ids=wanted.rows.tokens, use_cache=False).last_hidden_state
        return states[wanted.row, wanted.at]


class Policy(Wrapper):
    """A causal language model: hidden states of response tokens, and the logits that follow them.

    An output layer often has room for more tokens than the tokenizer has, which another model may not
    know: the logits are of the tokenizer's alone.
    """

    def __init__(self, tokens: int | None = None, rows_at_once: int | None = None) -> None:
        """Make a policy without weights, over so many tokens; None takes all that there is room for."""
        super().__init__(rows_at_once)
        self._tokens = tokens

    def load_weights(self, folder: Path) -> None:
        """Take architecture and weights from a Hugging Face folder."""
        self.model = load_causal(folder)

    @property
    def vocabulary(self) -> int:
        """V, the tokens that the logits are of."""
        room = int(self.config.vocab_size)
        return room if self._tokens is None else min(self._tokens, room)

    def states(self, batch: "Batch") -> Tensor:
        """Return the hidden states [N, H] that predict the response tokens of a batch."""
        return self.hidden_at(batch.wanted)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., H] to logits [..., V], as the model's own forward does for these V."""
        config = self.config
        with in_full_precision(hidden):
            logits = linear(hidden.float(), self.model.get_output_embeddings())[..., : self.vocabulary]
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
        return language_loss(self, self.logits, tokens, mask)


class Scorer(Wrapper):
    """A trunk with a linear head: the critic on every token, the reward model on a text's last one."""

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
        self.model = scorer_on(folder)
        generator = torch.Generator().manual_seed(seed)
        weight = self.model.score.weight
        with torch.no_grad():
            weight.copy_(head_std * torch.randn(weight.shape, generator=generator))

    def forward(self, batch: "Batch") -> Tensor:
        """Return the head's output [B, T] at the states that predict response tokens; 0 elsewhere."""
        return batch.spread(self.heads(batch.wanted))

    def with_end(self, batch: "Batch") -> tuple[Tensor, Tensor]:
        """Return the same [B, T], and the output [B] at the state after each row's last token."""
        every, end = torch.arange(len(batch.mask), device=batch.row.device), batch.length - 1
        row, at = torch.cat([batch.row, every]), torch.cat([batch.at, end])
        outputs = self.heads(batch.rows.choose(row, at))
        count = len(batch.row)
        return batch.spread(outputs[:count]), outputs[count:]

    def heads(self, wanted: Wanted) -> Tensor:
        """Return the head's output [N] at the wanted tokens."""
        hidden = self.hidden_at(wanted)
        with in_full_precision(hidden):
            value: Tensor = self.model.score(hidden.float())
        return value.squeeze(-1)

    def last(self, rows: Rows) -> Tensor:
        """Return the head's output [B] at the last token of each row that is not to be skipped.

        Which token is, if any, `stages.prepare` writes as `score_skips` into the configuration.
        """
        every, at = torch.arange(len(rows.length), device=rows.length.device), rows.length - 1
        if (skipped := getattr(self.model.config, "score_skips", None)) is not None:
            column = torch.arange(rows.tokens.shape[1], device=at.device)
            is_read = (column <= at[:, None]) & (rows.tokens != skipped)
            at = torch.where(is_read, column, 0).amax(1)
        return self.heads(rows.choose(every, at))


class OwnReward(Scorer):
    """The task's own reward where PPO asks a reward model; that model is there, and is not asked."""

    def __init__(self, reward: Reward) -> None:
        super().__init__()
        self.reward = reward

    def last(self, rows: Rows) -> Tensor:
        """Return the task's reward [B] of each row."""
        texts = zip(rows.tokens.tolist(), rows.length.tolist(), strict=True)
        return torch.tensor(self.reward([tuple(row[:n]) for row, n in texts]), device=rows.tokens.device)


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

    @cached_property
    def rows(self) -> Rows:
        """What the models read."""
        return Rows(self.tokens, self.length)

    @cached_property
    def wanted(self) -> Wanted:
        """The states that predict the response tokens."""
        return self.rows.choose(self.row, self.at)

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


def language_loss(
    wrapper: Wrapper, logits: Callable[[Tensor], Tensor], tokens: Tensor, mask: Tensor
) -> Tensor:
    """Return the mean cross-entropy of the masked tokens, given an output layer for hidden states."""
    states, target = wrapper.predicting(tokens, mask)

    def nats(hidden: Tensor, rows: slice) -> Tensor:
        return nn.functional.cross_entropy(logits(hidden).float(), target[rows], reduction="sum")

    vocabulary = int(wrapper.config.vocab_size)
    return torch.stack(in_chunks(nats, states, vocabulary)).sum() / len(target)


@dataclass
class Models:
    """The four models of PPO, and the slow copies of the policy that some tricks keep.

    Attributes:
        policy: what is trained.
        critic: what is trained beside it; it may share the policy's trunk. Without weights, and so
            without any parameter, where the recipe asks for no values.
        reference: the policy that the tricks measure KL to; frozen, though `reference_refresh` moves it.
        reward_model: frozen.
        sft: the SFT policy, which the monitors measure KL to; the reference, unless that one moves.
        guide: frozen copy whose logits decide which tokens may be sampled, if a trick needs it.
        average: moving average of the policy, if a trick needs it; held-out prompts are answered by it.
        has_dropout: the update is done in training mode.
    """

    policy: Policy
    critic: Scorer
    reference: Policy
    reward_model: Scorer
    sft: Policy = None  # type: ignore[assignment]
    guide: Policy | None = None
    average: Policy | None = None
    has_dropout: bool = False

    def __post_init__(self) -> None:
        """Take the reference for the SFT policy where that is not given."""
        self.sft = self.sft or self.reference

    @property
    def updated(self) -> "list[PreTrainedModel]":
        """The policy's model and the critic's, if there is one."""
        wrappers: tuple[Policy | Scorer, ...] = (self.policy, self.critic)
        return [wrapper.model for wrapper in wrappers if list(wrapper.children())]

    def slow_copies(self, needs: frozenset[str]) -> None:
        """Make the frozen copies of the starting policy, or of the reference, that tricks need."""
        if "guide" in needs:
            self.guide = _frozen(self.policy)
        if "average" in needs:
            self.average = _frozen(self.policy)
        if "moving_reference" in needs:
            self.sft, self.reference = self.reference, _frozen(self.reference)

    def changing(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules that a run changes, by name; checkpoints keep them."""
        yield "policy", self.policy
        yield "critic", self.critic
        slow = {"guide": self.guide, "average": self.average}
        slow |= {"reference": self.reference} if self.reference is not self.sft else {}
        yield from ((name, module) for name, module in slow.items() if module is not None)

    def parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that PPO updates; those that both models share are the policy's."""
        shared = set(map(id, self.policy.parameters()))
        policy = [p for p in self.policy.parameters() if p.requires_grad]
        critic = [p for p in self.critic.parameters() if p.requires_grad and id(p) not in shared]
        return policy, critic

    @contextmanager
    def in_training_mode(self, seed: int) -> Iterator[None]:
        """Let dropout act on policy and critic, with random numbers of this seed, if there is any.

        Several processes drop independently of each other, so not what one process would.
        """
        if not self.has_dropout:
            yield
            return
        devices = [next(self.policy.parameters()).device]
        with torch.random.fork_rng(devices=[d for d in devices if d.type == "cuda"]):
            torch.manual_seed(seed + process())
            self.policy.train()
            self.critic.train()
            yield
        self.policy.eval()
        self.critic.eval()


def _frozen(policy: Policy) -> Policy:
    return copy.deepcopy(policy).requires_grad_(False)
