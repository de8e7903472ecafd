import math

import e3nn.o3
import numpy as np
import pytest
import scipy.special
import torch

from irrepnet import o3
from irrepnet.errors import DtypeError, IrrepsError
from irrepnet.o3.legendre import legendre_functions


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


@pytest.mark.parametrize(("l", "rtol"), [(100, 1e-12), (1000, 1e-10)])
def test_high_degrees_are_stable(l, rtol):
    """The addition theorem at equal points, at degrees where sums of monomials lose every digit."""
    beta = np.append(np.linspace(0, math.pi, 50), [1e-3, np.arcsin(np.exp(-1))])  # the last has the least sin^m
    P = legendre_functions(l, np.cos(beta), np.sin(beta))[l]
    total = P[0] ** 2 + 2 * sum(p**2 for p in P[1:])
    np.testing.assert_allclose(total, (2 * l + 1) / (4 * math.pi), rtol=rtol, atol=0)


def test_float32_is_right_at_degree_300():
    """Where powers of the sine underflow in float32."""
    beta = torch.linspace(0.1, 3.0, 20)
    z, y = beta.cos(), beta.sin()
    legendre = o3.Legendre([300])
    P = legendre(z, y)
    assert P.dtype == torch.float32
    torch.testing.assert_close(P.double(), legendre(z.double(), y.double()), rtol=1e-6, atol=1e-30)
    assert legendre(z.bfloat16(), y.bfloat16()).dtype == torch.bfloat16


def test_arguments_broadcast_and_derivatives_exist():
    z, y = torch.randn(3, 1, dtype=torch.float64, requires_grad=True), torch.randn(4, dtype=torch.float64)
    assert o3.Legendre([1, 2])(z, y).shape == (3, 4, 8)
    assert torch.autograd.gradgradcheck(lambda z: o3.Legendre([0, 3])(z, y), z)
    assert o3.Legendre([])(z, y).shape == (3, 4, 0)


def test_bad_arguments_are_named():
    with pytest.raises(IrrepsError, match=r"a degree is an integer l >= 0; got -1"):
        o3.Legendre([0, -1])
    with pytest.raises(IrrepsError, match=r"they need l <= 1000; got l = 1001"):
        o3.Legendre([0, 1001])
    with pytest.raises(IrrepsError, match=r"l <= 1000; got l = 2400"):
        legendre_functions(2400, 1.0, 0.0)
    with pytest.raises(
        IrrepsError, match=r"Legendre needs degrees, such as \[0, 1, 2\]; got 3. Write Legendre\(\[3\]\)"
    ):
        o3.Legendre(3)
    with pytest.raises(DtypeError, match=r"got z torch.float32, y torch.float64"):
        o3.Legendre([1])(torch.zeros(1), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(DtypeError, match=r"got z float, y float"):
        o3.Legendre([1])(0.0, 1.0)
