"""Masked statistics and running moments, the arithmetic that tricks share."""

from collections.abc import Mapping

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


class RunningMoments:
    """Mean and variance of everything observed so far, by parallel Welford updates in float64.

        n = n₁ + n₂   μ = μ₁ + δ n₂/n   M = M₁ + M₂ + δ² n₁ n₂/n   δ = x̄₂ − μ₁

    The standard deviation is unbiased, √(M/(n − 1)), and 1 until two samples have been seen.
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
        """Scalar unbiased standard deviation; 1 until two samples have been seen."""
        variance = self.squares / (self.count - 1).clamp(min=1)
        return torch.where(self.count < 2, 1.0, variance.sqrt())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the three tensors that make up the state."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the three tensors of `state_dict`."""
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]
