"""Signals on the sphere: e3nn's values, exactness at the points, symmetry, derivatives, and where e3nn has none."""

import copy
import math
import pickle

import e3nn.io
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st

import irrepnet.io.interpolation
import irrepnet.io.spherical_tensor
from irrepnet.io.spherical_tensor import SphericalTensor
from irrepnet.o3 import Irreps, rand_matrix
from irrepnet.testing import assert_equivariant

PARITIES = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


@pytest.fixture
def double():
    """e3nn makes its grids in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def both(lmax, p_val=1, p_arg=-1):
    return SphericalTensor(lmax, p_val, p_arg), e3nn.io.SphericalTensor(lmax, p_val, p_arg)


def assert_same(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("parities", PARITIES)
@pytest.mark.parametrize("lmax", [0, 1, 4])
def test_is_irreps(lmax, parities):
    ours, theirs = both(lmax, *parities)
    assert isinstance(ours, Irreps) and ours == Irreps(str(theirs)) and hash(ours) == hash(Irreps(ours))
    assert (str(ours), ours.dim, ours.lmax) == (str(theirs), theirs.dim, theirs.lmax)
    assert str(ours + "1o") == str(theirs + "1o")


@pytest.mark.parametrize("parities", PARITIES)
@pytest.mark.parametrize("lmax", [0, 3])
def test_copies(lmax, parities):
    """e3nn's cannot be copied or pickled: its constructor is called with one argument."""
    ours = SphericalTensor(lmax, *parities)
    for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(other) is SphericalTensor and other == ours


@pytest.mark.parametrize("lmax", [0, 1, 5, 12])
@pytest.mark.usefixtures("double")
def test_values_are_those_of_e3nn(lmax):
    ours, theirs = both(lmax)
    signal, r = ours.randn(2, 3, -1), torch.randn(4, 1, 3)
    assert_same(ours.signal_xyz(signal, r), theirs.signal_xyz(signal, r))
    assert_same(ours.signal_xyz(signal[0, 0], r[0, 0]), theirs.signal_xyz(signal[0, 0], r[0, 0]))
    assert_same(ours.norms(signal), theirs.norms(signal))
    pos, values = torch.randn(2, 1, 6, 3), torch.randn(5, 1)
    assert_same(ours.sum_of_diracs(pos, values), theirs.sum_of_diracs(pos, values))
    pos[0, 0, 0] = 0.0
    assert_same(ours.signal_xyz(signal, pos), theirs.signal_xyz(signal, pos))
    assert_same(ours.sum_of_diracs(pos, values), theirs.sum_of_diracs(pos, values))


@pytest.mark.parametrize("arguments", [{"res": 30}, {"res": (30, 28), "normalization": "component"}, {"res": (26, 31)}])
@pytest.mark.usefixtures("double")
def test_grid_is_that_of_e3nn(arguments):
    ours, theirs = both(5)
    signal = ours.randn(2, 3, -1)
    found, expected = ours.signal_on_grid(signal, **arguments), theirs.signal_on_grid(signal, **arguments)
    assert_same(found.grid, expected.grid)
    assert_same(found.values, expected.values)
    assert found._fields == ("grid", "values")


@pytest.mark.usefixtures("double")
def test_samples_are_those_of_e3nn():
    ours, theirs = both(5)
    pos, values = torch.randn(2, 1, 9, 3), torch.randn(3, 9)
    assert_same(ours.from_samples_on_s2(pos, values, 30), theirs.from_samples_on_s2(pos, values, 30))
    pos[0, 0, 0] = 0.0  # a sample without direction: e3nn puts it at distance 1 of all points
    assert_same(ours.from_samples_on_s2(pos, values, 30), theirs.from_samples_on_s2(pos, values, 30))


def test_samples_in_pieces(monkeypatch):
    sphere, pos, values = SphericalTensor(3, 1, -1), torch.randn(2, 9, 3), torch.randn(2, 9)
    expected = sphere.from_samples_on_s2(pos, values, 20)
    monkeypatch.setattr(irrepnet.io.interpolation, "_MOST_DISTANCES", 40)
    assert torch.equal(sphere.from_samples_on_s2(pos, values, 20), expected)


