"""Masked statistics and running moments, the arithmetic that tricks share."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average the values where the mask is True; 0 where it is empty.

        x̄ = Σ m x / max(Σ m, 1)

    Args:
        values: any shape.
        mask: same shape, bool.
    Returns:
        scalar.
    """
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def masked_variance(values: Tensor, mask: Tensor, *, unbiased: bool) -> Tensor:
    """Take the variance of the values where the mask is True.

        s² = Σ m (x − x̄)² / (n − 1) if unbiased else / n          n = Σ m

    Args:
        values: any shape.
        mask: same shape, bool.
        unbiased: Bessel's correction; with n = 1 the variance is then 0.
    Returns:
        scalar.
    """
    squares = torch.where(mask, (values - masked_mean(values, mask)) ** 2, 0.0).sum()
    count = mask.sum() - int(unbiased)
    return squares / count.clamp(min=1)


def at_last_token(score: Tensor, mask: Tensor) -> Tensor:
    """Place each response's score on its last token.

        r_t = score · [t = |y| − 1]

    Args:
        score: [B].
        mask: [B, T] bool prefix.
    Returns:
        reward [B, T].
    """
    length = mask.sum(1, keepdim=True)
    step = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(step == length - 1, score[:, None], 0.0)


def at_every_token(values: Tensor, mask: Tensor) -> Tensor:
    """Place each response's number on every token of it: [B] to [B, T], 0 outside the mask."""
    return torch.where(mask, values[:, None], 0.0)


def response_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the tokens of each response: [B, T] to [B]."""
    return torch.where(mask, values, 0.0).sum(1)


def response_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over the tokens of each response: [B, T] to [B]; 0 of an empty one."""
    return response_sum(values, mask) / mask.sum(1).clamp(min=1)


def discounted_sum(values: Tensor, decay: float) -> Tensor:
    """Sum what follows each token, discounted, as one matrix product over the tokens.

        S_t = Σ_{l ≥ 0} c^l x_{t+l}

    Args:
        values: [B, T], 0 outside the mask.
        decay: c in [0, 1].
    Returns:
        [B, T].
    """
    step = torch.arange(values.shape[1], device=values.device)
    ahead = step[None, :] - step[:, None]
    weight = decay ** ahead.clamp(min=0).to(values.dtype)
    return values @ torch.where(ahead >= 0, weight, 0.0).T


def td_error(reward: Tensor, value: Tensor, mask: Tensor, discount: float) -> Tensor:
    """Take the temporal-difference error of every token.

        δ_t = r_t + γ V_{t+1} − V_t          V after the last token is 0

    Args:
        reward: [B, T].
        value: [B, T], 0 outside the mask.
        mask: [B, T] bool prefix.
        discount: γ in [0, 1].
    Returns:
        [B, T], 0 outside the mask.
    Source: Schulman et al. 2016, arXiv:1506.02438, §3.
    """
    following = torch.nn.functional.pad(value[:, 1:], (0, 1))
    return torch.where(mask, reward + discount * following - value, 0.0)


def group_sum(values: Tensor, group: Tensor) -> Tensor:
    """Sum over the responses to the same prompt.

    Args:
        values: [B].
        group: [B] number of the prompt.
    Returns:
        [B], the same for every response of a group.
    """
    return (group[:, None] == group[None, :]).to(values.dtype) @ values


def group_mean(values: Tensor, group: Tensor) -> Tensor:
    """Average over the responses to the same prompt: [B] to [B]."""
    return group_sum(values, group) / group_sum(torch.ones_like(values), group)


def group_variance(values: Tensor, group: Tensor, *, unbiased: bool) -> Tensor:
    """Take the variance over the responses to the same prompt: [B] to [B]; 0 of a single one."""
    squares = group_sum((values - group_mean(values, group)) ** 2, group)
    count = group_sum(torch.ones_like(values), group) - int(unbiased)
    return squares / count.clamp(min=1)


def group_max(values: Tensor, group: Tensor) -> Tensor:
    """Take the maximum over the responses to the same prompt: [B] to [B]."""
    return torch.where(group[:, None] == group[None, :], values[None, :], -torch.inf).amax(1)


