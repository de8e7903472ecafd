"""Maps over products of rows: what vmap makes of the op behind them."""

import pytest
import torch
from ops.test_tensor_product import EVERY_MODE, TP, needs_library
from ops.twin import assert_near
from torch.utils._python_dispatch import TorchDispatchMode

from irrepnet import o3
from irrepnet.ops import tensor_product

CHANNELWISE = o3.TensorProduct(
    "3x1o", "1o", "3x1e+3x0e", [(0, 0, 0, "uvu", True), (0, 0, 1, "uvu", True)], shared_weights=False
)


def mapped(plan, weights, dims, sizes, backend):
    """The product under vmap over the rows of features, beside the same without it."""
    torch.manual_seed(0)
    x, y = (torch.randn(*sizes, n, dtype=torch.float64) for n in (plan.dim1, plan.dim2))

    def product(x, y, weights):
        return tensor_product(x, y, weights, plan, backend=backend)

    expected = tensor_product(x, y, weights, plan, backend="reference")
    return torch.vmap(product, in_dims=(0, 0, dims))(x, y, weights), expected


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("tp", [TP, EVERY_MODE, CHANNELWISE])
@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_vmap_of_any_size(tp, batch, rows, backend):
    """An empty batch keeps the shape of its members."""
    numel = tp.plan.weight_numel
    for weights, dims in ((torch.randn(numel).double(), None), (torch.randn(batch, rows, numel).double(), 0)):
        found, expected = mapped(tp.plan, weights, dims, (batch, rows), backend)
        assert found.shape == expected.shape == (batch, rows, tp.plan.dim_out)
        assert_near(found, expected, 1e-12)


@needs_library
def test_vmap_keeps_weights_that_are_shared_once():
    """Laid out once for each member, they would be read row by row, as many times as there are members."""
    plan, batch = EVERY_MODE.plan, 5
    weights = torch.randn(plan.weight_numel, dtype=torch.float64)
    seen = []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.irrepnet.pair_product.default:
                seen.append([None if t is None else tuple(t.shape) for t in args[:4]])
            return func(*args, **(kwargs or {}))

    with Calls():
        found, expected = mapped(plan, weights, None, (batch,), "fused")
    assert_near(found, expected, 1e-12)
    assert seen and all(shapes[2] in (None, (1, plan.weight_numel)) for shapes in seen)
    assert all(shapes[0][0] == batch for shapes in seen)


@needs_library
@pytest.mark.parametrize("order", [(0, None), (None, 0), (0, 0)])
def test_vmap_within_vmap(order):
    """Weights that the inner map shares may be mapped by the outer one, and gradients to them are those of a member."""
    plan = EVERY_MODE.plan
    outer, inner = order
    torch.manual_seed(0)
    x, y = (torch.randn(2, 3, n, dtype=torch.float64) for n in (plan.dim1, plan.dim2))
    shape = ([2] if outer == 0 else []) + ([3] if inner == 0 else [])
    weights = torch.randn(*shape, plan.weight_numel, dtype=torch.float64)
    results = []
    for backend in ("fused", "reference"):

        def energy(x, y, weights, backend=backend):
            return tensor_product(x, y, weights, plan, backend=backend).sin().sum()

        both = torch.func.grad(energy, argnums=(0, 1, 2))
        results.append(torch.vmap(torch.vmap(both, in_dims=(0, 0, inner)), in_dims=(0, 0, outer))(x, y, weights))
    for found, expected in zip(*results, strict=True):
        assert found.shape == expected.shape
        assert_near(found, expected, 1e-12)
