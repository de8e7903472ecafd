"""Radial networks that know the species of both ends: exact and by table, the force field keeps all its promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models.toys import FRAMES, energies, graph_of, moved, toy_frame, toy_model

from irrepnet.data import Frame, Graph
from irrepnet.models import load_model, save_model
from irrepnet.ops._backend import library_status
from irrepnet.testing import Permutation, assert_equivariant

KNOTS = 12
EVERY_RADIAL = pytest.mark.parametrize("radial", ["exact", "table"])


def pair_model(radial="exact", **changes):
    """Functions of pairs begin equal; here they are as far apart as training may take them."""
    model = toy_model(**({"radial_knots": KNOTS} | changes), radial_species="pair", radial=radial)
    with torch.no_grad():
        for network in model.radial_networks:
            network.weights[0].add_(torch.randn_like(network.weights[0]))
    return model


@EVERY_RADIAL
def test_forces_and_stress_are_finite_differences(radial):
    model, frame, step = pair_model(radial), FRAMES["periodic"], 1e-3
    prediction = model(graph_of(frame), compute_stress=True)
    displaced, strained = [], []
    for shift in (-2, -1, 1, 2):
        pos = frame.pos.copy()
        pos[3, 1] += shift * step
        displaced.append(moved(frame, pos))
        strain = np.eye(3) + shift * step * np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 1]])
        strained.append(moved(frame, frame.pos @ strain, frame.cell @ strain))
    for frames, expected in (
        (displaced, -prediction.forces[3, 1]),
        (strained, (prediction.stress[0, 0, 1] + prediction.stress[0, 2, 2]) * abs(np.linalg.det(frame.cell))),
    ):
        e = energies(model, frames)
        slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * step)
        assert expected.item() == pytest.approx(slope, abs=1e-6)


@EVERY_RADIAL
def test_gradients_of_the_weights_through_forces(radial):
    model, graph = pair_model(radial).train(), graph_of(FRAMES["periodic"])
    weight = model.radial_networks[0].weights[0]
    (gradient,) = torch.autograd.grad(model(graph).forces.square().sum(), weight)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()  # every pair of species occurs
    direction, values = torch.randn_like(weight), []
    with torch.no_grad():
        for shift in (1e-5, -2e-5):
            weight += shift * direction
            values.append(model(graph).forces.square().sum().item())
    assert (gradient * direction).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


@EVERY_RADIAL
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariance(radial, dtype):
    model = pair_model(radial, irreps_hidden="4x0e+2x0o+4x1o+2x1e+2x2e", lmax=2, species_shifts=()).to(dtype)
    graph = graph_of(FRAMES["open"], dtype=dtype)

    def predict(pos, species, edge_index):
        energy, forces, _ = model(replace(graph, pos=pos, species=species, edge_index=edge_index))
        return energy[:, None], forces

    assert_equivariant(
        predict,
        ["cartesian_points", None, None],
        ["0e", "1o"],
        permutation=Permutation(inputs=[0, 1], outputs=[1], indices=[2]),
        inputs=[graph.pos, graph.species, graph.edge_index],
        trials=3,
    )


@EVERY_RADIAL
def test_energy_is_smooth_at_the_cutoff(radial):
    lengths = 3.0 + np.array([-2e-4, -1e-4, -1e-7, 1e-7, 1e-4])
    for species in ([8, 1], [1, 1], [8, 8]):
        pairs = [Frame(species=species, pos=[[0, 0, 0], [x, 0, 0]]) for x in lengths]
        graph = Graph.collate([graph_of(pair, cutoff=3.5) for pair in pairs])
        energy, forces, _ = pair_model(radial, species_shifts=())(graph)
        force = forces[1::2, 0].numpy()
        assert np.array_equal(energy.numpy()[3:], np.zeros(2))
        assert np.abs(energy.numpy()).max() < 1e-10
        assert np.abs(force).max() < 1e-6
        assert np.abs(np.diff(force) / np.diff(lengths)).max() < 2e-2


@EVERY_RADIAL
@pytest.mark.parametrize("species", [[8], [1], [1, 8, 8]])
def test_isolated_atoms_have_exactly_their_shift(radial, species):
    frame = Frame(species=species, pos=20.0 * np.arange(3 * len(species)).reshape(-1, 3))
    shifts = {1: -13.6, 8: -2000.0}
    prediction = pair_model(radial)(graph_of(frame))
    assert prediction.energy.item() == sum(shifts[number] for number in species)
    assert not prediction.forces.any()


@EVERY_RADIAL
def test_a_batch_gives_each_frame_what_it_has_alone(radial):
    model = pair_model(radial)
    frames = [FRAMES["periodic"], toy_frame(1), FRAMES["small cell"], toy_frame(0), FRAMES["slab"]]
    graphs = [graph_of(frame) for frame in frames]
    together = model(Graph.collate(graphs), compute_stress=True)
    alone = [model(graph, compute_stress=True) for graph in graphs]
    for field, found in zip(together._fields, together, strict=True):
        torch.testing.assert_close(found, torch.cat([getattr(one, field) for one in alone]), rtol=0, atol=1e-12)


def test_every_ordered_pair_has_functions_of_its_own():
    """A change of one pair's weights changes what atoms of its second species receive from those of its first."""
    torch.manual_seed(1)
    frames = {pair: Frame(species=pair, pos=[[0, 0, 0], [1.1, 0, 0]]) for pair in ((1, 1), (1, 8), (8, 8))}
    model = pair_model(num_layers=1)
    before = {pair: model.node_feats(graph_of(frame))[0] for pair, frame in frames.items()}
    with torch.no_grad():
        model.radial_networks[0].weights[0][1] += 1.0  # species H, O: pairs HH, HO, OH, OO
    after = {pair: model.node_feats(graph_of(frame))[0] for pair, frame in frames.items()}
    changed = {pair: (before[pair] != after[pair]).any(dim=1).tolist() for pair in frames}
    assert changed == {(1, 1): [False, False], (1, 8): [False, True], (8, 8): [False, False]}


