"""TRL's PPO on one page, one response at a time and without padding, written from the formulas.

A response of n tokens has n states, and one more behind its end, unless it is as long as the longest
of the batch: then TRL has no column for it. The score stands in the last state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Args:
    """The arguments of PPOConfig that decide the numbers, with its defaults; one learning rate."""

    num_ppo_epochs: int = 4
    num_mini_batches: int = 1
    temperature: float = 0.7
    kl_coef: float = 0.05
    kl_estimator: str = "k1"
    gamma: float = 1.0
    lam: float = 0.95
    cliprange: float = 0.2
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    whiten_rewards: bool = False
    missing_eos_penalty: float | None = None
    learning_rate: float = 1e-3


@dataclass
class Log:
    """What one iteration gave: tensors per response, and losses of policy and critic per step."""

    log_prob: list[Tensor] = field(default_factory=list)
    ref_log_prob: list[Tensor] = field(default_factory=list)
    value: list[Tensor] = field(default_factory=list)
    score: list[Tensor] = field(default_factory=list)
    reward: list[Tensor] = field(default_factory=list)
    advantage: list[Tensor] = field(default_factory=list)
    returns: list[Tensor] = field(default_factory=list)
    losses: list[tuple[Tensor, Tensor]] = field(default_factory=list)


Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]


class FlatTrl:
    """Trains policy and critic in place, iteration by iteration.

    Args:
        args: TRL's arguments.
        policy: GPT-2 language model, as the reference.
        critic: GPT-2 with a score head, as the reward model.
        eos: end token.
        iterations: K, over which the learning rate falls to 0.
    """

    def __init__(
        self, args: Args, *, policy: Any, critic: Any, reference: Any, reward_model: Any, eos: int,
        iterations: int,
    ) -> None:  # fmt: skip
        self.args, self.eos, self.iterations = args, eos, iterations
        self.policy, self.critic = policy, critic
        self.reference, self.reward_model = reference, reward_model
        both = [*policy.parameters(), *critic.parameters()]
        self.adam = torch.optim.AdamW(both, eps=1e-8, weight_decay=0.0)

    def iteration(self, k: int, pairs: Pairs, orders: Sequence[Sequence[int]]) -> Log:
        """Learn from prompts and responses; one order of them per epoch."""
        log = self.roll_out(pairs)
        self.adam.param_groups[0]["lr"] = self.args.learning_rate * (1 - k / self.iterations)
        size = len(pairs) // self.args.num_mini_batches
        for order in orders:
            for first in range(0, len(order), size):
                self.step(log, pairs, order[first : first + size])
        return log

    @torch.no_grad()
    def roll_out(self, pairs: Pairs) -> Log:
        log = Log()
        width = max(len(response) for _, response in pairs)
        for prompt, response in pairs:
            states = len(response) + (len(response) < width)
            log.log_prob.append(self.log_prob(self.policy, prompt, response))
            log.ref_log_prob.append(self.log_prob(self.reference, prompt, response))
            log.value.append(self.heads(self.critic, prompt, response)[:states])
            penalty = 0.0 if self.eos in response else self.args.missing_eos_penalty or 0.0
            log.score.append(self.heads(self.reward_model, prompt, response)[-1] - penalty)
            log.reward.append(self.reward(log, states))
        if self.args.whiten_rewards:
            mean, std = _moments(log.reward)
            log.reward = [(r - mean) / std + mean for r in log.reward]
        advantages = [self.gae(r, v) for r, v in zip(log.reward, log.value, strict=True)]
        log.returns = [a + v for a, v in zip(advantages, log.value, strict=True)]
        on_tokens = [a[: len(old)] for a, old in zip(advantages, log.log_prob, strict=True)]
        mean, std = _moments(on_tokens)
        log.advantage = [(a - mean) / std for a in on_tokens]
        return log

    def log_prob(self, model: Any, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        every = (logits / (self.args.temperature + 1e-7)).log_softmax(-1)
        return every[range(len(response)), response]

    def heads(self, model: Any, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
        """Return the head's output before each response token and behind the last."""
        hidden = model.transformer(torch.tensor([[*prompt, *response]])).last_hidden_state
        return model.score(hidden)[0, len(prompt) - 1 :, 0]

    def reward(self, log: Log, states: int) -> Tensor:
        """Charge the KL penalty on the tokens, and put the score into the last state."""
        d = log.log_prob[-1] - log.ref_log_prob[-1]
        kl = d if self.args.kl_estimator == "k1" else (-d).exp() - 1 + d
        reward = torch.zeros(states)
        reward[: len(kl)] = -self.args.kl_coef * kl
        reward[-1] += log.score[-1]
        return reward

    def gae(self, reward: Tensor, value: Tensor) -> Tensor:
        advantage, next_value, ahead = torch.zeros(len(value)), 0.0, 0.0
        for t in reversed(range(len(value))):
            delta = reward[t] + self.args.gamma * next_value - value[t]
            advantage[t] = ahead = delta + self.args.gamma * self.args.lam * ahead
            next_value = value[t]
        return advantage

    def step(self, log: Log, pairs: Pairs, rows: Sequence[int]) -> None:
        """Take one step on the mean over tokens, and half the mean over states."""
        args = self.args
        policy_losses, value_losses = [], []
        for row in rows:
            ratio = (self.log_prob(self.policy, *pairs[row]) - log.log_prob[row]).exp()
            a, old, target = log.advantage[row], log.value[row], log.returns[row]
            clipped = ratio.clamp(1 - args.cliprange, 1 + args.cliprange)
            policy_losses.append(torch.maximum(-a * ratio, -a * clipped))
            value = self.heads(self.critic, *pairs[row])[: len(old)]
            near = value.clamp(old - args.cliprange_value, old + args.cliprange_value)
            value_losses.append(torch.maximum((value - target) ** 2, (near - target) ** 2))
        policy_loss, value_loss = torch.cat(policy_losses).mean(), torch.cat(value_losses).mean() / 2
        (policy_loss + args.vf_coef * value_loss).backward()
        self.adam.step()
        self.adam.zero_grad()
        log.losses.append((policy_loss.detach(), value_loss.detach()))


def _moments(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and √(s² + 1e-8) of all numbers, s² unbiased."""
    every = torch.cat(list(rows))
    return every.mean(), (every.var(unbiased=True) + 1e-8).sqrt()
