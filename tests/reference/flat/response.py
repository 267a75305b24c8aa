"""One response and all that is known of it, and a run's memory of earlier ones."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Response:
    """A response of T tokens to a prompt.

    Attributes:
        prompt: its tokens.
        tokens: those of the response, to the end token or beyond.
        text_length: tokens up to the first end token, itself included.
        has_ended: whether there is an end token.
        group: number of the prompt.
        old: [T] log-probabilities under the policy of the rollout.
        drawn: [T] the same, of what the tokens were drawn from.
        ref: [T] the same, of the reference.
        kl: [T] the divergence of policy and reference over the vocabulary.
        entropy: [T] the policy's entropy.
        output: [T + 1] what the critic's head says before each token and after the last.
        value: [T + 1] the same as values.
        score: the reward model's score, changed by and by.
        rival: the score of another response to the prompt.
        reward: T numbers.
        advantage: T numbers.
        returns: T numbers.
    """

    prompt: list[int]
    tokens: list[int]
    text_length: int
    has_ended: bool
    group: int
    old: Tensor
    drawn: Tensor
    ref: Tensor
    kl: Tensor
    entropy: Tensor
    output: Tensor
    score: float
    rival: float
    value: Tensor = field(default_factory=lambda: torch.zeros(0))
    reward: list[float] = field(default_factory=list)
    advantage: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        """T."""
        return len(self.tokens)


@dataclass
class Memory:
    """What a run remembers from buffer to buffer.

    Attributes:
        buffers: how many there have been.
        scores: all scores before normalisation.
        first: those of the first buffer.
        sums: per token, the score at a response's last one and 0 before it.
        kl_factor: on the weight of the KL penalty.
        entropy_weight: of the adaptive entropy bonus.
    """

    buffers: int = 0
    scores: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    kl_factor: float = 1.0
    entropy_weight: float = 0.0


def mean(numbers: list[float]) -> float:
    """Average."""
    return sum(numbers) / len(numbers)


def variance(numbers: list[float], unbiased: bool) -> float:
    """Variance; 0 of a single number."""
    centre = mean(numbers)
    return sum((x - centre) ** 2 for x in numbers) / max(1, len(numbers) - unbiased)


def std(numbers: list[float]) -> float:
    """Unbiased standard deviation, 1 of equal numbers or of a single one."""
    return variance(numbers, True) ** 0.5 if len(set(numbers)) > 1 else 1.0


def clip(x: float, low: float, high: float) -> float:
    """The number of [low, high] that is nearest to x."""
    return max(low, min(high, x))


def divergence(log_ratio: Tensor, estimator: str) -> Tensor:
    """Schulman's estimators of the divergence, token by token."""
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return log_ratio**2 / 2
    if estimator == "k3":
        return torch.exp(-log_ratio) - 1 + log_ratio
    return abs(log_ratio)
