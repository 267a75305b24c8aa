"""Affine maps and GELU, by kernels that are quicker on some processors than PyTorch's own.

oneDNN multiplies twice as fast on AMD's as the library behind `torch.addmm`, and PyTorch's GELU takes as
long there as the product before it. The numbers are the same to rounding; where a kernel is not to be
had, PyTorch's default does the work.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE, CUBE = 1.5957691216057308, 0.044715
"""GELU's approximation is x · σ(SLOPE · (x + CUBE · x³)), where SLOPE = 2√(2/π)."""
WORTH_ELEMENTS = 2**17
"""Fewest elements for which several quick passes beat one slow one."""
WIDE = 2**16
"""Fewest weights for which oneDNN is asked: it makes and keeps a kernel for every shape of operands,
which costs more in time and memory than small models gain."""
FEWEST_ROWS, MOST_ROWS = 8, 128
"""It gets rows by multiples of a quarter of the power of two below, within these limits, the rest zeros,
so that shapes recur."""


def affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map [N, I] by a weight [I, O] and a bias [O], or none, to [N, O]."""
    is_wide = weight.numel() >= WIDE and _is_whole(weight) and len(inputs) > 0
    if not (is_wide and _HAS_PRODUCT and _is_plain(inputs)):
        return inputs @ weight if bias is None else torch.addmm(bias, inputs, weight)
    if torch.is_grad_enabled():
        return _Affine.apply(inputs, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
    return _product(_padded(inputs), weight, bias)[: len(inputs)]


def linear(inputs: Tensor, layer: nn.Module) -> Tensor:
    """Apply a model's last layer to [..., I]; one that is no plain linear layer does it itself."""
    if type(layer) is not nn.Linear or layer.weight.numel() < WIDE:
        applied: Tensor = layer(inputs)
        return applied
    rows = inputs.reshape(-1, inputs.shape[-1])
    return affine(rows, layer.weight.T, layer.bias).reshape(*inputs.shape[:-1], layer.out_features)


def gelu(inputs: Tensor) -> Tensor:
    """Return GELU in its approximation by tanh, elementwise."""
    if _is_plain(inputs) and inputs.numel() >= WORTH_ELEMENTS:
        return _Gelu.apply(inputs)  # type: ignore[no-untyped-call, no-any-return]
    return F.gelu(inputs, approximate="tanh")


class _Affine(torch.autograd.Function):
    """`affine` by oneDNN, forward and backward."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padded = _padded(inputs)
        context.save_for_backward(padded, weight)
        return _product(padded, weight, bias)[: len(inputs)]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (padded, weight), (gradient,) = context.saved_tensors, gradients
        has_inputs, has_weight, has_bias = context.needs_input_grad
        upstream = _padded(gradient)
        return (
            _product(upstream, weight.T)[: len(gradient)] if has_inputs else None,
            _weight_gradient(padded, upstream, weight) if has_weight else None,
            gradient.sum(0) if has_bias else None,
        )


def _weight_gradient(inputs: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Multiply [N, I]ᵀ by [N, O].

    The factor on the left is copied, so it is the narrower one, unless the weight is kept as [O, I]: as
    a view of that its gradient needs no copy of its own.
    """
    if inputs.shape[1] <= gradient.shape[1] and weight.is_contiguous():
        return _product(inputs.T, gradient)
    return _product(gradient.T, inputs).T


def _padded(values: Tensor) -> Tensor:
    """Add rows of zeros to [N, C] until their number is one of few."""
    quarter = 1 << max(0, len(values).bit_length() - 3)
    missing = -len(values) % min(MOST_ROWS, max(FEWEST_ROWS, quarter))
    return F.pad(values, (0, 0, 0, missing)) if missing else values.contiguous()


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Let oneDNN multiply [N, I] by [I, O], a whole matrix or its transpose: other views crawl."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight.T, bias, "none", [], "")
    return product


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


def _is_whole(weight: Tensor) -> bool:
    return weight.is_contiguous() or weight.T.is_contiguous()


def _is_plain(values: Tensor) -> bool:
    return values.dtype == torch.float32 and values.device.type == "cpu"


def _has_product() -> bool:
    """Say whether this PyTorch has oneDNN's product, on a processor with its wide registers."""
    is_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return is_wide and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_PRODUCT = _has_product()
