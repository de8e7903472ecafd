import math

import e3nn.math
import pytest
import sympy
import torch
from scipy.special import spherical_jn

from irrepnet.errors import ConfigError
from irrepnet.math import bessel
from irrepnet.math.bessel import sinc

x = torch.linspace(-2, 3, 101, dtype=torch.float64)


@pytest.mark.parametrize("n", [0, 1, 8, 20])
@pytest.mark.parametrize("x_max", [1.0, 2.5])
def test_values(n, x_max):
    found = bessel(x, n, x_max)
    torch.testing.assert_close(found, e3nn.math.bessel(x, n, x_max), rtol=0, atol=1e-12)
    k = torch.arange(1, n + 1, dtype=torch.float64) * (math.pi / x_max)
    j0 = torch.from_numpy(spherical_jn(0, (x.abs()[:, None] * k).numpy()))  # it is even
    torch.testing.assert_close(found, math.sqrt(2 / x_max) * k * j0, rtol=0, atol=1e-12)


def test_orthonormal():
    r = torch.linspace(0, 2, 2001, dtype=torch.float64)
    B = bessel(r, 4, 2.0)
    gram = torch.trapezoid((r.square()[:, None, None] * B[:, :, None] * B[:, None, :]), r, dim=0)
    torch.testing.assert_close(gram, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-5)


def test_derivatives_are_right_at_zero_and_everywhere():
    near = torch.tensor([0.0, 1e-9, 1e-3, 0.03, 0.0319, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: bessel(t, 3), near)
    assert torch.autograd.gradgradcheck(lambda t: bessel(t, 3), near)
    first = torch.func.jacrev(lambda t: bessel(t, 1)[0])
    second = torch.func.jacrev(first)(torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(second.item(), -math.sqrt(2) * math.pi**3 / 3, rtol=1e-12, atol=0)
    # In e3nn the value at zero is put in its place, and with it a second derivative of zero.
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(e3nn.math.bessel(zero[None], 1).sum(), zero, create_graph=True)
    assert torch.autograd.grad(slope, zero)[0] == 0


def test_sinc_against_sympy_on_both_sides_of_its_seam():
    t = torch.tensor([0.0, 1e-6, 0.05, 0.0999, 0.1, 0.2, 2.0], dtype=torch.float64, requires_grad=True)
    values, z = sinc(t), sympy.symbols("z")
    for order in range(4):
        f = sympy.diff(sympy.sin(z) / z, z, order)
        points = [sympy.limit(f, z, 0) if p == 0 else f.subs(z, sympy.Float(p, 60)).evalf(40) for p in t.tolist()]
        expected = torch.tensor([float(point) for point in points], dtype=torch.float64)
        torch.testing.assert_close(values, expected, rtol=0, atol=10.0 ** (order - 15))
        (values,) = torch.autograd.grad(values.sum(), t, create_graph=True)


def test_errors():
    with pytest.raises(ConfigError, match=r"integer number of functions n >= 0; got 2.5"):
        bessel(x, 2.5)
    with pytest.raises(ConfigError, match=r"x_max > 0; got 0.0"):
        bessel(x, 2, 0.0)


def test_integers_are_taken_as_the_default_dtype():
    x = torch.arange(3)
    assert torch.equal(bessel(x, 2, 5.0), bessel(x.float(), 2, 5.0))
