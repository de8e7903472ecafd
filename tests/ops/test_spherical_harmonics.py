import math

import e3nn.o3
import numpy as np
import pytest
import torch
from ops.twin import TwinTests, assert_near
from scipy.special import sph_harm_y

from irrepnet.errors import BackendError, DtypeError, ShapeError
from irrepnet.ops import spherical_harmonics
from irrepnet.ops._backend import library_status

LMAX = 3


def scipy_harmonics(xyz: torch.Tensor, lmax: int) -> torch.Tensor:
    """Solid harmonics from scipy's complex ones: polar axis y, azimuth from z to x."""
    x, y, z = xyz.double().numpy().reshape(-1, 3).T
    r = np.sqrt(x * x + y * y + z * z)
    theta = np.arccos(np.divide(y, r, out=np.ones_like(r), where=r > 0))
    phi = np.arctan2(x, z)
    columns = []
    for degree in range(lmax + 1):
        for m in range(-degree, degree + 1):
            # sph_harm_y has norm 1 over the sphere and the Condon-Shortley phase (-1)^m
            value = sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m * math.sqrt(4 * math.pi)
            part = value.real if m == 0 else math.sqrt(2) * (value.real if m > 0 else value.imag)
            columns.append(r**degree * part)
    return torch.from_numpy(np.stack(columns, axis=-1)).reshape(*xyz.shape[:-1], (lmax + 1) ** 2)


class TestTwin(TwinTests):
    normalize = False

    def op(self, xyz, *, backend):
        return spherical_harmonics(xyz, LMAX, normalize=self.normalize, backend=backend)

    def example(self, size):
        return (torch.randn(size, 3, dtype=torch.float64),)

    def oracle(self, xyz):
        lengths = xyz.norm(dim=-1, keepdim=True) if self.normalize else 1.0
        return scipy_harmonics(xyz / lengths, LMAX)

    def kernels(self):
        v, g, r = (torch.randn(4, n, dtype=torch.float64) for n in (3, 16, 16))
        return [
            ("spherical_harmonics", (v, LMAX, self.normalize)),
            ("spherical_harmonics_backward", (g, v, LMAX, self.normalize)),
            ("spherical_harmonics_double_backward", (torch.randn_like(v), g, v, LMAX, self.normalize)),
            ("spherical_harmonics_gradient_v", (g, r, LMAX)),
            ("spherical_harmonics_gradient_g", (v, r, LMAX)),
            ("spherical_harmonics_gradient_r", (v, g, LMAX)),
        ]

    def bad_inputs(self):
        return [
            ((torch.zeros(4, 2),), ShapeError, r"needs xyz \[..., 3\]; got xyz \[4, 2\]"),
            ((torch.tensor(1.0),), ShapeError, r"got xyz \[\]"),
            ((torch.zeros(4, 3, dtype=torch.int64),), DtypeError, "floating-point tensor.*got torch.int64"),
            ((torch.zeros(4, 3, dtype=torch.complex64),), DtypeError, "got torch.complex64"),
            (([[0.0, 1.0, 0.0]],), DtypeError, "got list"),
        ]


class TestNormalizedTwin(TestTwin):
    normalize = True

    # On the sphere the sum of squares, which the tests differentiate, is constant: weigh the components.
    weights = torch.linspace(1.0, 2.0, (LMAX + 1) ** 2, dtype=torch.float64)

    def op(self, xyz, *, backend):
        Y = super().op(xyz, backend=backend)
        return Y * self.weights.to(Y.dtype)

    def oracle(self, xyz):
        return super().oracle(xyz) * self.weights


@pytest.fixture(params=["reference", "fused"])
def backend(request):
    if request.param == "fused" and not library_status().loaded:
        pytest.skip(library_status().reason)
    return request.param


@pytest.mark.parametrize("lmax", range(9))
def test_equal_to_e3nn(backend, lmax):
    xyz = torch.randn(20, 3, dtype=torch.float64)
    expected = e3nn.o3.spherical_harmonics(list(range(lmax + 1)), xyz, normalize=False, normalization="component")
    found = spherical_harmonics(xyz, lmax, backend=backend)
    for degree in range(lmax + 1):
        part = slice(degree**2, (degree + 1) ** 2)
        assert_near(found[:, part], expected[:, part], 1e-12)


