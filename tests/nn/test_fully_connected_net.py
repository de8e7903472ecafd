"""The fully connected network: e3nn's values and state, slices, unit scale, and what is refused."""

import e3nn.nn
import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn import FullyConnectedNet

ARGUMENTS = [
    ([4, 8, 3], silu),
    ([4, 8, 8, 3], torch.tanh, 2, 3),
    ([4, 8, 3], torch.abs, 2, 3, True),
    ([4, 3], None, 2, 3),
    ([4, 3], silu, 0.5, 0.1, True),
    ([4, 8, 3], None),
    ([4, 0, 3], silu),
    ([4], silu),
    ([], None),
]


def assert_close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda arguments: str(arguments[0]))
def test_equals_e3nn(arguments):
    ours, theirs = FullyConnectedNet(*arguments).double(), e3nn.nn.FullyConnectedNet(*arguments).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert ours.hs == theirs.hs and len(ours) == len(theirs)
    for lead in ((5,), (5, 2), ()):
        x = torch.randn(*lead, 4, dtype=torch.float64)
        assert_close(ours(x), theirs(x))
    for layer, other in zip(ours, theirs, strict=True):
        names = ("h_in", "h_out", "var_in", "var_out")
        assert [getattr(layer, name) for name in names] == [getattr(other, name) for name in names]
        assert layer.weight.shape == other.weight.shape


def test_is_a_sequence_of_layers():
    # A slice of e3nn's fails: it is built as a network whose widths are the names of the layers.
    net, x = FullyConnectedNet([4, 8, 8, 3], silu), torch.randn(5, 4)
    assert net[0] is net.layer0 and net[-1] is net.layer2
    assert type(net[:2]) is torch.nn.Sequential and list(dict(net[1:].named_children())) == ["layer1", "layer2"]
    torch.testing.assert_close(net[1:](net[:1](x)), net(x), rtol=0, atol=0)
    torch.testing.assert_close(net[2](net[1](net[0](x))), net(x), rtol=0, atol=0)


def test_unit_scale():
    x = 2 * torch.randn(1000, 100)
    net = FullyConnectedNet([100, 200, 200, 300], torch.tanh, variance_in=4, variance_out=9)
    assert net[:1](x).square().mean().item() == pytest.approx(1, rel=0.05)
    assert net(x).square().mean().item() == pytest.approx(9, rel=0.1)


def test_functions_that_learn():
    # In float32 e3nn gives them float64 to compute their second moment, which they refuse.
    net = FullyConnectedNet([4, 8, 8, 3], torch.nn.PReLU())
    assert set(net.state_dict()) >= {"layer0.act.f.weight", "layer1.act.f.weight"}
    assert len(list(net.parameters())) == 4  # all layers share the function
    net(torch.randn(5, 4)).sum().backward()
    assert net.layer0.act.f.weight.grad is not None


def test_functions_that_learn_load_from_e3nn():
    ours = FullyConnectedNet([4, 8, 3], torch.nn.PReLU().double()).double()
    theirs = e3nn.nn.FullyConnectedNet([4, 8, 3], torch.nn.PReLU().double()).double()
    theirs.layer0.act.f.weight.data.fill_(0.7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(5, 4, dtype=torch.float64)
    assert_close(ours(x), theirs(x))


def test_autocast():
    net = FullyConnectedNet([4, 8, 3], silu)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.randn(5, 4)).dtype == torch.bfloat16


def test_repr():
    assert repr(FullyConnectedNet([4, 8, 3], silu)) == "FullyConnectedNet(4 -> 8 -> 3 | silu)"
    assert repr(FullyConnectedNet([4, 3])) == "FullyConnectedNet(4 -> 3)"
    assert repr(FullyConnectedNet([4, 8, 3], silu)[0]) == "Layer(4 -> 8 | silu)"
    assert repr(FullyConnectedNet([4, 8, 3], silu)[1]) == "Layer(8 -> 3)"


def test_errors():
    for width in (-1, 2.5, "8", True):
        with pytest.raises(ConfigError, match="needs integer widths >= 0; got"):
            FullyConnectedNet([4, width])
    with pytest.raises(ConfigError, match="needs variances > 0; got variance_in=0 and variance_out=1"):
        FullyConnectedNet([4, 3], variance_in=0)
    with pytest.raises(ConfigError, match="second moment above zero and finite"):
        FullyConnectedNet([4, 3, 2], torch.zeros_like)
    net = FullyConnectedNet([4, 3])
    with pytest.raises(ShapeError, match=r"needs x \[..., 4\] for Layer\(4 -> 3\); got \[2, 5\]"):
        net(torch.zeros(2, 5))
    with pytest.raises(DtypeError, match="got x float64 on cpu, weights float32 on cpu"):
        net(torch.zeros(2, 4, dtype=torch.float64))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(DtypeError, match="got x float64"):
        net(torch.zeros(2, 4, dtype=torch.float64))


def test_integers_of_numpy():
    assert FullyConnectedNet([np.int64(4), 3]).hs == [4, 3]


def test_widths_are_those_of_the_layers_that_stand_there():
    net = FullyConnectedNet([2, 3, 4, 5], silu)
    del net[-1]
    assert net.hs == [2, 3, 4] and repr(net) == "FullyConnectedNet(2 -> 3 -> 4 | silu)"
    net.append(torch.nn.Linear(4, 7))
    assert repr(net).startswith("FullyConnectedNet(Layer(2 -> 3 | silu), Layer(3 -> 4 | silu), Linear(")
    assert FullyConnectedNet([4]).hs == [4]