def test_many_samples_give_the_signal_back():
    sphere = SphericalTensor(3, 1, -1)
    signal = sphere.randn(-1, dtype=torch.float64)
    pos = torch.randn(3000, 3, dtype=torch.float64)
    found = sphere.from_samples_on_s2(pos, sphere.signal_xyz(signal, pos), res=50)
    assert (found - signal).norm() < 0.05 * signal.norm()


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.usefixtures("double")
def test_peaks_are_those_of_e3nn(with_values):
    ours, theirs = both(4)
    for n in (1, 5, 20, 24):
        pos, values = torch.randn(n, 3), torch.randn(n) if with_values else None
        assert_same(ours.with_peaks_at(pos, values), theirs.with_peaks_at(pos, values), 1e-8)  # e3nn squares Y
    pos[3], values = 0.0, torch.ones(()).expand(1)  # one value for all, and a zero vector that has it
    assert_same(ours.with_peaks_at(pos[:9], values), theirs.with_peaks_at(pos[:9], values), 1e-9)


@given(lmax=st.integers(0, 20), share=st.floats(0.0, 1.0), seed=st.integers(0, 2**16))
def test_exact_at_the_points(lmax, share, seed):
    """Any lmax + 1 different directions are independent; e3nn ends at degree 12 (its harmonics do)."""
    generator = torch.Generator().manual_seed(seed)
    sphere, n = SphericalTensor(lmax, 1, -1), round(share * (lmax + 1))
    pos = torch.randn(2, n, 3, generator=generator, dtype=torch.float64)
    for values in (None, torch.randn(2, n, generator=generator, dtype=torch.float64)):
        signal = sphere.with_peaks_at(pos, values)
        found = torch.stack([sphere.signal_xyz(*one) for one in zip(signal, pos, strict=True)])
        assert_same(found, pos.norm(dim=-1) if values is None else values, 1e-10)


def test_smallest_of_all_that_are_exact():
    sphere, pos = SphericalTensor(5, 1, -1), torch.randn(6, 3, dtype=torch.float64)
    signal = sphere.with_peaks_at(pos)
    Y = sphere.signal_xyz(torch.eye(36, dtype=torch.float64), pos)  # [36, 6]
    expected = torch.linalg.lstsq(Y.T, pos.norm(dim=1), driver="gelsd").solution
    assert_same(signal, expected)


