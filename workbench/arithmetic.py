"""GELU in its approximation by tanh, by kernels that are quicker on a CPU than PyTorch's own.

PyTorch's GELU takes as long there as the matrix product before it. The numbers are the same to rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE, CUBE = 1.5957691216057308, 0.044715
"""GELU's approximation is x · σ(SLOPE · (x + CUBE · x³)), where SLOPE = 2√(2/π)."""
WORTH_ELEMENTS = 2**16
"""Fewest elements for which several quick passes beat one slow one."""


def gelu(inputs: Tensor) -> Tensor:
    """Return GELU in its approximation by tanh, elementwise."""
    is_plain = inputs.dtype == torch.float32 and inputs.device.type == "cpu"
    if is_plain and inputs.numel() >= WORTH_ELEMENTS:
        return _Gelu.apply(inputs)  # type: ignore[no-untyped-call, no-any-return]
    return F.gelu(inputs, approximate="tanh")


class _Gelu(torch.autograd.Function):
    """`gelu` by the logistic function, whose kernel is a quarter of tanh's."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        gate = torch.addcmul(inputs.new_tensor(SLOPE), inputs, inputs, value=SLOPE * CUBE)
        gate.mul_(inputs).sigmoid_()
        context.save_for_backward(inputs, gate)
        return inputs * gate

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """σ(z) + x z′ (σ(z) − σ(z)²), where z′ = SLOPE · (1 + 3 CUBE x²)."""
        inputs, gate = context.saved_tensors
        slope = torch.addcmul(inputs.new_tensor(SLOPE), inputs, inputs, value=3 * SLOPE * CUBE)
        slope.mul_(inputs).mul_(torch.addcmul(gate, gate, gate, value=-1))
        return slope.add_(gate).mul_(gradients[0])
