"""The tensors that pass between the stages, the tricks and the monitors.

B responses, L tokens of prompt and response, T response tokens. Rows hold prompt, response, padding,
in this order, so a causal model needs neither an attention mask nor position ids.
"""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass
class Rollout:
    """Responses sampled by π_old with everything PPO needs to know of them; also one minibatch of it.

    Attributes:
        tokens: [B, L] prompt, response, padding.
        prompt_length: [B] prompt tokens per row.
        mask: [B, T] bool, True on response tokens; each row is a prefix.
        log_prob: [B, T] log π_old of the sampled token; 0 outside the mask, like all that follow.
        ref_log_prob: [B, T] log π_ref of the sampled token.
        value: [B, T] critic's value of the state before the token, when the rollout was made.
        score: [B] reward-model score; `recipe.score` reparameterises it.
        is_truncated: [B] bool, True where the response reached the cap without an end token.
        reward: [B, T] per-token reward, score included. Unit: score.
        advantage: [B, T] advantage. Unit: score.
        returns: [B, T] value target. Unit: score.
    """

    tokens: Tensor
    prompt_length: Tensor
    mask: Tensor
    log_prob: Tensor
    ref_log_prob: Tensor
    value: Tensor
    score: Tensor
    is_truncated: Tensor
    reward: Tensor
    advantage: Tensor
    returns: Tensor

    def rows(self, index: Tensor) -> "Rollout":
        """Return the rows at `index` [b], trimmed to their longest prompt and response."""
        length = self.mask[index].sum(1)
        response_tokens = int(length.max())
        tokens = int((self.prompt_length[index] + length).max())
        picked = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        widths = {"tokens": tokens}
        return Rollout(
            **{
                name: value[:, : widths.get(name, response_tokens)] if value.ndim == 2 else value
                for name, value in picked.items()
            }
        )


@dataclass(frozen=True)
class Evaluation:
    """What the models being updated say of one minibatch, with gradient.

    Attributes:
        log_prob: [B, T] log π of the sampled token; 0 outside the mask.
        value: [B, T] critic's value; 0 outside the mask.
        entropy: [B, T] entropy of π over the vocabulary, in nats; zeros unless a trick needs it.
        pretraining_loss: scalar cross-entropy of π on a pre-training batch; 0 unless needed.
    """

    log_prob: Tensor
    value: Tensor
    entropy: Tensor
    pretraining_loss: Tensor


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled.

    Attributes:
        temperature: logits are divided by it when sampling, and in every log-probability.
        max_response_tokens: cap on |y|.
        buffer_size: responses sampled before the policy is updated on them.
    """

    temperature: float
    max_response_tokens: int
    buffer_size: int


@dataclass(frozen=True)
class Rates:
    """Factors on the two learning rates; 0 leaves the weights and the optimiser's state alone."""

    policy: float
    critic: float