def test_fit_where_exactness_cannot_be():
    """e3nn refuses: corners of a cube at degree 1, two lengths in one direction."""
    _, theirs = both(1)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    lengths = torch.tensor([1.0, 2, 1, 4, 2, 3, 1, 2], dtype=torch.float64)  # not a linear function of the corner
    with pytest.raises(AssertionError):
        theirs.with_peaks_at(corners.float(), lengths.float())
    sphere = SphericalTensor(1, 1, -1)
    signal = sphere.with_peaks_at(corners, lengths)
    Y = sphere.signal_xyz(torch.eye(4, dtype=torch.float64), corners)
    assert_same(signal, torch.linalg.lstsq(Y.T, lengths).solution)

    sphere, x = SphericalTensor(4, 1, -1), torch.tensor([[1.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    assert_same(sphere.signal_xyz(sphere.with_peaks_at(x), x), x.new_tensor([1.5, 1.5, 1.0]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_direction_twice_is_one(dtype):
    """Up to rounding of directions, which must not be blown up."""
    sphere, pos = SphericalTensor(4, 1, -1), torch.randn(5, 3, dtype=dtype)
    twice = torch.cat([pos, pos * 3 / 3 + torch.finfo(dtype).eps * torch.randn_like(pos)])
    values = torch.randn(5, dtype=dtype)
    expected = sphere.with_peaks_at(pos, values)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    assert_same(sphere.with_peaks_at(twice, values.repeat(2)), expected, tolerance)


def arc(n, step, dtype):
    """Directions side by side on a great circle."""
    angles = torch.arange(n, dtype=torch.float64) * step
    return torch.stack([angles.sin(), 0 * angles, angles.cos()], dim=1).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "n", "step"),
    [
        (torch.float64, 2, 1e-7), (torch.float64, 3, 1e-4), (torch.float64, 3, 1e-5), (torch.float64, 4, 1e-4),
        (torch.float64, 5, 3e-3), (torch.float32, 2, 1e-3), (torch.float32, 3, 1e-2), (torch.float32, 3, 3e-3),
        (torch.float32, 4, 1e-2), (torch.float32, 5, 5e-2),
    ],
)  # fmt: skip
def test_exact_at_clusters(dtype, n, step):
    """Unequal values side by side, as well as coefficients of this dtype can hold so steep a signal."""
    sphere, pos = SphericalTensor(4, 1, -1), arc(n, step, dtype)
    values = torch.tensor([1.0, -1.0] * n, dtype=dtype)[:n]
    found = sphere.signal_xyz(sphere.with_peaks_at(pos, values).double(), pos.double())
    assert (found - values).abs().max() < torch.finfo(dtype).eps * step ** (1 - n) < 0.5 * n


@pytest.mark.parametrize(("dtype", "n", "step"), [(torch.float64, 5, 1e-5), (torch.float32, 5, 3e-3)])
def test_clusters_too_narrow_are_fitted(dtype, n, step):
    """Values no further off than without a signal, and coefficients that the dtype can hold."""
    sphere, pos = SphericalTensor(4, 1, -1), arc(n, step, dtype)
    values = torch.tensor([1.0, -1.0] * n, dtype=dtype)[:n]
    signal = sphere.with_peaks_at(pos, values)
    assert (sphere.signal_xyz(signal.double(), pos.double()) - values).norm() < values.norm()
    assert signal.norm() < values.norm() / irrepnet.io.spherical_tensor._LEAST[dtype]


def test_directions_that_are_one_in_any_order():
    """The mean of directions and values, whichever comes first; and its derivative, along which they stay one."""
    sphere, shift = SphericalTensor(3, 1, -1), torch.tensor([0.0, 1e-4, 0.0])
    pos = torch.stack([torch.tensor([1.0, 0, 0]), torch.tensor([1.0, 0, 0]) + shift, torch.tensor([0, 0, 1.0])])
    values = torch.tensor([1.0, 3.0, -1.0])
    signal = sphere.with_peaks_at(pos, values)
    assert_same(sphere.with_peaks_at(pos.flip(0), values.flip(0)), signal, 1e-6)
    merged = torch.stack([pos[:2].mean(dim=0), pos[2]])
    assert_same(sphere.with_peaks_at(merged, torch.tensor([2.0, -1.0])), signal, 1e-6)
    weights = torch.randn(16)
    slopes = torch.func.grad(lambda pos: sphere.with_peaks_at(pos, values) @ weights)(pos)
    slope = torch.func.grad(lambda pos: sphere.with_peaks_at(pos, values[[1, 2]] - values.new_tensor([1, 0])) @ weights)
    expected = slope(merged)
    assert_same(slopes[0] + slopes[1], expected[0], 1e-3)
    assert_same(slopes[2], expected[1], 1e-3)


def test_many_values_for_one_set_of_directions(monkeypatch):
    """One pseudoinverse, of the shape of the vectors, and one search, whatever rows of values there are."""
    sphere, pos = SphericalTensor(4, 1, -1), torch.randn(3, 1, 6, 3, dtype=torch.float64)
    values = torch.randn(2, 1, 5, 6, dtype=torch.float64)
    pos[1, 0, 2], values[..., 2] = 0.0, 0.0
    sets = []
    for name in ("harmonic_pseudoinverse", "nearest_samples"):
        work = getattr(irrepnet.io.interpolation, name)

        def counted(*args, work=work):
            result = work(*args)
            sets.append(math.prod(result.shape) // result.shape[-1])  # rows
            return result

        monkeypatch.setattr(irrepnet.io.spherical_tensor, name, counted)
    found = [sphere.with_peaks_at(pos, values), sphere.from_samples_on_s2(pos, values, 12)]
    assert sets == [3 * 25, 3]
    for i, j, k in ((0, 0, 0), (1, 1, 3), (1, 2, 4)):
        one = pos[j, 0], values[i, 0, k]
        assert_same(found[0][i, j, k], sphere.with_peaks_at(*one))
        assert_same(found[1][i, j, k], sphere.from_samples_on_s2(*one, 12))
    one = torch.tensor([[0.0, 2.0, 0.0]], dtype=torch.float64)  # one direction for all, which gets their mean
    assert_same(sphere.signal_xyz(sphere.with_peaks_at(one, values[0, 0, 0]), one), values[0, 0, 0].mean()[None])


def test_zero_vectors_shared_by_many_values():
    """A zero vector counts for all rows of values where one of them is not zero."""
    sphere, pos = SphericalTensor(2, 1, -1), torch.tensor([[0.0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    values = torch.tensor([[1.0, 0.5], [1.0, 0.0]], dtype=torch.float64)
    assert_same(sphere.signal_xyz(sphere.with_peaks_at(pos, values), pos), values)


def test_a_value_of_zero_is_a_value():
    """e3nn leaves such points out, and its signal is 0.075 at the second one here."""
    sphere, theirs = both(4)
    pos, values = torch.eye(3)[:2], torch.tensor([1.0, 0.0])
    assert theirs.signal_xyz(theirs.with_peaks_at(pos, values), pos)[1] > 0.05
    assert_same(sphere.signal_xyz(sphere.with_peaks_at(pos, values), pos), values, 1e-6)


def test_padding_and_nothing():
    sphere, pos = SphericalTensor(4, 1, -1), torch.randn(4, 3, dtype=torch.float64)
    padded = torch.cat([pos, torch.zeros(3, 3, dtype=torch.float64)])
    assert_same(sphere.with_peaks_at(padded), sphere.with_peaks_at(pos))
    values = torch.randn(4, dtype=torch.float64)
    assert_same(
        sphere.with_peaks_at(padded, torch.cat([values, values.new_zeros(3)])), sphere.with_peaks_at(pos, values)
    )
    for empty in (pos[:0], padded[4:]):  # e3nn's answer is float32, or an error
        assert torch.equal(sphere.with_peaks_at(empty), torch.zeros(25, dtype=torch.float64))
    assert sphere.with_peaks_at(torch.zeros(2, 0, 7, 3)).shape == (2, 0, 25)
    assert sphere.sum_of_diracs(torch.empty(1, 0, 2, 3), torch.empty(2, 0, 1)).shape == (2, 0, 25)
    assert sphere.from_samples_on_s2(torch.empty(2, 0, 9, 3), torch.empty(2, 0, 9)).shape == (2, 0, 25)
    assert torch.equal(sphere.from_samples_on_s2(pos[:0], values[:0]), torch.zeros(25, dtype=torch.float64))
    assert sphere.signal_xyz(torch.empty(0, 25), torch.empty(3, 0, 3)).shape == (0, 3, 0)
    assert sphere.norms(torch.empty(0, 25)).shape == (0, 5)


@pytest.mark.parametrize("parities", PARITIES)
def test_all_parities(parities):
    """For p_val = -1 e3nn's harmonics refuse the irreps, though the harmonics have nothing to do with it."""
    sphere, plain = SphericalTensor(3, *parities), SphericalTensor(3, 1, -1)
    signal, pos, values = torch.randn(16), torch.randn(5, 3), torch.randn(5)
    assert torch.equal(sphere.signal_xyz(signal, pos), plain.signal_xyz(signal, pos))
    assert torch.equal(sphere.sum_of_diracs(pos, values), plain.sum_of_diracs(pos, values))
    assert torch.equal(sphere.with_peaks_at(pos, values), plain.with_peaks_at(pos, values))


@pytest.mark.parametrize("lmax", [3, 20])
@pytest.mark.parametrize("parities", PARITIES)
def test_inversion_and_rotation(lmax, parities):
    p_val, p_arg = parities
    sphere, r = SphericalTensor(lmax, p_val, p_arg), torch.randn(5, 3, dtype=torch.float64)
    signal, inversion = sphere.randn(-1, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)
    inverted = sphere.D_from_matrix(inversion) @ signal
    assert_same(sphere.signal_xyz(inverted, r), p_val * sphere.signal_xyz(signal, p_arg * r))
    R = rand_matrix(dtype=torch.float64)
    assert_same(sphere.signal_xyz(sphere.D_from_matrix(R) @ signal, r @ R.T), sphere.signal_xyz(signal, r), 1e-11)


def test_equivariance():
    sphere = SphericalTensor(6, 1, -1)
    assert_equivariant(lambda x: sphere.with_peaks_at(x.view(-1, 4, 3)), "4x1o", sphere, inputs=[torch.randn(5, 12)])
    x = [torch.randn(5, 12, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)]
    for method in (sphere.with_peaks_at, sphere.sum_of_diracs):
        assert_equivariant(lambda x, v, f=method: f(x.view(-1, 4, 3), v), ["4x1o", "4x0e"], sphere, inputs=x)
    assert_equivariant(sphere.norms, sphere, "7x0e", dtype=torch.float64)


def test_degree_20_against_scipy():
    r = torch.nn.functional.normalize(torch.randn(6, 3, dtype=torch.float64), dim=1)
    found = SphericalTensor(20, 1, -1).signal_xyz(torch.eye(441, dtype=torch.float64), r)  # [441, 6]
    theta, phi = r[:, 1].acos().numpy(), torch.atan2(r[:, 0], r[:, 2]).numpy()  # polar axis y, azimuth from z to x
    for l in (13, 20):
        for m in range(-l, l + 1):
            Y = torch.from_numpy(scipy.special.sph_harm_y(l, abs(m), theta, phi)) * (-1) ** m  # without Condon-Shortley
            expected = Y.real if m == 0 else 2**0.5 * (Y.real if m > 0 else Y.imag)
            assert_same(found[l * l + l + m], expected, 1e-11)


METHODS = {
    "signal_xyz": (lambda s, c, r, v: s.signal_xyz(c, r), (0, 1)),
    "norms": (lambda s, c, r, v: s.norms(c), (0,)),
    "with_peaks_at": (lambda s, c, r, v: s.with_peaks_at(r), (1,)),
    "with_peaks_at-values": (lambda s, c, r, v: s.with_peaks_at(r, v), (1, 2)),
    "sum_of_diracs": (lambda s, c, r, v: s.sum_of_diracs(r, v), (1, 2)),
    "signal_on_grid": (lambda s, c, r, v: s.signal_on_grid(c, 8).values, (0,)),
    "from_samples_on_s2": (lambda s, c, r, v: s.from_samples_on_s2(r, v, 8), (2,)),
    "plot": (lambda s, c, r, v: s.plot(c[0, 0], res=8)[1], (0,)),
}
SPHERE = SphericalTensor(3, 1, -1)


def arguments(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    return [draw(2, 3, 16), draw(2, 4, 3), draw(2, 4)]


@pytest.mark.parametrize("name", METHODS)
def test_second_derivatives(name):
    method, which = METHODS[name]
    x = arguments()
    f = lambda *free: method(SPHERE, *[free[which.index(i)] if i in which else x[i] for i in range(3)])
    free = [x[i].requires_grad_() for i in which]
    assert torch.autograd.gradcheck(f, free, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, free, fast_mode=True)


@pytest.mark.parametrize("name", METHODS)
def test_finite_derivatives_at_zero(name):
    """e3nn's norms have NaN second derivatives there, and its peaks none at all."""
    method, which = METHODS[name]
    x = [torch.zeros_like(a).requires_grad_(i in which) for i, a in enumerate(arguments())]
    free = [x[i] for i in which]
    first = torch.autograd.grad(method(SPHERE, *x).sum(), free, create_graph=True)
    total = sum((g * g).sum() + g.sum() for g in first)
    second = torch.autograd.grad(total, free, allow_unused=True, materialize_grads=True) if total.requires_grad else ()
    assert all(g.isfinite().all() for g in (*first, *second))


@pytest.mark.parametrize("name", METHODS)
def test_float32_and_other_devices(name):
    method, _ = METHODS[name]
    expected, found = method(SPHERE, *arguments()), method(SPHERE, *arguments(torch.float32))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    moved = method(SPHERE, *(x.to("meta") for x in arguments()))
    assert (moved.device.type, moved.shape, moved.dtype) == ("meta", expected.shape, expected.dtype)


@pytest.mark.parametrize("name", ["signal_xyz", "norms", "with_peaks_at", "with_peaks_at-values", "sum_of_diracs"])
def test_compiles_and_exports(name):
    method, _ = METHODS[name]

    class Module(torch.nn.Module):
        def forward(self, c, r, v):
            return method(SPHERE, c, r, v)

    x = arguments()
    torch._dynamo.reset()
    assert_same(torch.compile(Module(), fullgraph=True, backend="aot_eager")(*x), method(SPHERE, *x), 1e-13)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(Module(), tuple(x), dynamic_shapes=({0: rows}, {0: rows}, {0: rows})).module()
    more = [torch.cat([a, a]) for a in x]
    assert_same(program(*more), method(SPHERE, *more), 1e-13)
