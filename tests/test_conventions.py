"""One test for each line of tutorials/conventions.md, by its name; only public names are used."""

import importlib
import inspect
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import e3nn.o3
import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from irrepnet import data, deploy, errors, models, nn, o3, ops
from irrepnet.cli import doctor as cli_doctor
from irrepnet.cli import main

PAGE = Path(__file__).parents[1] / "tutorials" / "conventions.md"
CYCLE = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]  # the rotation that takes x to y, y to z and z to x


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def model():
    config = models.ForceFieldConfig(
        species=("H", "O"), cutoff=3.0, irreps_hidden="4x0e+4x1o", num_layers=2, species_shifts=(-10.0, -400.0),
        dtype="float64",
    )  # fmt: skip
    return models.ForceField(config).eval()


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


def raised(error, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return caught.value


def test_every_line_has_its_test_and_every_test_its_line():
    lines = re.findall(r"^\| ([A-Z]\d+) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    tests = [re.match(r"test_([a-z]\d+)_", name) for name in globals()]
    assert sorted(lines) == sorted(match[1].upper() for match in tests if match)
    assert len(set(lines)) == len(lines)


# Mathematics


def test_m1_irreps_are_pairs_that_print_as_text():
    assert o3.Irrep("1o") == (1, -1) and str(o3.Irrep(1, -1)) == "1o"
    assert str(o3.Irreps([(16, "0e"), (8, (1, -1))])) == "16x0e+8x1o"


def test_m2_letters_of_parity():
    assert [o3.Irrep(text).p for text in ("2e", "2o", "2y", "3y")] == [1, -1, 1, -1]


def test_m3_irreps_sort_by_degree_then_parity_odd_first():
    names = ["1e", "0e", "2o", "1o", "0o"]
    assert [str(ir) for ir in sorted(map(o3.Irrep, names))] == ["0o", "0e", "1o", "1e", "2o"]


def test_m4_layout_is_entry_multiplicity_component():
    irreps = o3.Irreps("2x0e + 2x1o")
    assert irreps.slices() == [slice(0, 2), slice(2, 8)]
    turned = torch.arange(8.0) @ irreps.D_from_matrix(torch.tensor(CYCLE)).T
    assert turned.round().tolist() == [0, 1, 4, 2, 3, 7, 5, 6]  # each vector turns by itself: (2, 3, 4) and (5, 6, 7)


def test_m5_features_turn_by_D_and_odd_ones_flip_under_inversion():
    irreps = o3.Irreps("0o + 1o + 1e + 2e")
    R, points = o3.rand_matrix(), torch.randn(4, 3)
    Y = o3.spherical_harmonics("1o + 2e", points, True)
    assert torch.allclose(
        o3.spherical_harmonics("1o + 2e", points @ R.T, True), Y @ o3.Irreps("1o+2e").D_from_matrix(R).T
    )
    signs = [-1] + 3 * [-1] + 3 * [1] + 5 * [1]
    assert torch.allclose(irreps.D_from_matrix(-torch.eye(3)), torch.diag(torch.tensor(signs).double()))


def test_m6_degree_1_is_x_y_z():
    R = o3.rand_matrix()
    assert torch.allclose(o3.Irrep("1o").D_from_matrix(R), R)
    point = torch.tensor([0.1, -0.7, 0.3])
    assert torch.allclose(o3.spherical_harmonics(1, point, False, "norm"), point)


def test_m7_harmonics_by_hand_with_polar_axis_y():
    x, y, z = point = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8]), dim=0)
    s = math.sqrt(15)
    by_hand = [s * x * z, s * x * y, math.sqrt(5) * (y**2 - (x**2 + z**2) / 2), s * y * z, s * (z**2 - x**2) / 2]
    assert torch.allclose(o3.spherical_harmonics(2, point, True, "component"), torch.stack(by_hand))
    degree, phi = 4, 0.7
    ring = torch.tensor([math.sin(phi), 0.0, math.cos(phi)])  # phi turns from z to x around y
    values = o3.spherical_harmonics(degree, ring, True)
    assert values[0] / values[-1] == pytest.approx(math.sin(degree * phi) / math.cos(degree * phi))
    pole = o3.spherical_harmonics(degree, torch.tensor([0.0, 1.0, 0.0]), True)
    assert (pole.abs() > 1e-12).tolist() == [m == 0 for m in range(-degree, degree + 1)] and pole[degree] > 0


