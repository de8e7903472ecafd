import importlib.util

import pytest
import torch

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops import scatter_sum

needs_torch_scatter = pytest.mark.skipif(
    importlib.util.find_spec("torch_scatter") is None, reason="torch-scatter (the graph extra) is not installed"
)


def example():
    return torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True), torch.tensor([4, 0, 4, 1, 1, 4, 0, 3, 4])


def test_sums_rows():
    values, index = example()
    out = scatter_sum(values, index, 6)
    for n in range(6):
        torch.testing.assert_close(out[n], values[index == n].sum(0))
    assert scatter_sum(values[:0], index[:0], 2).shape == (2, 2, 3)
    assert scatter_sum(torch.ones(3), torch.zeros(3, dtype=torch.int64), 1).tolist() == [3.0]


def test_second_derivatives():
    values, index = example()
    assert torch.autograd.gradcheck(lambda v: scatter_sum(v.sin(), index, 6), values)
    assert torch.autograd.gradgradcheck(lambda v: scatter_sum(v.sin(), index, 6), values)


@pytest.mark.graph
@needs_torch_scatter
def test_equals_torch_scatter_to_the_second_derivative():
    from torch_scatter import scatter

    values, index = example()
    results = []
    for add in (scatter_sum, lambda v, i, n: scatter(v, i, dim=0, dim_size=n, reduce="sum")):
        out = add(values.sin(), index, 6)
        (first,) = torch.autograd.grad(out.pow(3).sum(), values, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), values)
        results.append((out, first, second))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_bad_inputs_are_named():
    values, index = example()
    with pytest.raises(DtypeError, match=r"int64 index; got torch.int32. Write index.long\(\)"):
        scatter_sum(values, index.int(), 6)
    with pytest.raises(ShapeError, match=r"needs values \[rows, ...\] and index \[rows\]; got \[9, 2, 3\] and \[8\]"):
        scatter_sum(values, index[1:], 6)
    with pytest.raises(ShapeError, match=r"got \[\] and \[9\]"):
        scatter_sum(torch.tensor(1.0), index, 6)
