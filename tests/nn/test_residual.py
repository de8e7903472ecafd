"""Residual blocks: the sum that they promise, their state, and what is refused."""

import pytest
import torch

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.nn import Gate, Residual
from irrepnet.o3 import Linear, ReducedTensorProducts
from irrepnet.testing import assert_equivariant


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def test_adds_the_input_where_irreps_are_the_same():
    linear, x = Linear("2x0e+0e+1o", "3x0e+1o"), torch.randn(5, 6)
    block = Residual(linear, scale=0.3)  # irreps are written apart on one side only
    assert block.shortcut is None
    torch.testing.assert_close(block(x), x + 0.3 * linear(x))
    assert list(block.state_dict()) == ["module.weight"]


def test_maps_the_input_where_irreps_differ():
    gate = Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o")
    block, x = Residual(gate), torch.randn(5, gate.irreps_in.dim)
    torch.testing.assert_close(block(x), block.shortcut(x) + gate(x))
    assert list(block.state_dict()) == ["shortcut.weight"]
    assert_equivariant(block.double(), block.irreps_in, block.irreps_out)


def test_irreps_that_the_input_does_not_hold_come_from_the_module_alone():
    class Square(torch.nn.Module):
        irreps_in, irreps_out = "1o", "1o+0e"

        def forward(self, x):
            return torch.cat([x, x.square().sum(-1, keepdim=True)], -1)

    x = torch.randn(5, 3)
    torch.testing.assert_close(Residual(Square())(x)[:, 3], x.square().sum(-1))


def test_learned_scale_begins_as_the_identity():
    block = Residual(Linear("4x0e", "4x0e"), scale=0.0, learn_scale=True)
    x = torch.randn(5, 4)
    y = block(x)
    torch.testing.assert_close(y, x, rtol=0, atol=0)
    y.sum().backward()
    assert block.scale.shape == () and block.scale.grad.item() != 0
    assert set(block.state_dict()) == {"scale", "module.weight"}


def test_other_arguments_reach_the_module():
    class Shift(torch.nn.Module):
        def forward(self, x, shift, *, times):
            return times * (x + shift)

    block, x = Residual(Shift(), "2x0e", "2x0e"), torch.randn(3, 2)
    torch.testing.assert_close(block(x, 1.0, times=2), x + 2 * (x + 1))


def test_repr():
    linear = "Linear(2x0e -> 2x0e | 4 weights)"
    assert repr(Residual(Linear("2x0e", "2x0e"))) == f"Residual(x + {linear})"
    assert repr(Residual(Linear("2x0e", "2x0e"), scale=0.5)) == f"Residual(x + 0.5 {linear})"
    assert repr(Residual(Linear("2x0e", "2x0e"), learn_scale=True)) == f"Residual(x + s {linear})"


def test_errors():
    with pytest.raises(IrrepsError, match=r"needs irreps_in; Sequential does not say its own. Write Residual\(module"):
        Residual(torch.nn.Sequential())
    with pytest.raises(IrrepsError, match=r"in common; got 2x0e and 1x1o. Use the module without it"):
        Residual(Linear("2x0e", "1o"))
    with pytest.raises(ShapeError, match=r"Residual needs features \[..., 2\] for irreps = 2x0e; got \[5, 3\]"):
        Residual(Linear("2x0e", "2x0e"))(torch.zeros(5, 3))
    with pytest.raises(DtypeError, match="features float64 on cpu, parameters float32"):
        Residual(Linear("2x0e", "2x0e"), learn_scale=True)(torch.zeros(5, 2, dtype=torch.float64))
    with pytest.raises(IrrepsError, match=r"needs one irreps_in; ReducedTensorProducts has several"):
        Residual(ReducedTensorProducts("ij=ji", i="1o"))


@pytest.mark.parametrize("f", [lambda x: x[:, :1], lambda x: x.mean(0)])
def test_nothing_is_spread_out_in_the_sum(f):
    with pytest.raises(ShapeError, match=r"Residual needs \[5, 4\] of Function for irreps_out = 4x0e; got \["):
        Residual(Function(f), "4x0e", "4x0e")(torch.randn(5, 4))


def test_no_dtype_is_promoted_in_the_sum():
    with pytest.raises(DtypeError, match=r"Residual needs float32 of Function, as its shortcut has; got float64"):
        Residual(Function(torch.Tensor.double), "4x0e", "4x0e")(torch.randn(5, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert Residual(torch.nn.Linear(4, 4), "4x0e", "4x0e")(torch.randn(5, 4)).dtype == torch.float32