@pytest.mark.parametrize(("lmax", "tolerance"), [(12, 1e-12), (30, 1e-11)])
def test_high_degrees_on_the_sphere(backend, lmax, tolerance):
    """Each degree to the tolerance: scipy's own error grows too."""
    xyz = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    found, expected = spherical_harmonics(xyz, lmax, backend=backend), scipy_harmonics(xyz, lmax)
    for degree in range(lmax + 1):
        part = slice(degree**2, (degree + 1) ** 2)
        assert_near(found[:, part], expected[:, part], tolerance)
        assert_near(found[:, part].pow(2).sum(-1), torch.full((20,), 2.0 * degree + 1), tolerance)


def test_first_degree_is_the_vector_itself(backend):
    xyz = torch.randn(2, 5, 3)
    found = spherical_harmonics(xyz, 1, backend=backend)
    assert found.shape == (2, 5, 4)
    assert_near(found[..., 0], torch.ones(2, 5), 0.0)
    assert_near(found[..., 1:], math.sqrt(3) * xyz, 1e-6)


@pytest.mark.parametrize("lmax", [0, 1, 7])
def test_derivatives_of_other_degrees(backend, lmax):
    xyz = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    xyz.data /= xyz.data.norm(dim=-1, keepdim=True)
    call = lambda v: spherical_harmonics(v, lmax, backend=backend)
    assert torch.autograd.gradcheck(call, (xyz,))
    assert torch.autograd.gradgradcheck(call, (xyz,))


@pytest.mark.parametrize("lmax", [1, 3])
def test_the_zero_vector_is_a_point_like_others(backend, lmax):
    """Solid harmonics are polynomials: at 0 the derivatives of order l of degree l are constants, others vanish."""
    value = lambda v: spherical_harmonics(v, lmax, backend=backend)
    zero = torch.zeros(3, dtype=torch.float64)
    for order in range(lmax + 2):
        assert torch.isfinite(value(zero)).all()
        l_of = torch.arange(lmax + 1).repeat_interleave(2 * torch.arange(lmax + 1) + 1)
        size = value(zero).abs().reshape((lmax + 1) ** 2, -1).sum(-1)
        assert torch.equal(size[l_of != order], torch.zeros_like(size[l_of != order]))
        assert (size[l_of == order] > 0).all()
        value = torch.func.jacfwd(value)


def test_third_derivative_against_finite_differences():
    xyz = torch.randn(2, 3, dtype=torch.float64)
    u, step = torch.randn(2, 3, dtype=torch.float64), 1e-5

    def curvature(points):
        points = points.clone().requires_grad_()
        g = torch.autograd.grad(spherical_harmonics(points, 4).sin().sum(), points, create_graph=True)[0]
        return torch.autograd.grad((g * u).sum(), points, create_graph=True)[0], points

    second, points = curvature(xyz)
    third = torch.autograd.grad((second * u).sum(), points)[0]
    difference = (curvature(xyz + step * u)[0] - curvature(xyz - step * u)[0]) / (2 * step)
    assert_near(difference, third, 1e-6)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32, 33, 100])
@pytest.mark.parametrize("lmax", [0, 1, 2, 3, 4, 8, 13])
def test_every_number_of_points(size, lmax):
    """Kernels take points in packs, turn rows in squares, and know small degrees: all must join without a seam."""
    if not library_status().loaded:
        pytest.skip(library_status().reason)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        for normalize in (False, True):
            xyz = torch.nn.functional.normalize(torch.randn(size, 3, dtype=dtype), dim=-1)
            g, v = torch.randn(size, (lmax + 1) ** 2, dtype=dtype), torch.randn(size, 3, dtype=dtype)
            found, expected = ([], [])
            for results, backend, wide in ((found, "fused", dtype), (expected, "reference", torch.float64)):
                x, a = xyz.to(wide).requires_grad_(), g.to(wide).requires_grad_()
                results.append(spherical_harmonics(x, lmax, normalize=normalize, backend=backend))
                results.append(torch.autograd.grad(results[0], x, a, create_graph=True)[0])
                options = {"allow_unused": True, "materialize_grads": True}
                results.extend(torch.autograd.grad(results[1], (a, x), v.to(wide), **options))
            for order, (left, right) in enumerate(zip(found, expected, strict=True)):
                assert_near(left, right, tolerance * (1, 3, 3, 9)[order])


