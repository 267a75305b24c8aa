"""GELU and the packing of rows give the numbers of PyTorch's own, and so do gradients."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from workbench.arithmetic import gelu
from workbench.packing import Rows


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