def test_m8_normalisations():
    points = torch.randn(5, 3)
    for degree in (0, 1, 3):
        component, norm, integral, default = (
            o3.spherical_harmonics(degree, points, True, **named)
            for named in [{"normalization": name} for name in ("component", "norm", "integral")] + [{}]
        )
        assert torch.allclose(component.square().sum(-1), torch.tensor(2.0 * degree + 1))
        assert torch.allclose(norm.norm(dim=-1), torch.tensor(1.0))
        assert torch.allclose(integral, component / math.sqrt(4 * math.pi))
        assert torch.equal(default, integral)


def test_m9_solid_harmonics_are_polynomials():
    points = torch.randn(5, 3)
    solid = ops.spherical_harmonics(points, 3)
    unit = o3.spherical_harmonics([0, 1, 2, 3], points, True, "component")
    powers = torch.tensor([ir.l for _, ir in o3.Irreps.spherical_harmonics(3) for _ in range(ir.dim)])
    assert torch.allclose(solid, unit * points.norm(dim=-1, keepdim=True) ** powers)
    jacobian = torch.autograd.functional.jacobian(lambda r: ops.spherical_harmonics(r, 3), torch.zeros(3))
    assert jacobian.isfinite().all() and torch.allclose(jacobian[1:4], math.sqrt(3) * torch.eye(3))


def test_m10_euler_angles_are_y_x_y():
    a, b, c = angles = o3.rand_angles()
    assert torch.allclose(o3.angles_to_matrix(*angles), o3.matrix_y(a) @ o3.matrix_x(b) @ o3.matrix_y(c))
    quarter = torch.tensor(math.pi / 2)
    assert torch.allclose(o3.matrix_y(quarter) @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))


def test_m11_quaternions_are_w_x_y_z():
    half = math.pi / 6
    about_z = o3.quaternion_to_matrix(torch.tensor([math.cos(half), 0.0, 0.0, math.sin(half)]))
    assert torch.allclose(about_z, o3.matrix_z(torch.tensor(2 * half)))


def test_m12_wigner_3j_norm_and_exchanges():
    for l1, l2, l3 in ((1, 2, 3), (1, 2, 2), (2, 2, 2)):
        C = o3.wigner_3j(l1, l2, l3)
        assert C.norm() == pytest.approx(1.0)
        assert torch.allclose(o3.wigner_3j(l2, l3, l1), C.permute(1, 2, 0))
        assert torch.allclose(o3.wigner_3j(l2, l1, l3), (-1) ** (l1 + l2 + l3) * C.transpose(0, 1))


def test_m13_wigner_3j_signs():
    C = o3.wigner_3j(1, 1, 1)
    assert C[0, 1, 2] == pytest.approx(1 / math.sqrt(6)) and C[1, 0, 2] == pytest.approx(-1 / math.sqrt(6))
    assert torch.allclose(o3.wigner_3j(1, 1, 0)[..., 0], torch.eye(3) / math.sqrt(3))
    for degrees in ((1, 2, 2), (1, 3, 3), (1, 4, 4), (2, 3, 4)):  # three of them changed sign in e3nn 0.5
        assert torch.allclose(o3.wigner_3j(*degrees), e3nn.o3.wigner_3j(*degrees))


def test_m14_tensor_product_weights_move_across():
    paths = [(0, 0, 0, "uvw", True), (1, 0, 1, "uvu", True, 2.0)]
    ours, theirs = (room.TensorProduct("3x0e + 2x1o", "2x1o", "4x1o + 2x2e", paths) for room in (o3, e3nn.o3))
    assert [ins.path_shape for ins in ours.instructions] == [(3, 2, 4), (2, 2)]
    assert ours.weight.shape == theirs.weight.shape == (28,)
    x, y = torch.randn(5, 9), torch.randn(5, 6)
    assert torch.allclose(ours(x, y, theirs.weight), theirs(x, y))
    many = o3.TensorProduct("64x0e", "64x0e", "64x0e", [(0, 0, 0, "uvw", True)]).weight
    assert many.std().item() == pytest.approx(1, abs=0.01)


def test_m15_linear_divides_by_the_fan_in():
    linear = o3.Linear("3x0e + 5x0e", "2x0e")
    x = torch.randn(4, 8)
    matrices = linear.weight[:6].view(3, 2), linear.weight[6:].view(5, 2)
    by_hand = (x[:, :3] @ matrices[0] + x[:, 3:] @ matrices[1]) / math.sqrt(8)
    assert torch.allclose(linear(x), by_hand)
    assert o3.Linear("2x0e", "2x0e + 3x1o", biases=True).bias.shape == (2,)
    assert "0e" in str(raised(ValueError, o3.Linear, "1o", "1o", biases=[True]))