@pytest.mark.parametrize("lmax", [1, 2, 5])
def test_three_derivatives_of_the_harmonics_on_the_sphere(backend, lmax):
    xyz = torch.randn(3, 3, dtype=torch.float64)

    def slope(x, g, v):
        first = torch.autograd.grad(spherical_harmonics(x, lmax, normalize=True, backend=backend), x, g, None, True)[0]
        return torch.autograd.grad(first, (x, g), v, create_graph=True)

    g, v = (torch.randn(3, n, dtype=torch.float64).requires_grad_() for n in ((lmax + 1) ** 2, 3))
    assert torch.autograd.gradcheck(slope, (xyz.requires_grad_(), g, v))
    assert torch.autograd.gradgradcheck(slope, (xyz, g, v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [-0.99, -0.7, 0.0, 0.7, 0.99])
def test_any_length_has_a_direction(backend, dtype, exponent):
    limits = torch.finfo(dtype)
    length = (limits.tiny if exponent < 0 else limits.max) ** abs(exponent)
    unit = torch.nn.functional.normalize(torch.randn(40, 3, dtype=torch.float64), dim=-1)
    found = spherical_harmonics((length * unit).to(dtype), 3, normalize=True, backend=backend)
    assert_near(found, scipy_harmonics(unit, 3), 3e-6 if dtype == torch.float32 else 1e-12)


def test_the_zero_vector_has_no_direction_and_no_derivative(backend):
    xyz = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 1e-310, 0.0]], dtype=torch.float64).requires_grad_()
    found = [spherical_harmonics(xyz, 2, normalize=True, backend=backend)]
    assert torch.equal(found[0][[0, 2]], torch.eye(9, dtype=torch.float64)[[0, 0]])
    for _ in range(3):
        found.append(torch.autograd.grad(found[-1].sin().sum(), xyz, create_graph=True)[0])
        assert found[-1].isfinite().all() and (found[-1][1] != 0).any()
        assert (found[-1][[0, 2]] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(backend, dtype):
    xyz = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1).to(dtype)
    found = spherical_harmonics(xyz, 6, backend=backend)
    assert found.dtype == dtype
    assert torch.equal(found, spherical_harmonics(xyz.float(), 6, backend=backend).to(dtype))


@pytest.mark.parametrize("lmax", [-1, 1.0, "2", None])
def test_lmax_is_checked(lmax):
    with pytest.raises(ShapeError, match="needs an integer lmax >= 0; got lmax = "):
        spherical_harmonics(torch.zeros(1, 3), lmax)


def test_unknown_backend():
    with pytest.raises(BackendError, match=r"got 'fussed'\. Did you mean 'fused'\?"):
        spherical_harmonics(torch.zeros(1, 3), 1, backend="fussed")


@pytest.mark.parametrize("lmax", [0, 1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_shapes_on_meta(lmax, dtype):
    found = spherical_harmonics(torch.zeros(5, 3, dtype=dtype, device="meta"), lmax)
    assert found.shape == (5, (lmax + 1) ** 2) and found.dtype == dtype


def test_fused_refuses_what_it_does_not_serve():
    if not library_status().loaded:
        pytest.skip(library_status().reason)
    with pytest.raises(BackendError, match=r"backend='fused'\) cannot run: it has kernels for cpu; .* on meta"):
        spherical_harmonics(torch.zeros(1, 3, device="meta"), 1, backend="fused")


def test_the_library_checks_its_arguments_itself():
    """The stable ABI checks nothing, and an op can be called without the Python function."""
    if not library_status().loaded:
        pytest.skip(library_status().reason)
    ops, v, g = torch.ops.irrepnet, torch.zeros(2, 3), torch.zeros(2, 9)
    with pytest.raises(RuntimeError, match=r"needs xyz \[..., 3\]; got xyz \[2, 9\]"):
        ops.spherical_harmonics(g, 2, False)
    with pytest.raises(RuntimeError, match="needs xyz in float32 or float64; got Half"):
        ops.spherical_harmonics(v.half(), 2, False)
    with pytest.raises(RuntimeError, match="needs lmax from 0 to 10000; got lmax = -1"):
        ops.spherical_harmonics(v, -1, True)
    with pytest.raises(RuntimeError, match=r"needs g \[..., 16\]; got g \[2, 9\]"):
        ops.spherical_harmonics_backward(g, v, 3, False)
    with pytest.raises(RuntimeError, match="g and xyz of one dtype; got Float and Double"):
        ops.spherical_harmonics_backward(g, v.double(), 2, True)
    with pytest.raises(RuntimeError, match=r"v and xyz with equal leading axes; got \[3, 3\] and \[2, 3\]"):
        ops.spherical_harmonics_double_backward(torch.zeros(3, 3), g, v, 2, False)
    with pytest.raises(RuntimeError, match=r"equal leading axes; got \[2, 3\] and \[3, 9\]"):
        ops.spherical_harmonics_gradient_g(v, torch.zeros(3, 9), 2)