@torch.no_grad()
def move_towards(slow: Iterable[Tensor], fast: Iterable[Tensor], share: float) -> None:
    """Move tensors towards others, in place.

        slow ← slow + α (fast − slow)

    Args:
        slow: the tensors to change, such as a model's parameters.
        fast: as many, of the same shapes.
        share: α in [0, 1]; 1 copies.
    """
    for old, new in zip(slow, fast, strict=True):
        old.lerp_(new, share)


KL_ESTIMATORS = ("k1", "k2", "k3", "abs")
"""Names of `kl_estimate`, as Schulman's note has them."""


def kl_estimate(log_ratio: Tensor, estimator: str) -> Tensor:
    """Estimate KL(p ‖ q) from samples of p.

        d = log p − log q        k1 = d        k2 = d²/2        k3 = e^{−d} − 1 + d        abs = |d|

    Args:
        log_ratio: d, any shape.
        estimator: one of `KL_ESTIMATORS`; k1 and k3 are unbiased, k2 and abs are not.
    Returns:
        same shape, in nats.
    Raises:
        ValueError: for another estimator.
    Source: Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.
    """
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return 0.5 * log_ratio**2
    if estimator == "k3":
        return (-log_ratio).exp() - 1 + log_ratio
    if estimator == "abs":
        return log_ratio.abs()
    raise ValueError(f"estimator must be one of {', '.join(KL_ESTIMATORS)}, got {estimator}")


class RunningMoments:
    """Mean and variance of everything observed so far, by parallel Welford updates in float64.

        n = n₁ + n₂   μ = μ₁ + δ n₂/n   M = M₁ + M₂ + δ² n₁ n₂/n   δ = x̄₂ − μ₁

    The standard deviation is unbiased, √(M/(n − 1)), and 1 until two different samples have been
    seen, so that equal scores are never blown up.
    Source: Chan, Golub & LeVeque 1983; as MOSS-RLHF utils.py at commit 4865d826, which divides by 0
    at n = 1 where we return 1.
    """

    def __init__(self) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros((), dtype=torch.float64)
        self.squares = torch.zeros((), dtype=torch.float64)

    def update(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Take in the values [any shape] where the mask (default: everywhere) is True."""
        values = values.double()
        keep = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
        count = keep.sum().double()
        mean = masked_mean(values, keep)
        squares = torch.where(keep, (values - mean) ** 2, 0.0).sum()
        delta = mean - self.mean
        total = (self.count + count).clamp(min=1)
        self.squares = self.squares + squares + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.count = self.count + count

    @property
    def std(self) -> Tensor:
        """Scalar unbiased standard deviation; 1 until two different samples have been seen."""
        variance = self.squares / (self.count - 1).clamp(min=1)
        is_rounding = variance <= (1e-9 * self.mean) ** 2
        return torch.where(is_rounding, 1.0, variance.sqrt())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the three tensors that make up the state."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the three tensors of `state_dict`."""
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]


class FirstMoments(RunningMoments):
    """Mean and variance of the first values observed; later ones change nothing."""

    def update(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Take in the values where the mask is True, unless there have been some before."""
        keep = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
        super().update(values, keep & (self.count == 0))


class RunningNumber:
    """One number that moves from rollout to rollout, in float64; 0 to begin with."""

    def __init__(self) -> None:
        self.value = torch.zeros((), dtype=torch.float64)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensor that is the state."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the tensor of `state_dict`."""
        self.value = state["value"]


class DelayedFactor:
    """A product of factors, each of which takes effect one update after it was given.

        f₀ = 1          f_{i+1} = f_i u_{i−1}          u_{−1} = 1

    For a controller whose setting answers to what was measured, but not before the next rollout.
    """

    def __init__(self) -> None:
        self.value = torch.ones((), dtype=torch.float64)
        self.pending = torch.ones((), dtype=torch.float64)

    def update(self, factor: Tensor) -> None:
        """Let the factor given last take effect, and keep this one [scalar] for the next update."""
        self.value = self.value * self.pending
        self.pending = factor.double()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the two tensors that make up the state."""
        return {"value": self.value, "pending": self.pending}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the two tensors of `state_dict`."""
        self.value, self.pending = state["value"], state["pending"]