def test_m16_parity_is_physics():
    cross = o3.TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)])
    a, b = torch.randn(2, 3)
    assert torch.allclose(cross(a, b), torch.linalg.cross(a, b) / math.sqrt(2))
    error = raised(errors.IrrepsError, o3.TensorProduct, "1o", "1o", "1o", [(0, 0, 0, "uuu", False)])
    assert "1o x 1o -> 1o is forbidden by parity" in str(error) and "Did you mean 1e?" in str(error)


def test_m17_irreps_that_nothing_reaches():
    linear = o3.Linear("2x0e", "2x0e + 1o")
    assert linear.output_mask.tolist() == [1, 1, 0, 0, 0] and "no path to 1x1o" in repr(linear)
    assert linear(torch.randn(3, 2))[:, 2:].abs().max() == 0
    error = raised(errors.IrrepsError, nn.PointConvolution, "2x0e", "0e + 1o", "2x0e + 1e", cutoff=3.0)
    assert "none leads to 1x1e" in str(error)


def test_m18_second_moments(model):
    assert nn.second_moment_factor(silu, "e3nn") == pytest.approx(1.679177, abs=1e-6)
    assert nn.second_moment_factor(silu, "exact") == pytest.approx(1.676532, abs=1e-6)
    one = torch.ones(1, 1)
    assert nn.Activation("0e", [silu])(one).item() == pytest.approx(1.679177 * silu(one).item(), abs=1e-6)
    gate_in = torch.zeros(1, model.layers[-1].gate.irreps_in.dim)
    gate_in[0, 0] = 1.0
    assert model.layers[-1].gate(gate_in)[0, 0].item() == pytest.approx(1.676532 * silu(one).item(), abs=1e-6)


# Graphs and physics


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
    assert "edge_len [E]" in str(raised(errors.ShapeError, network, torch.rand(7, 1)))


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
    network, h = nn.RadialNetwork(cutoff=4.0, num_out=3), 1e-3
    near = network(4.0 - h * torch.arange(4.0)) / network(torch.tensor([2.0])).abs()  # [4, 3]
    value, slope, curvature = near[0], (near[1] - near[0]) / h, (near[2] - 2 * near[1] + near[0]) / h**2
    assert value.abs().max() == 0 and slope.abs().max() < 1e-3 and curvature.abs().max() < 1
    assert nn.PolynomialEnvelope(4.0)(torch.tensor([0.0])).item() == 1.0


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
    assert "length" in str(raised(errors.DataError, data.Graph.checked, *together))
    graph = data.Graph(*together, torch.zeros(1, 3).long(), None, torch.zeros(1, 3).bool(), torch.zeros(2).long(), 1)
    assert "length above zero" in str(raised(errors.DataError, model, graph))


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


# Names


def test_n1_one_name_for_one_thing():
    words = set(inspect.signature(nn.PointConvolution.forward).parameters)
    words |= set(inspect.signature(nn.PointConvolution).parameters) | set(data.Graph.__dataclass_fields__)
    words |= set(models.Prediction._fields) | set(models.ForceFieldConfig.model_fields)
    page = PAGE.read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| N1 "))
    promised = set(re.findall(r"`(\w+)`", row)) - {"num_x", "edge_vec", "mul", "ir"}
    assert len(promised) > 10 and promised <= words
    entry = o3.Irreps("3x1o")[0]
    assert (entry.mul, entry.ir) == (3, o3.Irrep("1o"))


def test_n2_lmax_is_inclusive():
    assert o3.Irreps.spherical_harmonics(2).lmax == 2
    assert ops.spherical_harmonics(torch.zeros(3), 2).shape == (9,)


def test_n3_shape_letters_are_those_of_the_docstrings():
    letters = set()
    for thing in (data.Graph, nn.RadialNetwork.forward, models.Prediction, ops.convolve, data.radial_distribution):
        letters |= set(re.findall(r"\[([A-Z])\b", inspect.getsource(thing)))
    assert {"N", "E", "B", "F"} <= letters <= {"N", "E", "B", "F", "K", "W", "S"}


# Configuration, errors, files


def test_e1_configurations_are_frozen_and_know_their_keys():
    config = models.ForceFieldConfig(species=("H",))
    raised(ValueError, setattr, config, "cutoff", 3.0)
    assert "cutof" in str(raised(ValueError, models.ForceFieldConfig, species=("H",), cutof=3.0))
    assert all(field.description for field in models.ForceFieldConfig.model_fields.values())


