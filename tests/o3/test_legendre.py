import math

import e3nn.o3
import numpy as np
import pytest
import scipy.special
import torch

from irrepnet import o3
from irrepnet.errors import DtypeError, IrrepsError


def scipy_legendre(l, beta):
    """Values [2l+1, points]: scipy's carry the phase (-1)^m and no normalisation."""
    rows = []
    for m in map(abs, range(-l, l + 1)):
        norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
        rows.append(norm * (-1) ** m * scipy.special.lpmv(m, l, np.cos(beta)))
    return np.array(rows)


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12, 25])
def test_values_equal_scipy(l):
    beta = torch.linspace(0, math.pi, 17, dtype=torch.float64)
    P = o3.Legendre([l])(beta.cos(), beta.sin())
    np.testing.assert_allclose(P.T, scipy_legendre(l, beta.numpy()), rtol=0, atol=1e-12)


def test_equal_e3nn_off_the_sphere_too():
    """Polynomials of z and y, whether or not z^2 + y^2 = 1."""
    z, y = 2 * torch.rand(2, 7, 3, dtype=torch.float64) - 1
    ls = [3, 0, 6, 3]
    torch.testing.assert_close(o3.Legendre(ls)(z, y), e3nn.o3.Legendre(ls)(z, y), rtol=0, atol=1e-12)


def test_high_degrees_are_stable():
    """The addition theorem at equal points, at a degree where sums of monomials lose every digit."""
    l = 100
    beta = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    P = o3.Legendre([l])(beta.cos(), beta.sin())
    expected = torch.full((50,), (2 * l + 1) / (4 * math.pi), dtype=torch.float64)
    torch.testing.assert_close(P.square().sum(-1), expected, rtol=1e-12, atol=0)


def test_arguments_broadcast_and_derivatives_exist():
    z, y = torch.randn(3, 1, dtype=torch.float64, requires_grad=True), torch.randn(4, dtype=torch.float64)
    assert o3.Legendre([1, 2])(z, y).shape == (3, 4, 8)
    assert torch.autograd.gradgradcheck(lambda z: o3.Legendre([0, 3])(z, y), z)
    assert o3.Legendre([])(z, y).shape == (3, 4, 0)


def test_bad_arguments_are_named():
    with pytest.raises(IrrepsError, match=r"a degree is an integer l >= 0; got -1"):
        o3.Legendre([0, -1])
    with pytest.raises(DtypeError, match=r"got z torch.float32, y torch.float64"):
        o3.Legendre([1])(torch.zeros(1), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(DtypeError, match=r"got z float, y float"):
        o3.Legendre([1])(0.0, 1.0)
