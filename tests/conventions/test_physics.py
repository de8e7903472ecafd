"""Lines G1 ... of tutorials/conventions.md."""

import math

import numpy as np
import pytest
import torch

from irrepnet import data, deploy, errors, nn, ops


def lattice(seed=0, repeat=1):
    """Two waters in a skewed cell, repeated."""
    rng = np.random.default_rng(seed)
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    pos = np.concatenate([water, water[:, ::-1] + [2.0, 2.2, 1.9]]) + 0.05 * rng.standard_normal((6, 3))
    cell = np.array([[4.2, 0.0, 0.0], [0.7, 4.0, 0.0], [-0.4, 0.5, 4.1]])
    corners = np.stack(np.meshgrid(*[range(repeat)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return data.Frame(
        species=[8, 1, 1, 8, 1, 1] * len(corners),
        pos=(pos + (corners @ cell)[:, None]).reshape(-1, 3),
        cell=repeat * cell,
        pbc=True,
    )


def energy_of(model, frame, **changes):
    fields = {"species": frame.species, "pos": frame.pos, "cell": frame.cell, "pbc": frame.pbc, **changes}
    graph = data.build_graph(data.Frame(**fields), model.cutoff, dtype=torch.float64)
    return model(graph).energy.item()


def test_g1_messages_run_from_src_to_dst():
    convolution = nn.PointConvolution("0e", "0e", "0e", cutoff=3.0)
    edge_index = torch.tensor([[0], [1]])  # src above dst
    out = convolution(torch.ones(2, 1), torch.ones(1, 1), torch.ones(1), edge_index)
    assert out[0] == 0 and out[1] != 0


def test_g2_edge_vectors_point_from_src_to_dst():
    frame = lattice()
    edge_index, shift = data.neighbor_list(frame.pos, frame.cell, frame.pbc, 3.0)
    src, dst = edge_index.numpy()
    vectors = frame.pos[dst] - frame.pos[src] + shift.numpy() @ frame.cell
    assert np.linalg.norm(vectors, axis=1).max() < 3.0 and (shift != 0).any()
    wrong = frame.pos[dst] - frame.pos[src] - shift.numpy() @ frame.cell
    assert np.linalg.norm(wrong, axis=1).max() > 3.0


def test_g3_rows_of_the_cell_are_lattice_vectors():
    cell = np.array([[2.0, 0.0, 0.0], [1.5, 10.0, 0.0], [0.0, 0.0, 10.0]])
    edge_index, shift = data.neighbor_list(np.zeros((1, 3)), cell, True, 2.1)
    assert shift.tolist() == [[-1, 0, 0], [1, 0, 0]] and edge_index.tolist() == [[0, 0], [0, 0]]


def test_g4_edge_lengths_have_no_trailing_one():
    network = nn.RadialNetwork(cutoff=4.0, num_out=5)
    assert network(torch.rand(7)).shape == (7, 5)
    with pytest.raises(errors.ShapeError, match=r"edge_len \[E\]"):
        network(torch.rand(7, 1))


def test_g5_units():
    velocities = deploy.thermal_velocities(np.array([15.999, 1.008, 1.008]), 300.0, seed=0)  # amu, K -> Å/fs
    joule = 0.5 * 1.66053906660e-27 * (np.array([15.999, 1.008, 1.008]) @ np.square(velocities * 1e5).sum(1))
    assert joule / (0.5 * 6 * 1.380649e-23) == pytest.approx(300.0)
    assert data.read_frames("package:water_xtb/heldout.npz")[0].energy < -1000  # eV, for 64 H2O, not Hartree
    assert data.Units().model_dump()["energy"] == "eV" and data.Units().model_dump()["length"] == "angstrom"


def test_g6_stress_is_the_derivative_with_respect_to_strain(model):
    frame, step = lattice(), 1e-4
    graph = data.build_graph(frame, model.cutoff, dtype=torch.float64)
    stress = model(graph, compute_stress=True).stress[0]
    stretch = [np.diag([1 + s, 1.0, 1.0]) for s in (step, -step)]
    up, down = (energy_of(model, frame, pos=frame.pos @ s, cell=frame.cell @ s) for s in stretch)
    volume = abs(np.linalg.det(frame.cell))
    assert stress[0, 0].item() == pytest.approx((up - down) / (2 * step) / volume, abs=1e-7)


def test_g7_forces_are_the_negative_gradient(model):
    frame, step = lattice(), 1e-4
    forces = model(data.build_graph(frame, model.cutoff, dtype=torch.float64)).forces
    moved = [frame.pos.copy(), frame.pos.copy()]
    moved[0][1, 2] += step
    moved[1][1, 2] -= step
    up, down = (energy_of(model, frame, pos=pos) for pos in moved)
    assert forces[1, 2].item() == pytest.approx(-(up - down) / (2 * step), abs=1e-6)


def test_g8_radial_weights_end_smoothly():
    h = 1e-3
    edge_len = 4.0 - h * torch.arange(4.0)
    u, w = nn.PolynomialEnvelope(4.0)(edge_len), nn.RadialNetwork(cutoff=4.0, num_out=3)(edge_len)
    assert u[0] == 0 and (u[1] - u[0]).abs() / h < 1e-4 and (u[2] - 2 * u[1] + u[0]).abs() / h**2 < 0.01
    assert (w[0] == 0).all() and (w[1:].abs() < 0.1 * u[1:, None]).all() and (w[1:] != 0).all()


def test_g9_bessel_functions_are_finite_at_zero():
    r = torch.zeros(1, requires_grad=True)
    values = nn.BesselBasis(4.0, 8)(r)
    (slope,) = torch.autograd.grad(values.sum(), r)
    assert torch.allclose(values[0], math.sqrt(2 / 4.0) * math.pi / 4.0 * torch.arange(1.0, 9.0))
    assert slope.item() == pytest.approx(0.0)


def test_g10_sums_are_float64(model):
    total = nn.sum_pool(torch.full((3,), -30000.001, dtype=torch.float32), torch.zeros(3, dtype=torch.long), 1)
    assert total.dtype == torch.float64
    single = model.float()
    isolated = data.Graph.checked(torch.zeros(1, 3, dtype=torch.float32), torch.tensor([8]), torch.zeros(2, 0).long())
    assert single(isolated).energy.item() == -400.0


def test_g11_edges_are_sorted_whatever_found_them():
    frame = lattice()
    edge_index, shift = data.neighbor_list(frame.pos, frame.cell, frame.pbc, 3.0, backend="torch")
    rows = torch.cat([edge_index.flip(0), shift.T]).T.tolist()  # dst, src, shift
    assert rows == sorted(rows)
    other = data.neighbor_list(frame.pos, frame.cell, frame.pbc, 3.0, backend="vesin")
    assert torch.equal(edge_index, other[0]) and torch.equal(shift, other[1])


def test_g12_self_images_are_edges_and_zero_length_is_refused(model):
    edge_index, _ = data.neighbor_list(np.zeros((1, 3)), np.eye(3), True, 1.1)
    assert edge_index.tolist() == [[0] * 6, [0] * 6]
    assert ops.spherical_harmonics(torch.zeros(3), 2).tolist() == [1.0] + [0.0] * 8
    together = torch.zeros(2, 3), torch.tensor([1, 1]), torch.tensor([[0], [1]])
    with pytest.raises(errors.DataError, match="length"):
        data.Graph.checked(*together)
    graph = data.Graph(*together, torch.zeros(1, 3).long(), None, torch.zeros(1, 3).bool(), torch.zeros(2).long(), 1)
    with pytest.raises(errors.DataError, match="length above zero"):
        model(graph)


def test_g13_neighbour_lists_are_never_capped():
    pos = np.random.default_rng(0).random((60, 3))
    edge_index, _ = data.neighbor_list(pos, None, False, 2.0)
    assert edge_index.shape[1] == 60 * 59


def test_g14_energies_are_extensive_and_smooth(model):
    one, eight = (energy_of(model, lattice(repeat=n)) for n in (1, 2))
    assert eight == pytest.approx(8 * one, abs=1e-10 * 48)

    def pair(distance):
        return energy_of(model, data.Frame(species=[1, 8], pos=[[0, 0, 0], [distance, 0, 0]]))

    h = 1e-3  # the third derivative may jump at the cutoff, so the second is of order h on one side
    curvature = (pair(3 + h) - 2 * pair(3.0) + pair(3 - h)) / h**2
    bond = (pair(1.5 + h) - 2 * pair(1.5) + pair(1.5 - h)) / h**2
    assert pair(3.5) == pair(3.0) == -410.0 and abs(curvature) < 0.05 * max(abs(bond), 1.0)


def test_g15_stress_is_a_matrix_and_voigt_at_the_border_to_ase(model):
    ase = pytest.importorskip("ase")
    frame = lattice()
    matrix = model(data.build_graph(frame, model.cutoff, dtype=torch.float64), compute_stress=True).stress
    assert matrix.shape == (1, 3, 3)
    atoms = ase.Atoms(numbers=frame.species, positions=frame.pos, cell=frame.cell, pbc=True)
    atoms.calc = deploy.IrrepNetCalculator(model)
    m = matrix[0]
    voigt = torch.stack([m[0, 0], m[1, 1], m[2, 2], m[1, 2], m[0, 2], m[0, 1]])
    assert np.allclose(atoms.get_stress(), voigt.numpy(), atol=1e-12)
