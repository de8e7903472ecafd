import e3nn.o3
import pytest
import torch
from hypothesis import given

from irrepnet import o3
from irrepnet.errors import DataError, DtypeError, ShapeError
from irrepnet.o3.representation import Representation
from irrepnet.testing.strategies import irreps

X = o3.Irreps("2x0o + 3x1e + 2e + 1o")


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_equals_e3nn_however_the_rotation_is_given():
    other = e3nn.o3.Irreps(str(X))
    angles, k = o3.rand_angles(4), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(X.D_from_angles(*angles, k), other.D_from_angles(*angles, k), rtol=0, atol=1e-12)
    q = o3.rand_quaternion(4)
    torch.testing.assert_close(X.D_from_quaternion(q, k), other.D_from_quaternion(q, k), rtol=0, atol=1e-12)
    axis_angle = o3.rand_axis_angle(4)
    torch.testing.assert_close(
        X.D_from_axis_angle(*axis_angle), other.D_from_axis_angle(*axis_angle), rtol=0, atol=1e-12
    )
    R = -o3.rand_matrix(4)
    torch.testing.assert_close(X.D_from_matrix(R), other.D_from_matrix(R), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        o3.Irrep("2o").D_from_matrix(R), e3nn.o3.Irrep("2o").D_from_matrix(R), rtol=0, atol=1e-12
    )


@given(irreps(lmax=6, max_mul=2))
def test_represents_the_group(x):
    torch.manual_seed(1)
    R, S = o3.rand_matrix(2), -o3.rand_matrix(2)
    torch.testing.assert_close(x.D_from_matrix(R) @ x.D_from_matrix(S), x.D_from_matrix(R @ S), rtol=0, atol=1e-12)
    eye = torch.eye(x.dim)
    torch.testing.assert_close(x.D_from_matrix(S) @ x.D_from_matrix(S).mT, eye.expand(2, -1, -1), rtol=0, atol=1e-12)
    parity = torch.cat([torch.full((mul * ir.dim,), float(ir.p)) for mul, ir in x])
    torch.testing.assert_close(x.D_from_matrix(-torch.eye(3)), torch.diag(parity), rtol=0, atol=1e-14)


def test_a_vector_turns_with_the_matrix_itself():
    R = o3.rand_matrix(3)
    torch.testing.assert_close(o3.Irrep("1o").D_from_matrix(R), R, rtol=0, atol=1e-14)
    torch.testing.assert_close(o3.Irrep("1o").D_from_matrix(-R), -R, rtol=0, atol=1e-14)
    torch.testing.assert_close(o3.Irrep("1e").D_from_matrix(-R), R, rtol=0, atol=1e-14)


def test_batches_broadcast_and_may_be_empty():
    alpha, beta, gamma = torch.rand(4, 1), torch.rand(3), torch.tensor(0.5)
    assert X.D_from_angles(alpha, beta, gamma, torch.ones(2, 1, 1).long()).shape == (2, 4, 3, X.dim, X.dim)
    assert X.D_from_matrix(torch.empty(0, 3, 3)).shape == (0, X.dim, X.dim)
    assert o3.Irreps().D_from_angles(alpha, beta, gamma).shape == (4, 3, 0, 0)
    assert o3.Irreps("0x1o + 2x0e").D_from_matrix(torch.eye(3)).shape == (2, 2)


def test_gradients_reach_the_angles_and_are_finite_at_the_identity():
    angles = [angle.requires_grad_() for angle in o3.rand_angles(2)]
    assert torch.autograd.gradcheck(o3.Irreps("1o+2e").D_from_angles, angles)
    eye = torch.eye(3, requires_grad=True)
    (grad,) = torch.autograd.grad(X.D_from_matrix(eye).sum(), eye)
    assert grad.isfinite().all()


def test_derivative_by_the_matrix_is_right_next_to_the_identity_through_a_fixed_rotation():
    x, S = o3.Irreps("1o+2e"), o3.rand_matrix()
    generator = torch.tensor([[0.0, -0.3, 0.2], [0.3, 0.0, -0.7], [-0.2, 0.7, 0.0]])
    turn = lambda t: torch.linalg.matrix_exp(t * generator)
    D = lambda t: x.D_from_matrix(turn(t) @ S.T) @ x.D_from_matrix(S)
    slope = torch.autograd.functional.jacobian(D, torch.tensor(0.0))
    torch.testing.assert_close(slope, (D(1e-5) - D(-1e-5)) / 2e-5, rtol=0, atol=1e-8)


def test_compiles():
    R, x = o3.rand_matrix(3), o3.Irreps("0o + 1o")
    compiled = torch.compile(x.D_from_matrix, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(R), x.D_from_matrix(R))


def test_bad_rotations_are_named():
    with pytest.raises(ShapeError, match=r"needs shape \[..., 3, 3\]; got \[3, 2\]"):
        X.D_from_matrix(torch.zeros(3, 2))
    with pytest.raises(DtypeError, match=r"needs a floating-point tensor; got torch.int64"):
        X.D_from_matrix(torch.eye(3).long())
    for R in (2 * torch.eye(3), torch.zeros(3, 3), torch.full((3, 3), torch.nan)):
        with pytest.raises(DataError, match=r"needs orthogonal matrices; got max \|R R\^T - 1\| ="):
            X.D_from_matrix(R)
    with pytest.raises(TypeError, match="define D_from_angles"):
        Representation().D_from_angles(*torch.zeros(3))
