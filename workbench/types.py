"""The tensors and settings that pass between the stages, the tricks and the monitors.

B responses, L tokens of prompt and response, T response tokens, V words. Rows hold prompt, response,
padding, in this order, so a causal model needs neither an attention mask nor position ids.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Rollout:
    """Responses sampled by π_old with everything PPO needs to know of them; also one minibatch of it.

    Attributes:
        tokens: [B, L] prompt, response, padding.
        prompt_length: [B] prompt tokens per row.
        mask: [B, T] bool, True on response tokens; each row is a prefix.
        text_length: [B] response tokens up to the first end token; what the reward model reads. Equal
            to the mask's length unless sampling goes on behind the end token.
        is_truncated: [B] bool, True where the response reached the cap without an end token.
        group: [B] number of the prompt; responses to one prompt share it.
        log_prob: [B, T] log π_old of the sampled token; 0 outside the mask, like all that follow.
        behaviour_log_prob: [B, T] log-probability under what it was drawn from: π_old after top-p,
            repetition penalty and the like.
        ref_log_prob: [B, T] log π_ref of the sampled token.
        entropy: [B, T] entropy of π_old in nats.
        ref_kl: [B, T] KL(π_old ‖ π_ref) over the vocabulary in nats.
        value: [B, T] critic's value of the state before the token, when the rollout was made.
        end_value: [B] critic's value of the state after the last token; 0 unless a trick needs it.
        score: [B] reward-model score; `recipe.reward_function` and `recipe.score` change it.
        greedy_score: [B] score of π_old's greedy response to the prompt; 0 unless a trick needs it.
        reference_score: [B] score of the task's own response to the prompt; 0 unless needed.
        reward: [B, T] per-token reward, score included. Unit: score.
        advantage: [B, T] advantage. Unit: score.
        returns: [B, T] value target. Unit: score.
    """

    tokens: Tensor
    prompt_length: Tensor
    mask: Tensor
    text_length: Tensor
    is_truncated: Tensor
    group: Tensor
    log_prob: Tensor
    behaviour_log_prob: Tensor
    ref_log_prob: Tensor
    entropy: Tensor
    ref_kl: Tensor
    value: Tensor
    end_value: Tensor
    score: Tensor
    greedy_score: Tensor
    reference_score: Tensor
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

    def with_end(self) -> "Rollout":
        """Return the rollout with the state after the last token as one more state: [B, T + 1].

        Only `mask`, `value` and `returns` are extended; the target of that state is the score.
        """
        length = self.mask.sum(1, keepdim=True)
        step = torch.arange(self.mask.shape[1] + 1, device=self.mask.device)
        return replace(
            self,
            mask=step <= length,
            value=append(self.value, self.mask, self.end_value),
            returns=append(self.returns, self.mask, self.score),
        )


def append(values: Tensor, mask: Tensor, end: Tensor) -> Tensor:
    """Put one more value [B] right behind each row's last token: values [B, T] to [B, T + 1]."""
    step = torch.arange(mask.shape[1] + 1, device=mask.device)
    length = mask.sum(1, keepdim=True)
    padded = torch.nn.functional.pad(values, (0, 1))
    return torch.where(step < length, padded, 0.0) + torch.where(step == length, end[:, None], 0.0)


@dataclass(frozen=True)
class Evaluation:
    """What the models being updated say of one minibatch, with gradient.

    Attributes:
        log_prob: [B, T] log π of the sampled token; 0 outside the mask, like all [B, T].
        behaviour_log_prob: [B, T] the same of π after the recipe's logits tricks; 0 unless needed.
        entropy: [B, T] entropy of π over the vocabulary, in nats; 0 unless a trick needs it.
        ref_kl: [B, T] KL(π ‖ π_ref) over the vocabulary, in nats; 0 unless needed.
        value: [B, T] critic's value; 0 unless needed, as the next.
        end_value: [B] critic's value of the state after the last token.
        pretraining_loss: scalar cross-entropy of π on a pre-training batch; 0 unless needed.
    """

    log_prob: Tensor
    behaviour_log_prob: Tensor
    entropy: Tensor
    ref_kl: Tensor
    value: Tensor
    end_value: Tensor
    pretraining_loss: Tensor


@dataclass(frozen=True)
class Draft:
    """What is known when a token is about to be drawn; N rows, one state each.

    Attributes:
        step: [N] response tokens so far.
        history: [N, S] those tokens; −1 behind them.
        guide: [N, V] logits of the guide model at this state; the policy's own unless needed.
        eos: scalar, the end token.
    """

    step: Tensor
    history: Tensor
    guide: Tensor
    eos: Tensor


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled.

    Attributes:
        temperature: logits are divided by it when sampling.
        max_response_tokens: cap on |y|.
        buffer_size: responses sampled before the policy is updated on them.
        log_prob_temperature: logits are divided by it in every log-probability.
        responses_per_prompt: G; an iteration asks fewer prompts, each G times.
        is_fixed_length: go on to the cap behind the end token.
    """

    temperature: float
    max_response_tokens: int
    buffer_size: int
    log_prob_temperature: float = 1.0
    responses_per_prompt: int = 1
    is_fixed_length: bool = False


@dataclass(frozen=True)
class Optimisation:
    """How a buffer is worked through, and Adam's settings.

    Attributes:
        epochs: passes over each buffer.
        minibatch_size: responses per optimiser step.
        is_reshuffled: a new order in every epoch, or one for all of them.
        policy_rate: factor on the policy's learning rate.
        critic_rate: factor on the critic's learning rate.
        betas: Adam's β₁ and β₂.
        policy_epsilon: Adam's ε of the policy.
        critic_epsilon: Adam's ε of the critic.
        weight_decay: AdamW's decoupled weight decay.
        is_tensorflow_style: ε outside the bias correction, as TensorFlow 1 has it.
    """

    epochs: int
    minibatch_size: int
    is_reshuffled: bool = True
    policy_rate: float = 1.0
    critic_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    policy_epsilon: float = 1e-8
    critic_epsilon: float = 1e-8
    weight_decay: float = 0.0
    is_tensorflow_style: bool = False


@dataclass(frozen=True)
class Rates:
    """Factors on the two learning rates; 0 leaves the weights and the optimiser's state alone."""

    policy: float
    critic: float
