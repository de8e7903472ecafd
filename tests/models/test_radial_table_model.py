"""A force field whose radial functions are tables: its forces are its own exact gradient, whatever the knots."""

import numpy as np
import pytest
import torch
from models.toys import graph_of, moved, toy_frame, toy_model
from torch.utils._python_dispatch import TorchDispatchMode

from irrepnet.data import Graph
from irrepnet.deploy.molecular_dynamics import run_nve
from irrepnet.models import ForceFieldConfig, load_model, load_tensors, save_model, save_tensors
from irrepnet.nn.radial_network import table_pays

FRAME = toy_frame()
KNOTS = 12


def same_weights(model, **changes):
    other = toy_model(**changes)
    other.load_state_dict(model.state_dict())
    return other


def test_the_frames_have_edges_enough():
    assert table_pays(KNOTS, graph_of(FRAME).num_edges)


@pytest.mark.parametrize("radial", ["exact", "table"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_forces_are_finite_differences_of_the_energy(radial, backend):
    model = toy_model(radial=radial, radial_knots=KNOTS, backend=backend)
    forces = model(graph_of(FRAME)).forces.detach()
    step = 1e-3
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        energies = []
        for shift in (-2, -1, 1, 2):
            pos = FRAME.pos.copy()
            pos[atom, axis] += shift * step
            energies.append(model(graph_of(moved(FRAME, pos))).energy.item())
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        assert forces[atom, axis].item() == pytest.approx(-slope, abs=1e-6)


def test_gradients_of_the_weights_through_forces_are_those_of_finite_differences():
    model = toy_model(radial="table", radial_knots=KNOTS).train()
    graph = graph_of(FRAME)

    def loss():
        return model(graph).forces.square().sum()

    weight = model.trunk.layers[0].convolution.radial.weights[0]
    (slope,) = torch.autograd.grad(loss(), weight)
    with torch.no_grad():
        for place in ((0, 0), (2, 5)):
            values = []
            for shift in (-1e-5, 2e-5):
                weight[place] += shift
                values.append(loss().item())
            weight[place] -= 1e-5
            assert slope[place].item() == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-6)


def test_more_knots_come_nearer_to_the_exact_network():
    exact = toy_model()
    graph = graph_of(toy_frame(60, 7.0 * np.eye(3)))
    assert table_pays(128, graph.num_edges)
    errors = []
    for knots in (32, 64, 128):
        table = same_weights(exact, radial="table", radial_knots=knots)
        errors.append((table(graph).forces - exact(graph).forces).abs().max().item())
    assert errors[0] > 4 * errors[1] > 16 * errors[2]  # third order in the spacing: the slope of a cubic
    assert errors[2] < 1e-3


def test_the_same_function_whatever_the_number_of_edges():
    """Two frames at once have more edges, and each the energy that it has alone."""
    table = toy_model(radial="table", radial_knots=KNOTS)
    graphs = [graph_of(frame) for frame in (toy_frame(2, 7.0 * np.eye(3)), toy_frame(60, 7.0 * np.eye(3)))]
    assert not table_pays(KNOTS, graphs[0].num_edges)
    assert table_pays(KNOTS, graphs[1].num_edges)
    together = table(Graph.collate(graphs)).energy
    torch.testing.assert_close(together, torch.cat([table(graph).energy for graph in graphs]), rtol=0, atol=1e-10)


def test_the_reference_calls_no_compiled_op():
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert "irrepnet" not in str(func), func
            return func(*args, **(kwargs or {}))

    model, graph = toy_model(radial="table", radial_knots=KNOTS, backend="reference"), graph_of(FRAME)
    with Watch():
        model(graph)


def test_dynamics_keeps_its_energy_as_well_as_with_the_exact_network():
    frame = toy_frame(4, 5.0 * np.eye(3))
    spread = {}
    for radial in ("exact", "table"):
        model = toy_model(energy_scale=0.02, num_layers=1, radial=radial, radial_knots=8)
        run = run_nve(model, frame, temperature=300, timestep=2.0, steps=250, seed=0)
        assert np.ptp(run.potential_energy) > 0.005
        spread[radial] = np.std(run.total_energy)
    assert spread["table"] < 2 * spread["exact"] + 1e-9


def test_round_trip_and_files_from_before_the_key(tmp_path):
    model = toy_model(radial="table", radial_knots=KNOTS)
    save_model(model, tmp_path / "a.model")
    loaded = load_model(tmp_path / "a.model")
    assert loaded.config == model.config
    assert torch.equal(loaded(graph_of(FRAME)).forces, model(graph_of(FRAME)).forces)

    save_model(toy_model(), tmp_path / "b.model")
    tensors, metadata = load_tensors(tmp_path / "b.model")
    for key in ("radial", "radial_knots"):
        del metadata["config"][key]
    save_tensors(tmp_path / "b.model", tensors, metadata)
    assert load_model(tmp_path / "b.model").config.radial == "exact"


def test_weights_do_not_depend_on_the_kind():
    exact, table = toy_model(), toy_model(radial="table")
    assert exact.state_dict().keys() == table.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(exact.parameters(), table.parameters(), strict=True))


def test_casting_keeps_the_constants_of_the_table():
    model = toy_model(radial="table", radial_knots=KNOTS)
    before = model(graph_of(FRAME)).energy
    network = model.trunk.layers[0].convolution.radial
    spline = network.spline.clone()
    model.float().double()
    assert torch.equal(network.spline, spline)
    assert model(graph_of(FRAME)).energy.item() == pytest.approx(before.item(), rel=1e-6)


def test_values_that_cannot_be():
    for wrong in ({"radial": "spline"}, {"radial_knots": 3}, {"radial_knots": 5000}):
        with pytest.raises(ValueError, match="radial"):
            ForceFieldConfig(species=("H",), **wrong)
