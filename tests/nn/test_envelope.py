"""The envelope: its ends, its formula, and what is refused."""

import pytest
import torch

from irrepnet.errors import ConfigError
from irrepnet.nn import PolynomialEnvelope


def derivatives(f, at, order):
    """Return value and derivatives of f at a point."""
    x = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    y = f(x)
    out = [y.item()]
    for _ in range(order):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        out.append(y.item())
    return out


@pytest.mark.parametrize("p", [2, 3, 6, 9])
def test_value_slope_and_curvature_vanish_at_the_cutoff(p):
    envelope = PolynomialEnvelope(2.5, p)
    assert derivatives(envelope, 2.5, 2) == [0, 0, 0]
    before = derivatives(envelope, 2.5 - 1e-4, 2)
    scale = p * (p + 1) * (p + 2) / 6  # u = scale (1 - x)^3 next to the cutoff
    assert before == pytest.approx(
        [scale * (4e-5) ** 3, -3 * scale * (4e-5) ** 2 / 2.5, 6 * scale * 4e-5 / 2.5**2], rel=1e-3
    )


@pytest.mark.parametrize("p", [2, 6])
def test_one_at_the_centre_and_flat_below_order_p(p):
    values = derivatives(PolynomialEnvelope(2.5, p), 0.0, p)
    assert values[:p] == pytest.approx([1, *[0] * (p - 1)], abs=1e-12)
    assert values[p] < -0.01


def test_equals_the_published_sum():
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    for p in (3, 6):
        u = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
        torch.testing.assert_close(PolynomialEnvelope(4.0, p)(4 * x), u, rtol=1e-12, atol=1e-13)


def test_exactly_zero_beyond_and_never_negative():
    for dtype in (torch.float32, torch.float64):
        r = torch.linspace(0, 12, 10_001, dtype=dtype)
        u = PolynomialEnvelope(4.7)(r)
        assert (u[r >= 4.7] == 0).all()
        assert (u >= 0).all()
        assert (u[1:] <= u[:-1] + 1e-6).all()
    assert derivatives(PolynomialEnvelope(4.7), 1e9, 2) == [0, 0, 0]


def test_errors():
    for cutoff in (0, -1.0, float("inf"), float("nan"), "4", True):
        with pytest.raises(ConfigError, match="cutoff needs a positive length in Å; got"):
            PolynomialEnvelope(cutoff)
    with pytest.raises(ConfigError, match="integer power p >= 2; got 1"):
        PolynomialEnvelope(4.0, 1)
    with pytest.raises(ConfigError, match=r"integer power p >= 2; got 6\.5"):
        PolynomialEnvelope(4.0, 6.5)
