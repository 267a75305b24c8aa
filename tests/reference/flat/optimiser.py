"""Adam, its learning rates, and what is done to gradients before it."""

from math import cos, pi, sqrt

import torch
from torch import Tensor

from tests.reference.flat.args import Args


class Adam:
    """Adam by its equations, for the parameters of one model."""

    def __init__(self, args: Args, parameters: list[Tensor], epsilon: float) -> None:
        self.args, self.parameters, self.epsilon, self.t = args, parameters, epsilon, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters against their gradients."""
        self.t += 1
        (first, second), epsilon = self.args.betas, self.epsilon
        for parameter, m, v in zip(self.parameters, self.m, self.v, strict=True):
            assert parameter.grad is not None
            m.copy_(first * m + (1 - first) * parameter.grad)
            v.copy_(second * v + (1 - second) * parameter.grad**2)
            m_hat, v_hat = m / (1 - first**self.t), v / (1 - second**self.t)
            step = m_hat / (v_hat.sqrt() + epsilon)
            if self.args.tensorflow_style:
                scale = sqrt(1 - second**self.t) / (1 - first**self.t)
                step = scale * m / (v.sqrt() + epsilon)
            parameter -= rate * self.args.weight_decay * parameter
            parameter -= rate * step


def factor(args: Args, k: int) -> float:
    """The factor on both learning rates in iteration k."""
    result, share = 1.0, k / args.iterations
    if args.warmup:
        result *= min(1.0, (k + 1) / (args.warmup * args.iterations))
    if args.linear_final is not None:
        result *= 1 + (args.linear_final - 1) * share
    if args.cosine_final is not None:
        result *= args.cosine_final + (1 - args.cosine_final) * (1 + cos(pi * share)) / 2
    if args.root_share is not None:
        constant = max(1.0, args.root_share * args.iterations)
        result *= max(args.root_final, min(1.0, sqrt(constant / (k + 1))))
    return result


def change_gradients(args: Args, policy: list[Tensor], critic: list[Tensor]) -> None:
    """Shrink gradients that are too large."""
    if args.max_gradient:
        for parameter in [*policy, *critic]:
            assert parameter.grad is not None
            parameter.grad.clamp_(-args.max_gradient, args.max_gradient)
    if args.max_gradient_norm:
        for part in [policy, critic] if args.separate_norms else [[*policy, *critic]]:
            torch.nn.utils.clip_grad_norm_(part, args.max_gradient_norm)