def test_a_table_follows_the_exact_networks():
    exact, graph = pair_model(), graph_of(toy_frame(60, 7.0 * np.eye(3)))
    errors = []
    for knots in (32, 64, 128):
        table = pair_model("table", radial_knots=knots)
        table.load_state_dict(exact.state_dict())
        errors.append((table(graph).forces - exact(graph).forces).abs().max().item())
    assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert errors[2] < 5e-3


@EVERY_RADIAL
@pytest.mark.skipif(not library_status().loaded, reason="the compiled operations are not built")
def test_both_backends_agree(radial):
    graph = graph_of(FRAMES["periodic"])
    fused, reference = (pair_model(radial, backend=backend)(graph) for backend in ("fused", "reference"))
    torch.testing.assert_close(fused.forces, reference.forces, rtol=0, atol=1e-11)


@EVERY_RADIAL
def test_round_trip(tmp_path, radial):
    model = pair_model(radial)
    save_model(model, tmp_path / "a.model")
    loaded = load_model(tmp_path / "a.model")
    assert loaded.config == model.config and loaded.config.num_edge_types == 4
    assert torch.equal(loaded(graph_of(FRAMES["open"])).forces, model(graph_of(FRAMES["open"])).forces)


@EVERY_RADIAL
def test_it_begins_as_the_network_that_pairs_share(radial):
    shared, pair = (toy_model(radial_species=kind, radial=radial, radial_knots=KNOTS) for kind in ("shared", "pair"))
    graph = graph_of(FRAMES["periodic"])
    torch.testing.assert_close(pair(graph).forces, shared(graph).forces, rtol=0, atol=1e-11)


def test_one_species_has_one_pair():
    shared, pair = (toy_model(species=("H",), species_shifts=(), radial_species=kind) for kind in ("shared", "pair"))
    assert all(torch.equal(a, b) for a, b in zip(shared.parameters(), pair.parameters(), strict=True))
