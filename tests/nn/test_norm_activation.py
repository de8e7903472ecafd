"""Functions of norms: e3nn's values, options that fail there, derivatives at zero, and what is refused."""

import e3nn.nn
import e3nn.o3
import pytest
import torch
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError
from irrepnet.nn import NormActivation
from irrepnet.o3 import Irreps

IRREPS = "3x0e+2x1o+2x0o+0x2e+1e+2x0e"


def draw(*lead):
    x = torch.randn(*lead, Irreps(IRREPS).dim, dtype=torch.float64)
    x[0] = 0
    return x


def assert_close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"epsilon": 0.7}, {"epsilon": 1e-3, "bias": True}], ids=str)
@pytest.mark.parametrize("act", [torch.sigmoid, silu, torch.nn.PReLU().double()])
def test_equals_e3nn(options, act):
    ours = NormActivation(IRREPS, act, **options).double()
    theirs = e3nn.nn.NormActivation(e3nn.o3.Irreps(IRREPS), act, **options).double()
    if ours.bias:
        torch.nn.init.normal_(theirs.biases)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for x in (draw(5), draw(5, 2)):
        assert_close(ours(x), theirs(x))
    assert ours.epsilon == theirs.epsilon
    assert set(theirs.load_state_dict(ours.state_dict(), strict=False).unexpected_keys) == set()


def test_without_division_by_the_norm():
    # e3nn compares an epsilon of None with 0, a TypeError.
    x = draw(4)
    y = NormActivation(IRREPS, torch.sigmoid, normalize=False)(x)
    for s, (mul, ir) in zip(Irreps(IRREPS).slices(), Irreps(IRREPS), strict=True):
        v = x[:, s].reshape(4, mul, ir.dim)
        assert_close(y[:, s].reshape(4, mul, ir.dim), v * torch.sigmoid(v.norm(dim=-1, keepdim=True)))


def test_text_and_bias():
    # e3nn asks the text for its num_irreps, an AttributeError.
    act = NormActivation("2x1e", torch.tanh, bias=True)
    assert act.biases.shape == (2,)
    torch.nn.init.constant_(act.biases, 0.5)
    length = act(torch.tensor([0.0, 3.0, 4.0, 0.0, 0.0, 1.0])).reshape(2, 3).norm(dim=1)
    torch.testing.assert_close(length, torch.tensor([5.5, 1.5]).tanh())


@pytest.mark.parametrize("options", [{"normalize": False}, {"epsilon": 0.1}, {}], ids=str)
def test_derivatives_at_zero(options):
    act = NormActivation("1o+0e", torch.sigmoid, **options)
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(act, x)
    slope = 0.5 if act.epsilon is None else (torch.sigmoid(torch.tensor(act.epsilon).double()) / act.epsilon).item()
    torch.testing.assert_close(jacobian, slope * torch.eye(4, dtype=torch.float64))
    for i in range(4):
        hessian = torch.autograd.functional.hessian(lambda x, i=i: act(x)[i], x)
        torch.testing.assert_close(hessian, torch.zeros(4, 4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_square_of_epsilon_that_underflows(dtype):
    x = torch.zeros(1, 3, dtype=dtype, requires_grad=True)
    y = NormActivation("1o", torch.tanh, epsilon=1e-200)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all() and gradient.isfinite().all()


def test_repr():
    assert repr(NormActivation("1o", silu, bias=True)) == "NormActivation(1x1o | x silu(|x| + b) / |x|)"
    assert repr(NormActivation("1o", torch.nn.PReLU(), normalize=False)) == "NormActivation(1x1o | x PReLU(|x|))"


def test_errors():
    with pytest.raises(ConfigError, match=r"only to divide by norms; got epsilon=0.1 with normalize=False"):
        NormActivation("1o", silu, normalize=False, epsilon=0.1)
    for epsilon in (0, -1e-3, float("nan")):
        with pytest.raises(ConfigError, match="needs epsilon > 0; got"):
            NormActivation("1o", silu, epsilon=epsilon)
    with pytest.raises(DtypeError, match="features float64 on cpu, parameters float32"):
        NormActivation("1o", torch.nn.PReLU())(torch.zeros(1, 3, dtype=torch.float64))
