"""Bessel functions: orthonormal, smooth everywhere, exact."""

import math

import pytest
import torch
from scipy.special import spherical_jn

from irrepnet.errors import ConfigError, DtypeError
from irrepnet.nn import BesselBasis


def test_orthonormal_in_the_ball():
    cutoff = 3.5
    r = torch.linspace(0, cutoff, 4001, dtype=torch.float64)
    b = BesselBasis(cutoff, 8).double()(r)
    gram = torch.trapezoid(b[:, :, None] * b[:, None, :] * r[:, None, None] ** 2, r, dim=0)
    torch.testing.assert_close(gram, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("decay", [0.5, 1, 2.0])
def test_decay_divides_the_fast_ones(decay):
    r = torch.rand(50, dtype=torch.float64) * 5
    plain, decaying = BesselBasis(4.0, 6).double()(r), BesselBasis(4.0, 6, decay=decay).double()(r)
    torch.testing.assert_close(decaying * torch.arange(1, 7).double() ** decay, plain, rtol=1e-13, atol=1e-14)


def test_equals_spherical_bessel_functions():
    cutoff, r = 4.0, torch.rand(50, dtype=torch.float64) * 8
    b = BesselBasis(cutoff, 6).double()(r)
    for k in range(1, 7):
        norm = math.sqrt(2 / cutoff) * k * math.pi / cutoff
        j0 = torch.from_numpy(spherical_jn(0, k * math.pi * r.numpy() / cutoff))
        torch.testing.assert_close(b[:, k - 1], norm * j0, rtol=1e-12, atol=1e-13)


def test_zero_at_the_cutoff():
    assert BesselBasis(4.0, 8).double()(torch.tensor([4.0], dtype=torch.float64)).abs().max() < 1e-14


@pytest.mark.parametrize("r", [0.0, 1e-200, 1e-9, 1e-3, 0.0999 * 4 / math.pi, 0.1001 * 4 / math.pi, 0.3])
def test_value_and_three_derivatives_near_zero(r):
    """Against the power series a (1 - x^2/6 + x^4/120 - ...) with x = k pi r / cutoff."""
    cutoff, num = 4.0, 3
    basis = BesselBasis(cutoff, num).double()
    for k in range(1, num + 1):
        a, scale = k * math.pi / cutoff, math.sqrt(2 / cutoff) * k * math.pi / cutoff
        terms = [(2 * n, (-1) ** n * a ** (2 * n) / math.factorial(2 * n + 1)) for n in range(12)]
        x = torch.tensor([r], dtype=torch.float64, requires_grad=True)
        y = basis(x)[:, k - 1]
        for order in range(4):
            series = sum(c * math.perm(n, order) * r ** (n - order) for n, c in terms if n >= order)
            assert y.item() == pytest.approx(scale * series, rel=1e-9, abs=1e-10)
            if order < 3:
                (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)


def test_gradcheck_across_the_branches():
    r = torch.tensor([0.0, 0.05, 0.2, 1.7, 4.0], dtype=torch.float64, requires_grad=True)
    basis = BesselBasis(4.0, 4).double()
    assert torch.autograd.gradcheck(basis, r)
    assert torch.autograd.gradgradcheck(basis, r)


def test_shapes_dtypes_and_no_state():
    basis = BesselBasis(4.0)
    assert basis(torch.rand(2, 3)).shape == (2, 3, 8)
    assert basis(torch.zeros(0)).shape == (0, 8)
    assert basis.state_dict() == {}
    there_and_back = BesselBasis(4.0).half().double()
    r = torch.rand(9, dtype=torch.float64)
    assert torch.equal(there_and_back(r), BesselBasis(4.0).double()(r))
    assert repr(basis) == "BesselBasis(cutoff=4.0, num_basis=8)"
    assert repr(BesselBasis(4.0, 2, decay=1)) == "BesselBasis(cutoff=4.0, num_basis=2, decay=1)"


def test_built_without_values_and_filled_later():
    with torch.device("meta"):
        basis = BesselBasis(4.0)
    assert basis.order.is_meta
    r = torch.rand(9) * 4
    assert torch.equal(basis.to_empty(device="cpu")(r), BesselBasis(4.0)(r))


def test_errors():
    with pytest.raises(ConfigError, match="cutoff needs a positive length"):
        BesselBasis(0.0)
    for decay in (-1, math.inf, math.nan, "1", None):
        with pytest.raises(ConfigError, match="finite decay >= 0; got"):
            BesselBasis(4.0, decay=decay)
    for num_basis in (0, 2.5, True):
        with pytest.raises(ConfigError, match="integer num_basis >= 1; got"):
            BesselBasis(4.0, num_basis)


def test_dtypes_are_not_mixed():
    with pytest.raises(DtypeError, match="BesselBasis needs edge_len of its own dtype; got edge_len float64"):
        BesselBasis(4.0)(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(DtypeError, match=r"needs floating-point edge_len; got torch\.int64"):
        BesselBasis(4.0)(torch.zeros(2, dtype=torch.int64))
