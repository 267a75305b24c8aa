"""Affine maps and GELU, by the fastest kernels that PyTorch has for this processor.

On processors of AMD, oneDNN multiplies twice as fast as the library behind `torch.addmm`, and it can
apply GELU on the way. PyTorch's own GELU takes as long as the product before it. All of this computes
the same numbers to rounding; where a kernel is not to be had, PyTorch's default does the work.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE, CUBE = 1.5957691216057308, 0.044715
"""GELU's approximation is x · σ(SLOPE · (x + CUBE · x³)), where SLOPE = 2√(2/π)."""
WORTH_PRODUCTS = 2**20
"""Fewest multiplications for which oneDNN is asked: it prepares a kernel for each shape of operands."""
WORTH_ELEMENTS = 2**16
"""Fewest elements for which several quick passes beat one slow one."""
STEP = 32
"""Where rows can be added that nothing reads, their number is a multiple of this: shapes recur."""


def rounded(index: Tensor) -> Tensor:
    """Add zeros to indices [n] until rows of as many vectors have one of few shapes, if that helps."""
    is_worth = _HAS_KERNELS and index.device.type == "cpu" and len(index) > 4 * STEP
    return F.pad(index, (0, -len(index) % STEP)) if is_worth else index


def affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map [N, I] by a weight [I, O], and a bias [O] if there is one, to [N, O]."""
    if not _is_worth(inputs, weight):
        return inputs @ weight if bias is None else torch.addmm(bias, inputs, weight)
    if not torch.is_grad_enabled():
        return _product(inputs, weight, bias)
    return _Affine.apply(inputs, weight, bias)  # type: ignore[no-untyped-call, no-any-return]


def gelu(inputs: Tensor) -> Tensor:
    """Return GELU in its approximation by tanh, elementwise."""
    if inputs.numel() >= WORTH_ELEMENTS and _is_fast(inputs):
        return _Gelu.apply(inputs)  # type: ignore[no-untyped-call, no-any-return]
    return F.gelu(inputs, approximate="tanh")


def affine_gelu(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return GELU of an affine map, [N, I] to [N, O]."""
    if _is_worth(inputs, weight) and not torch.is_grad_enabled():
        return _product(inputs, weight, bias, "gelu")
    return gelu(affine(inputs, weight, bias))


class _Affine(torch.autograd.Function):
    """`affine` by oneDNN, forward and backward."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(inputs, weight)
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inputs, weight), (gradient,) = context.saved_tensors, gradients
        has_inputs, has_weight, has_bias = context.needs_input_grad
        gradient = gradient.contiguous()
        return (
            _product(gradient, weight.T) if has_inputs else None,
            _weight_gradient(inputs, gradient) if has_weight else None,
            gradient.sum(0) if has_bias else None,
        )


def _weight_gradient(inputs: Tensor, gradient: Tensor) -> Tensor:
    """Multiply [N, I]ᵀ by [N, O]; the factor on the left is copied, so it is the narrower one."""
    if inputs.shape[1] <= gradient.shape[1]:
        return _product(inputs.T, gradient)
    return _product(gradient.T, inputs).T


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    """Let oneDNN multiply [N, I] by [I, O], a whole matrix or its transpose: other views crawl."""
    algorithm = "tanh" if then == "gelu" else ""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight.T, bias, then, [], algorithm)
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


def _is_worth(inputs: Tensor, weight: Tensor) -> bool:
    return len(inputs) * weight.numel() >= WORTH_PRODUCTS and _is_fast(inputs)


def _is_fast(values: Tensor) -> bool:
    return _HAS_KERNELS and values.dtype == torch.float32 and values.device.type == "cpu"


def _has_kernels() -> bool:
    """Say whether this PyTorch has oneDNN's product, on a processor with its wide registers."""
    is_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return is_wide and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_KERNELS = _has_kernels()
