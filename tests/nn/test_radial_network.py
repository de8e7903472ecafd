"""The radial network: its formula, its end at the cutoff, its scale."""

import pytest
import torch
from scipy.interpolate import CubicSpline
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.math import second_moment_factor
from irrepnet.nn import BesselBasis, PolynomialEnvelope, RadialNetwork
from irrepnet.nn.radial_network import table_error, table_pays


@pytest.mark.parametrize("decay", [0, 1, 1.5])
def test_equals_its_formula(decay):
    options = {"num_basis": 6, "decay": decay, "hidden": (7, 9), "envelope_power": 5, "scale": 0.3}
    network = RadialNetwork(4.0, 5, **options).double()
    r = torch.rand(20, dtype=torch.float64) * 5
    w1, w2, w3 = network.weights
    shares = torch.arange(1, 7, dtype=torch.float64) ** -decay
    x = BesselBasis(4.0, 6).double()(r) * (4.0**3 / 3) ** 0.5 * shares
    x = second_moment_factor(silu) * silu(x @ w1 / shares.square().sum().sqrt())
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
    f = lambda *w: torch.func.functional_call(network, {f"weights.{i}": v for i, v in enumerate(w)}, (r.detach(),))
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
    with pytest.raises(ConfigError, match=r"sizes >= 1; got num_out = 3, hidden = \(8, 0\)"):
        RadialNetwork(4.0, 3, hidden=(8, 0))
    with pytest.raises(ConfigError, match="cutoff needs a positive length"):
        RadialNetwork(-4.0, 3)
    with pytest.raises(ConfigError, match=r"needs radial 'exact' or 'table'; got 'tabel'\. Did you mean 'table'"):
        RadialNetwork(4.0, 3, radial="tabel")
    with pytest.raises(ConfigError, match="a radial table needs 4 to 4096 knots; got 2"):
        RadialNetwork(4.0, 3, radial="table", num_knots=2)