def test_e2_errors_say_what_was_needed_and_found():
    product = o3.FullyConnectedTensorProduct("2x0e + 1o", "1o", "1o")
    error = raised(errors.ShapeError, product, torch.randn(3, 4), torch.randn(3, 3))
    assert "needs x [..., 5] for irreps_in1 = 2x0e+1x1o; got x [3, 4]" in str(error)


def test_e3_errors_are_builtin_types_too():
    for kind, builtin in {
        "IrrepsError": ValueError,
        "ShapeError": ValueError,
        "DataError": ValueError,
        "ConfigError": ValueError,
        "DtypeError": TypeError,
        "BackendError": RuntimeError,
        "CheckpointError": RuntimeError,
        "NonFiniteError": ArithmeticError,
    }.items():
        assert issubclass(getattr(errors, kind), builtin)


def test_e4_exceptions_that_e3nn_code_catches():
    raised(ValueError, o3.Irreps, "1q")
    raised(ValueError, o3.SphericalHarmonics, "1e", True, irreps_in="1o")
    raised(ValueError, o3.Linear, "0e + 1o", "1o", instructions=[(0, 0)])
    raised(IndexError, o3.TensorProduct, "0e", "0e", "0e", [(1, 0, 0, "uvw", True)])
    product = o3.FullyConnectedTensorProduct("0e", "0e", "0e", internal_weights=False)
    raised(RuntimeError, product, torch.ones(1, 1), torch.ones(1, 1))


def test_e5_arguments_without_meaning_stay_at_their_defaults():
    o3.FullyConnectedTensorProduct("0e", "0e", "0e", compile_left_right=True)
    error = raised(errors.ConfigError, o3.FullyConnectedTensorProduct, "0e", "0e", "0e", compile_left_right=False)
    assert "compile_left_right" in str(error)


def test_e6_values_are_checked_once():
    outside = torch.tensor([[0], [5]])
    assert "got 5" in str(raised(errors.DataError, ops.edge_order, outside, 2))
    nan = torch.full((2, 3), math.nan)
    assert "finite" in str(
        raised(errors.DataError, data.Graph.checked, nan, torch.tensor([1, 1]), torch.zeros(2, 0).long())
    )
    assert ops.spherical_harmonics(nan, 1).isnan().any()  # an op looks at shapes and dtypes only


def test_e7_a_named_backend_serves_or_raises():
    order = ops.edge_order(torch.tensor([[0], [1]]), 2)
    product = o3.TensorProduct("0e", "0e", "0e", [(0, 0, 0, "uvu", False)])
    operands = torch.ones(2, 1), torch.ones(1, 1), None, order, product.plan
    assert torch.equal(ops.convolve(*operands, backend="auto"), ops.convolve(*operands, backend="reference"))
    assert "no fused kernel" in str(raised(errors.BackendError, ops.convolve, *operands, backend="fused"))
    assert "Did you mean 'fused'?" in str(raised(errors.BackendError, ops.convolve, *operands, backend="fusd"))


def test_e8_exit_codes(monkeypatch, tmp_path, model, capsys):
    def ends_with(outcome):
        """The code of a command that raises, or that returns what a check or a training returns."""
        monkeypatch.setattr(cli_doctor, "run", lambda arguments: raise_(outcome))
        return main(["doctor"])

    def raise_(error):
        raise error

    assert main(["doctor"]) == 0
    assert ends_with(errors.DataError("bad")) == 2
    assert ends_with(errors.NonFiniteError("nan")) == 3
    assert ends_with(KeyboardInterrupt()) == 130

    models.save_model(model, tmp_path / "a.model")
    failed = SimpleNamespace(name="a", dtype="b", error=1.0, tolerance=0.0, unit="", passed=False)
    monkeypatch.setattr("irrepnet.cli.checks.check_model", lambda *args, **kwargs: [failed])
    assert main(["check-equivariance", str(tmp_path / "a.model")]) == 1

    (tmp_path / "a.yaml").write_text("data: {train: a.npz}\ntraining: {steps: 1}\n")
    loop = importlib.import_module("irrepnet.train.loop")
    monkeypatch.setattr(loop, "train", lambda *args, **kwargs: SimpleNamespace(signal=signal.SIGTERM))
    assert main(["train", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "run")]) == 143


def test_e9_help_does_not_import_torch():
    code = "import sys, irrepnet\nfrom irrepnet.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_e10_model_files_are_checked_and_never_executed(model, tmp_path):
    path = tmp_path / "a.model"
    models.save_model(model, path)
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    assert "SHA-256" in str(raised(errors.CheckpointError, models.load_model, path))
    torch.save({"a": 1}, path)
    assert "pickle" in str(raised(errors.CheckpointError, models.load_model, path))
