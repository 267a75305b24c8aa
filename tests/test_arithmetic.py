"""GELU and the packing of rows give the numbers of PyTorch's own, and so do gradients."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from workbench import arithmetic
from workbench.arithmetic import affine, gelu, linear
from workbench.packing import Rows

SIZES = [(300, 16, 48), (1, 256, 256), (7, 256, 256), (300, 256, 512), (256, 512, 256)]
"""Rows, inputs and outputs: too few weights for oneDNN, one row, few, wider outputs, wider inputs."""


@pytest.mark.parametrize("has_product", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_affine_maps_and_their_gradients_equal_those_of_torch(
    size: tuple[int, int, int], has_product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "_HAS_PRODUCT", has_product and arithmetic._HAS_PRODUCT)
    torch.manual_seed(0)
    rows, wide, out = size
    operands = torch.randn(rows, wide), torch.randn(wide, out) * wide**-0.5, torch.randn(out)
    upstream, found = torch.randn(rows, out), []
    for function in (affine, lambda inputs, weight, bias: torch.addmm(bias, inputs, weight)):
        leaves = [operand.clone().requires_grad_() for operand in operands]
        result = function(*leaves)
        result.backward(upstream)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            found.append([result.detach(), function(*operands), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        assert_close(ours, theirs, rtol=2e-5, atol=2e-5 * rows**0.5)


@pytest.mark.parametrize("shape", [(5, 256), (3, 4, 256), (0, 256)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("out", [32, 512])
def test_a_last_layer_and_its_gradients_equal_the_layers_own(
    shape: tuple[int, ...], has_bias: bool, out: int
) -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(shape[-1], out, bias=has_bias), torch.randn(shape)
    found = []
    for function in (lambda values: linear(values, layer), layer):
        leaf = inputs.clone().requires_grad_()
        layer.zero_grad()
        result = function(leaf)
        result.square().sum().backward()
        found.append([result.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, rtol=2e-5, atol=1e-4)


def test_rows_come_in_few_numbers() -> None:
    counts = [len(arithmetic._padded(torch.zeros(n, 1))) for n in (1, 8, 9, 33, 100, 129, 600, 1025)]
    assert counts == [8, 8, 16, 40, 112, 160, 640, 1152]
    # by 8 up to 64: 8 numbers; then 4 between each two powers of two up to 1,024: 4 · 4
    assert len({len(arithmetic._padded(torch.zeros(n, 1))) for n in range(1, 1025)}) == 24


def test_gelu_is_as_exact_as_torchs_over_its_whole_range() -> None:
    inputs = torch.linspace(-30, 30, 2**17, requires_grad=True)
    exact = torch.linspace(-30, 30, 2**17, dtype=torch.float64, requires_grad=True)
    results = gelu(inputs), F.gelu(exact, approximate="tanh")
    for result in results:
        result.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(results[0].double(), results[1], rtol=0, atol=2e-6)
    assert inputs.grad is not None and exact.grad is not None
    assert_close(inputs.grad.double(), exact.grad, rtol=0, atol=2e-6)


def test_padding_and_back_changes_nothing_and_some_rows_may_be_left_out() -> None:
    length = torch.tensor([3, 1, 5, 2] * 10)
    rows = Rows(torch.zeros(40, 5, dtype=torch.long), length)
    packing, values = rows.packing, torch.arange(float(length.sum()))[:, None]
    padding = packing.padding
    assert padding.unpad(padding.pad(values)).equal(values)
    assert [width for _, width in padding.shapes] == [5, 3, 1]
    wanted = rows.choose(torch.tensor([2, 0, 2]), torch.tensor([4, 1, 0]))
    chosen = wanted.chosen
    where = chosen.token[chosen.place]
    assert packing.row[where].tolist() == [2, 0, 2]
    assert packing.position[where].tolist() == [4, 1, 0]
    assert [width for _, width in chosen.padding.shapes] == [2, 1, 1]
    hidden = chosen.bias(2, torch.float32)[0][0, 0]  # row 2 asks first: at positions 0 and 4
    assert hidden.isinf().tolist() == [[False, True, True, True, True], [False] * 5]
