"""Lines M1 ... of tutorials/conventions.md."""

import math

import e3nn.o3
import pytest
import torch
from torch.nn.functional import silu

from irrepnet import errors, io, nn, o3, ops
from irrepnet import math as math_room

CYCLE = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]  # the rotation that takes x to y, y to z and z to x


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
    with pytest.raises(errors.IrrepsError, match="0e"):
        o3.Linear("1o", "1o", biases=[True])


def test_m16_parity_is_physics():
    cross = o3.TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)])
    a, b = torch.randn(2, 3)
    assert torch.allclose(cross(a, b), torch.linalg.cross(a, b) / math.sqrt(2))
    with pytest.raises(errors.IrrepsError, match=r"1o x 1o -> 1o is forbidden by parity .* Did you mean 1e\?"):
        o3.TensorProduct("1o", "1o", "1o", [(0, 0, 0, "uuu", False)])


def test_m17_irreps_that_nothing_reaches():
    linear = o3.Linear("2x0e", "2x0e + 1o")
    assert linear.output_mask.tolist() == [1, 1, 0, 0, 0] and "no path to 1x1o" in repr(linear)
    assert linear(torch.randn(3, 2))[:, 2:].abs().max() == 0
    with pytest.raises(errors.IrrepsError, match="none leads to 1x1e"):
        nn.PointConvolution("2x0e", "0e + 1o", "2x0e + 1e", cutoff=3.0)


def test_m19_signals_on_the_sphere():
    sphere = io.SphericalTensor(2, p_val=-1, p_arg=-1)
    assert sphere == o3.Irreps("0o + 1e + 2o")
    c, x = torch.randn(sphere.dim), torch.tensor([1.0, 2.0, 2.0])
    Y = o3.spherical_harmonics([0, 1, 2], x / 3, normalize=False, normalization="integral")
    assert torch.allclose(sphere.signal_xyz(c, x), c @ Y, atol=1e-6)


def test_m20_grids_of_the_sphere():
    betas, alphas = o3.s2_grid(4, 6)
    assert torch.allclose(betas, (torch.arange(4) + 0.5) * math.pi / 4)
    assert torch.allclose(alphas, torch.arange(6) * 2 * math.pi / 6)
    grid = o3.ToS2Grid(1, (4, 6), normalization="integral")
    assert torch.allclose(grid.grid[0, 0], o3.angles_to_xyz(alphas[0], betas[0]), atol=1e-6)
    c = torch.tensor([0.0, 0.0, 1.0, 0.0])  # the component y
    values = grid(c)
    assert values.shape == (4, 6)
    assert torch.allclose(values, math.sqrt(3 / (4 * math.pi)) * grid.grid[..., 1], atol=1e-6)
    assert grid.grid[1, 1, 0] > 0 and grid.grid[1, 0, 2] > 0  # alpha turns from z to x


def test_m21_changes_of_basis_are_orthonormal():
    tensor = io.CartesianTensor("ij=ji")
    stress = torch.randn(3, 3, dtype=torch.float64)
    stress = stress + stress.T
    assert tensor.from_cartesian(stress).norm() == pytest.approx(stress.norm().item())
    xy = torch.zeros(3, 3, dtype=torch.float64)
    xy[0, 1] = xy[1, 0] = 0.5
    Y = o3.spherical_harmonics(2, torch.tensor([1.0, 1.0, 0.0]).double(), False)  # x y and y^2 - (x^2 + z^2) / 2
    assert set(tensor.from_cartesian(xy).nonzero().flatten().tolist()) == {1 + 1} and Y[1] > 0
    Q = o3.ReducedTensorProducts("ijk=jki", i="1o").change_of_basis.flatten(1)
    assert torch.allclose(Q @ Q.T, torch.eye(len(Q)), atol=1e-6)


def test_m22_only_even_scalars_have_a_mean():
    for norm in (nn.BatchNorm("4x0e + 4x0o + 2x1o"), nn.LayerNorm("4x0e + 4x0o + 2x1o")):
        x = torch.randn(8, 14) + 3
        y = norm(x)
        assert y[:, :4].mean().abs() < 1e-5
        assert y[:, 4:8].mean() > 0.5
        for columns in (slice(8, 11), slice(11, 14)):
            assert torch.allclose(torch.linalg.cross(x[:, columns], y[:, columns]), torch.zeros(8, 3), atol=1e-5)


def test_m18_second_moments(model):
    assert math_room.second_moment_factor(silu, "e3nn") == pytest.approx(1.679177, abs=1e-6)
    assert math_room.second_moment_factor(silu, "exact") == pytest.approx(1.676532, abs=1e-6)
    one = torch.ones(1, 1)
    assert nn.Activation("0e", [silu])(one).item() == pytest.approx(1.679177 * silu(one).item(), abs=1e-6)
    gate_in = torch.zeros(1, model.trunk.layers[-1].gate.irreps_in.dim)
    gate_in[0, 0] = 1.0
    assert model.trunk.layers[-1].gate(gate_in)[0, 0].item() == pytest.approx(1.676532 * silu(one).item(), abs=1e-6)