def distances(num, cutoff=6.0, shortest=0.8):
    """Lengths as in a liquid: uniform in the ball, but for what no bond is shorter than."""
    random = torch.rand(num, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (shortest**3 + (cutoff**3 - shortest**3) * random) ** (1 / 3)


def test_a_table_is_a_spline_of_third_order():
    torch.manual_seed(0)
    network = RadialNetwork(6.0, 64)
    coarse, middle, fine = (table_error(network, distances(20_000), knots) for knots in (256, 512, 1024))
    assert coarse.value_max < 2e-5 and coarse.value_rms < 3e-7  # of the standard deviation
    assert middle.value_max < 1e-6 and middle.value_rms < 2e-8
    assert fine.value_max < 6e-8 and fine.value_rms < 1e-9
    assert middle.slope_rms < 4e-6
    assert 10 < coarse.value_rms / middle.value_rms < 30  # fourth order: 16
    assert 5 < middle.slope_rms / fine.slope_rms < 15  # third: 8


def test_a_table_gives_what_its_parts_say():
    network = RadialNetwork(4.0, 5, hidden=(7,), radial="table", num_knots=40).double()
    r = torch.linspace(0, 5, 100, dtype=torch.float64)
    s = torch.linspace(0, 1, 40, dtype=torch.float64)  # where the knots are equidistant
    exact = RadialNetwork(4.0, 5, hidden=(7,)).double()
    exact.load_state_dict(network.state_dict())
    exact.envelope.forward = torch.ones_like
    spline = CubicSpline(s, exact(4 * s / (2 - s)).detach(), bc_type="not-a-knot")
    expected = network.envelope(r)[:, None] * torch.from_numpy(spline(2 * r / (4 + r)))
    torch.testing.assert_close(network(r), expected, rtol=0, atol=1e-10)
    assert network(r[:80]).shape == (80, 5)


def test_derivatives_through_a_table():
    network = RadialNetwork(4.0, 2, num_basis=3, hidden=(4,), radial="table", num_knots=5).double()
    r = (4.5 * torch.rand(11, dtype=torch.float64)).requires_grad_()
    weights = [w.detach().requires_grad_() for w in network.weights]
    f = lambda r, *w: torch.func.functional_call(network, {f"weights.{i}": v for i, v in enumerate(w)}, (r,))
    assert torch.autograd.gradcheck(f, (r, *weights))
    assert torch.autograd.gradgradcheck(f, (r, *weights))


@pytest.mark.parametrize("radial", ["exact", "table"])
def test_what_is_prepared_once_serves_all_networks_of_one_form(radial):
    first, second = (RadialNetwork(4.0, n, radial=radial, num_knots=6) for n in (3, 9))
    r = 4 * torch.rand(30)
    prepared = first.prepare(r)
    for network in (first, second):
        assert torch.equal(network(prepared), network(r))


def test_lengths_prepared_for_another_table():
    table, finer, exact = (
        RadialNetwork(4.0, 2, radial=radial, num_knots=knots)
        for radial, knots in (("table", 8), ("table", 9), ("exact", 8))
    )
    r = torch.linspace(0.5, 3, 30)
    with pytest.raises(ConfigError, match="needs lengths prepared for the same; got some for 9 knots"):
        table(finer.prepare(r))
    with pytest.raises(ConfigError, match="got some for 8 knots"):
        exact(table.prepare(r))


def test_a_table_under_autocast():
    network = RadialNetwork(4.0, 2, radial="table", num_knots=8)
    r = torch.linspace(0.5, 3, 30)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(r)
    torch.testing.assert_close(out, network(r))


def typed(radial="exact", hidden=(7, 9), **changes):
    options = {"hidden": hidden, "radial": radial, "num_knots": 40, "num_edge_types": 4} | changes
    network = RadialNetwork(4.0, 5, **options).double()
    network.weights[0].data.normal_()  # all types begin with one matrix
    return network


def lengths_and_types(num=50):
    random = torch.Generator().manual_seed(1)
    return 4.2 * torch.rand(num, dtype=torch.float64, generator=random), torch.randint(0, 4, (num,), generator=random)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("hidden", [(7, 9), (7,), ()])
@pytest.mark.parametrize("radial", ["exact", "table"])
def test_each_type_of_edge_has_a_network_of_its_own(radial, hidden, backend):
    """That of a type has its first matrix and the later ones that all share."""
    network = typed(radial, hidden, backend=backend)
    r, edge_type = lengths_and_types()
    found = network(r, edge_type)
    for number in range(4):
        alone = typed(radial, hidden, num_edge_types=1)
        first, *later = network.weights
        alone.load_state_dict({f"weights.{i}": w for i, w in enumerate([first[number], *later])})
        mine = edge_type == number
        torch.testing.assert_close(found[mine], alone(r[mine]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("radial", ["exact", "table"])
def test_derivatives_of_typed_networks(radial):
    network = typed(radial, (4,), num_basis=3, num_knots=5)
    r, edge_type = lengths_and_types(9)
    weights = [w.detach().requires_grad_() for w in network.weights]
    f = lambda r, *w: torch.func.functional_call(network, {f"weights.{i}": v for i, v in enumerate(w)}, (r, edge_type))
    assert torch.autograd.gradcheck(f, (r.requires_grad_(), *weights))
    assert torch.autograd.gradgradcheck(f, (r, *weights))


def test_all_types_begin_alike():
    torch.manual_seed(0)
    shared = RadialNetwork(4.0, 5)
    torch.manual_seed(0)
    network = RadialNetwork(4.0, 5, num_edge_types=3)
    assert network.weights[0].shape == (3, 8, 64)
    for i in range(3):
        assert torch.equal(network.weights[0][i], shared.weights[0])
    assert torch.equal(network.weights[2], shared.weights[2])


def test_tables_of_types_lie_end_to_end():
    network = typed("table")
    r, edge_type = lengths_and_types()
    prepared = network.prepare(r, edge_type)
    assert network.table().shape == (4 * 42, 5)
    assert torch.equal(prepared.row // 42, edge_type)
    error = table_error(network, r[r > 0.8], 512, edge_type[r > 0.8])
    assert error.value_max < 1e-7 and table_error(network, r[r > 0.8], 64, edge_type[r > 0.8]).value_max > 1e-6


def test_a_table_for_each_type_pays_later():
    assert [table_pays(512, edges, num_edge_types=9) for edges in (1100, 9000, 9300)] == [False, False, True]
    assert table_pays(512, 1100)


def test_errors_of_types():
    network, (r, edge_type) = typed(), lengths_and_types()
    with pytest.raises(ShapeError, match=r"num_edge_types = 4 needs edge_type \[E = 50\]; got none"):
        network(r)
    with pytest.raises(ShapeError, match=r"needs edge_type \[E = 50\]; got \[49\]"):
        network(r, edge_type[:-1])
    with pytest.raises(ShapeError, match=r"num_edge_types = 1 needs no edge_type; got \[50\]"):
        typed(num_edge_types=1)(r, edge_type)
    with pytest.raises(DtypeError, match="needs edge_type in int64; got int32"):
        network(r, edge_type.int())
    with pytest.raises(ConfigError, match="with 4 types of edges needs lengths prepared for the same; got some for 9"):
        network(typed(num_edge_types=9).prepare(r, edge_type))
    with pytest.raises(ConfigError, match=r"sizes >= 1; got .* num_edge_types = 0"):
        typed(num_edge_types=0)
