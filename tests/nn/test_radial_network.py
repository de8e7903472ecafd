"""The radial network: its formula, its end at the cutoff, its scale."""

import pytest
import torch
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn import BesselBasis, PolynomialEnvelope, RadialNetwork, second_moment_factor


def test_equals_its_formula():
    network = RadialNetwork(4.0, 5, num_basis=6, hidden=(7, 9), envelope_power=5, scale=0.3).double()
    r = torch.rand(20, dtype=torch.float64) * 5
    w1, w2, w3 = network.weights
    x = BesselBasis(4.0, 6).double()(r) * (4.0**3 / 3) ** 0.5
    x = second_moment_factor(silu) * silu(x @ w1 / 6**0.5)
    x = second_moment_factor(silu) * silu(x @ w2 / 7**0.5)
    out = 0.3 * PolynomialEnvelope(4.0, 5)(r)[:, None] * (x @ w3 / 9**0.5)
    torch.testing.assert_close(network(r), out, rtol=1e-12, atol=1e-13)


def test_no_hidden_layer_is_a_linear_map_of_the_basis():
    network = RadialNetwork(4.0, 5, hidden=()).double()
    r = torch.rand(4, dtype=torch.float64) * 4
    doubled = RadialNetwork(4.0, 5, hidden=(), scale=2.0).double()
    doubled.load_state_dict(network.state_dict())
    torch.testing.assert_close(doubled(r), 2 * network(r))


def test_value_slope_and_curvature_vanish_at_the_cutoff():
    network = RadialNetwork(4.0, 3).double()
    r = torch.tensor([4.0, 4.0 + 1e-12, 9.0], dtype=torch.float64, requires_grad=True)
    value = network(r).sum(1)
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    for quantity in (value, slope, curvature):
        assert quantity.abs().max() < 1e-12
    near = torch.tensor([4.0 - 1e-4], dtype=torch.float64)
    assert 0 < network(near).abs().max() < 1e-9  # third order: (1e-4)^3 times about a hundred


def test_finite_at_zero_and_twice_differentiable():
    network = RadialNetwork(4.0, 2, num_basis=3, hidden=(4,)).double()
    r = torch.tensor([0.0, 0.01, 2.0, 3.9, 4.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, r)
    assert torch.autograd.gradgradcheck(network, r)
    weights = [w.detach().requires_grad_() for w in network.weights]
    f = lambda *w: torch.func.functional_call(network, {f"weights.{i}": v for i, v in enumerate(w)}, (r.detach(),))  # noqa: E731
    assert torch.autograd.gradgradcheck(f, weights)


def test_outputs_begin_at_unit_scale():
    r = 4 * torch.rand(20_000) ** (1 / 3)  # uniform in the ball
    network = RadialNetwork(4.0, 400)
    network.envelope.forward = torch.ones_like
    assert network(r).square().mean().item() == pytest.approx(1, rel=0.3)


def test_state_empty_input_and_compile():
    network = RadialNetwork(4.0, 3, hidden=(8,))
    assert {name: tuple(w.shape) for name, w in network.state_dict().items()} == {
        "weights.0": (8, 8),
        "weights.1": (8, 3),
    }
    assert network(torch.zeros(0)).shape == (0, 3)
    r = torch.rand(5)
    torch.testing.assert_close(torch.compile(network, fullgraph=True, backend="aot_eager")(r), network(r))


def test_errors():
    with pytest.raises(ShapeError, match=r"RadialNetwork needs edge_len \[E\]; got \[4, 1\]"):
        RadialNetwork(4.0, 3)(torch.ones(4, 1))
    with pytest.raises(DtypeError, match="of one dtype; got edge_len float64, weights float32"):
        RadialNetwork(4.0, 3)(torch.ones(4).double())
    with pytest.raises(ConfigError, match=r"widths >= 1; got num_out = 3, hidden = \(8, 0\)"):
        RadialNetwork(4.0, 3, hidden=(8, 0))
    with pytest.raises(ConfigError, match="cutoff needs a positive length"):
        RadialNetwork(-4.0, 3)
