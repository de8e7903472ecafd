"""Peaks of signals on the sphere: exact positions, none twice, none missed, none where there is none."""

import math

import e3nn.io
import numpy as np
import pytest
import torch

import irrepnet.io.peaks
from irrepnet.errors import ConfigError, DataError, DtypeError, ShapeError
from irrepnet.io.peaks import find_peaks
from irrepnet.io.spherical_tensor import SphericalTensor
from irrepnet.o3 import rand_matrix
from irrepnet.ops.reference.spherical_harmonics import spherical_harmonics

GOLDEN = (1 + 5**0.5) / 2
POLYHEDRA = {  # corners, and the lowest degree of a signal with their symmetry that has its peaks there
    "tetrahedron": ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], 3),
    "octahedron": ([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], 4),
    "cube": ([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)], 4),
    "icosahedron": (
        [turn(x, y) for turn in (lambda x, y: [0, x, y], lambda x, y: [x, y, 0], lambda x, y: [y, 0, x])
         for x in (1, -1) for y in (GOLDEN, -GOLDEN)],
        6,
    ),
}  # fmt: skip
TURNS = {
    "as it is": torch.eye(3, dtype=torch.float64),
    "onto the poles": torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64),
    "anyhow": rand_matrix(dtype=torch.float64),
}


def corners_of(name):
    return torch.nn.functional.normalize(torch.tensor(POLYHEDRA[name][0], dtype=torch.float64), dim=1)


def distance(a, b):
    """The largest distance of a point of one set from the nearest of the other; the sets are of one size."""
    assert a.shape == b.shape
    distances = (a[:, None] - b).norm(dim=-1)
    return max(distances.amin(dim=0).max(), distances.amin(dim=1).max()) if len(a) else 0.0


def zonal(lmax, **coefficients):
    """A signal around the polar axis y, such as l2=-1.0."""
    signal = torch.zeros(1, (lmax + 1) ** 2, dtype=torch.float64)
    for name, value in coefficients.items():
        l = int(name[1:])
        signal[0, l * l + l] = value
    return signal


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", POLYHEDRA)
def test_corners_come_back(name, turn):
    corners = corners_of(name) @ TURNS[turn].T
    for lmax in (POLYHEDRA[name][1], POLYHEDRA[name][1] + 3, 14):
        sphere = SphericalTensor(lmax, 1, -1)
        pos, heights = sphere.find_peaks(sphere.with_peaks_at(corners))
        tall = heights > 0.999
        assert distance(pos[tall], corners) < 1e-12
        assert torch.allclose(heights[tall], torch.ones_like(heights[tall]), rtol=1e-12)
        assert (heights[:-1] >= heights[1:]).all()


@pytest.mark.parametrize("name", POLYHEDRA)
def test_lowest_degree_for_corners(name):
    corners, (_, lmax) = corners_of(name), POLYHEDRA[name]
    sphere = SphericalTensor(lmax - 1, 1, -1)
    pos, _ = sphere.find_peaks(sphere.with_peaks_at(corners))
    assert len(pos) != len(corners)


@pytest.mark.parametrize(("lmax", "res"), [(1, 100), (4, 10), (8, 100), (8, 18), (12, 100), (20, 100)])
def test_turns_with_the_signal(lmax, res):
    """No peak is missed on a grid that lies otherwise, at low resolution too."""
    sphere, R = SphericalTensor(lmax, 1, -1), rand_matrix(dtype=torch.float64)
    signals = sphere.randn({8: 60, 20: 3}.get(lmax, 20), -1, dtype=torch.float64)
    pos, values, batch = find_peaks(signals, res)
    turned_pos, turned_values, turned_batch = find_peaks(signals @ sphere.D_from_matrix(R).T, res)
    assert torch.equal(batch, turned_batch)
    for i in range(len(signals)):
        assert distance(pos[batch == i] @ R.T, turned_pos[turned_batch == i]) < 1e-11
    torch.testing.assert_close(turned_values, values, rtol=1e-11, atol=1e-11)


def test_every_peak_is_a_maximum_and_every_summit_is_found():
    """Against the definition: no higher point beside a peak, and no higher point anywhere than the highest peak."""
    sphere = SphericalTensor(7, 1, -1)
    signals = sphere.randn(10, -1, dtype=torch.float64)
    pos, values, batch = find_peaks(signals)
    Y = lambda r: spherical_harmonics(r, 7, normalize=True) / math.sqrt(4 * math.pi)
    beside = pos[:, None] + 1e-3 * torch.randn(len(pos), 50, 3, dtype=torch.float64)
    assert ((Y(beside) * signals[batch][:, None]).sum(-1) < values[:, None]).all()
    anywhere = (Y(torch.randn(20_000, 3, dtype=torch.float64)) @ signals.T).amax(dim=0)
    highest = torch.stack([values[batch == i][0] for i in range(10)])
    assert (anywhere <= highest).all() and (anywhere > highest - 0.05 * highest.abs()).all()


def test_number_of_peaks_by_a_descent_from_everywhere():
    """Gradient ascent from 1000 points ends in the same set of tops."""
    sphere = SphericalTensor(5, 1, -1)
    signal = sphere.randn(-1, dtype=torch.float64)
    r = torch.nn.functional.normalize(torch.randn(1000, 3, dtype=torch.float64), dim=1)
    for _ in range(800):
        r.requires_grad_()
        (slope,) = torch.autograd.grad(sphere.signal_xyz(signal, r).sum(), r)
        r = torch.nn.functional.normalize(r.detach() + 0.02 * slope, dim=1)
    pos, _ = sphere.find_peaks(signal)
    nearest = (r[:, None] - pos).norm(dim=-1).min(dim=1)
    assert nearest.values.max() < 1e-3 and set(nearest.indices.tolist()) == set(range(len(pos)))


def test_poles_and_seam():
    """The axes of e3nn's grid: y is its pole, z its seam."""
    sphere = SphericalTensor(6, 1, -1)
    for axis in torch.eye(3, dtype=torch.float64):
        for sign in (1, -1):
            pos, heights = sphere.find_peaks(sphere.with_peaks_at(2 * sign * axis[None]))
            assert distance(pos[:1], sign * axis[None]) < 1e-12 and (heights[0] - 2).abs() < 1e-12
            assert (heights[1:] < 1.0).all()


def test_finds_what_e3nn_finds_and_exactly():
    """e3nn's peaks are points of two grids; some are none: higher than what is north, south, east and west only."""
    torch.set_default_dtype(torch.float64)
    try:
        sphere, theirs = SphericalTensor(5, 1, -1), e3nn.io.SphericalTensor(5, 1, -1)
        signal = sphere.randn(-1)
        pos, heights = sphere.find_peaks(signal)
        grid_pos, grid_heights = theirs.find_peaks(signal)
    finally:
        torch.set_default_dtype(torch.float32)
    away, nearest = (grid_pos[:, None] - pos).norm(dim=-1).min(dim=1)
    near = away < 1.5 * math.pi / 100
    assert away[near].max() > 1e-3 and (heights[nearest[near]] > grid_heights[near]).all()
    assert set(nearest[near].tolist()) == set(range(len(pos)))
    assert (~near).sum() == 1
    angles = torch.linspace(0, 2 * math.pi, 100, dtype=torch.float64)
    _, across = torch.linalg.eigh(torch.eye(3, dtype=torch.float64) - grid_pos[~near].T @ grid_pos[~near])
    around = grid_pos[~near] + 0.05 * (angles.cos()[:, None] * across[:, 1] + angles.sin()[:, None] * across[:, 2])
    assert (sphere.signal_xyz(signal, around) > grid_heights[~near]).any()


@pytest.mark.parametrize(
    "signal",
    [
        zonal(0, l0=1.0),
        zonal(0),
        zonal(4),
        zonal(6, l0=-3.0),
        zonal(2, l2=-1.0),  # its maximum is the equator
        zonal(4, l2=-1.0, l0=1e6),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_peak_where_none_is_isolated(signal, dtype):
    """e3nn raises on an empty list, or returns points of the grid along the ring."""
    signal = signal.to(dtype)
    lmax = math.isqrt(signal.shape[1]) - 1
    for R in (torch.eye(3, dtype=dtype), rand_matrix(dtype=dtype)):
        turned = signal @ SphericalTensor(lmax, 1, -1).D_from_matrix(R).T
        pos, values, batch = find_peaks(turned)
        assert (pos.shape, values.shape, batch.shape) == ((0, 3), (0,), (0,))
        assert (pos.dtype, values.dtype, batch.dtype) == (dtype, dtype, torch.int64)


def test_rings_beside_peaks():
    """Rings north of the equator, which no great circle follows, and peaks on the poles."""
    signal = zonal(6, l4=1.0, l6=-0.3, l3=0.2)
    R = rand_matrix(dtype=torch.float64)
    turned = signal @ SphericalTensor(6, 1, -1).D_from_matrix(R).T
    pos, _, _ = find_peaks(turned)
    latitudes = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    meridian = torch.stack([latitudes.sin(), latitudes.cos(), torch.zeros_like(latitudes)], dim=1)
    f = SphericalTensor(6, 1, -1).signal_xyz(signal[0], meridian)
    assert ((f[1:-1] > f[:-2]) & (f[1:-1] > f[2:])).any()  # there is a ring
    assert distance(pos, torch.tensor([[0, 1.0, 0], [0, -1.0, 0]], dtype=torch.float64) @ R.T) < 1e-10


def test_an_isolated_top_without_curvature():
    """l(l+1) times the value at the pole adds up to zero: the height falls with the fourth power of the angle."""
    value = lambda l: math.sqrt((2 * l + 1) / (4 * math.pi))
    signal = zonal(4, l2=1.0, l4=-6 * value(2) / (20 * value(4)))
    R = rand_matrix(dtype=torch.float64)
    turned = signal @ SphericalTensor(4, 1, -1).D_from_matrix(R).T
    pos, _, _ = find_peaks(turned)
    assert distance(pos, torch.tensor([[0, 1.0, 0], [0, -1.0, 0]], dtype=torch.float64) @ R.T) < 1e-3


def test_a_small_peak_on_a_large_constant():
    pos, _, _ = find_peaks(zonal(1, l0=1e6, l1=1.0))
    assert distance(pos, torch.tensor([[0, 1.0, 0]], dtype=torch.float64)) < 1e-10


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_heights_near_the_ends_of_the_range(factor):
    """Curvatures are (lmax + 1)^2 times as large as heights, and their products larger yet."""
    signals = SphericalTensor(6, 1, -1).randn(3, -1, dtype=torch.float64)
    found, expected = find_peaks(signals * factor), find_peaks(signals)
    assert torch.equal(found.batch, expected.batch)
    torch.testing.assert_close(found.pos, expected.pos, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.value / factor, expected.value, rtol=1e-12, atol=1e-12)


def test_float32():
    corners = corners_of("cube")
    sphere = SphericalTensor(6, 1, -1)
    pos, heights = sphere.find_peaks(sphere.with_peaks_at(corners.float()))
    assert pos.dtype == heights.dtype == torch.float32
    assert distance(pos[heights > 0.99].double(), corners) < 1e-6


def test_many_signals_are_one_and_one():
    sphere = SphericalTensor(4, 1, -1)
    signals = sphere.randn(35, -1, dtype=torch.float64)
    signals[3], signals[34] = 0.0, 0.0
    pos, values, batch = find_peaks(signals)
    assert (batch[1:] >= batch[:-1]).all() and not {3, 34} & set(batch.tolist())
    for i in range(35):
        one_pos, one_values = sphere.find_peaks(signals[i])
        torch.testing.assert_close(one_pos, pos[batch == i], rtol=0, atol=1e-12)
        torch.testing.assert_close(one_values, values[batch == i], rtol=0, atol=1e-12)
    none = find_peaks(signals[:0])
    assert [x.shape for x in none] == [(0, 3), (0,), (0,)]


def test_derivatives():
    """The way a peak moves, against finite differences; e3nn refuses a signal that requires gradients."""
    sphere = SphericalTensor(3, 1, -1)
    signal = sphere.with_peaks_at(corners_of("tetrahedron")) + 0.05 * sphere.randn(-1, dtype=torch.float64)
    signal.requires_grad_()
    assert torch.autograd.gradcheck(sphere.find_peaks, signal, fast_mode=True)
    assert torch.autograd.gradgradcheck(sphere.find_peaks, signal, fast_mode=True)
    pos, _ = sphere.find_peaks(torch.zeros(16, requires_grad=True))
    pos.sum().backward()


def test_derivatives_of_a_symmetric_peak():
    """Equal curvatures in all directions must not make NaN."""
    sphere = SphericalTensor(4, 1, -1)
    signal = sphere.with_peaks_at(corners_of("octahedron")).requires_grad_()
    pos, values = sphere.find_peaks(signal)
    (slope,) = torch.autograd.grad(values[0] + pos.sum(), signal)
    assert slope.isfinite().all() and len(values) == 6


def test_derivatives_at_a_top_without_curvature():
    """There the position has none; a step of Newton's method would divide rounding by rounding."""
    value = lambda l: math.sqrt((2 * l + 1) / (4 * math.pi))
    sphere = SphericalTensor(4, 1, -1)
    flat = zonal(4, l2=1.0, l4=-6 * value(2) / (20 * value(4)))[0]
    signals = torch.stack([flat, sphere.with_peaks_at(corners_of("cube"))])
    signals = (signals @ sphere.D_from_matrix(TURNS["anyhow"]).T).requires_grad_()
    still = find_peaks(signals.detach())
    pos, values, batch = find_peaks(signals)
    torch.testing.assert_close(pos.detach(), still.pos, rtol=0, atol=1e-12)  # as without derivatives
    (slope,) = torch.autograd.grad(pos[batch == 0].square().sum() + pos[:, 0].sum(), signals, retain_graph=True)
    assert (slope[0] == 0).all() and (slope[1] != 0).any()
    (slope,) = torch.autograd.grad(values[batch == 0][0], signals)
    assert torch.allclose(slope[0] @ signals[0], values[0], rtol=1e-12)  # the height at a place is linear


def test_harmonics_of_the_grid_are_made_once(monkeypatch):
    sizes = []
    harmonics = irrepnet.io.peaks._harmonics
    monkeypatch.setattr(irrepnet.io.peaks, "_harmonics", lambda r, lmax: sizes.append(len(r)) or harmonics(r, lmax))
    find_peaks(SphericalTensor(3, 1, -1).randn(50, -1))
    assert sum(size > 8000 for size in sizes) == 1


@pytest.mark.parametrize(
    ("error", "signals", "res", "words"),
    [
        (ShapeError, torch.zeros(25), 100, r"signals \[B, \(lmax \+ 1\)\*\*2\]; got signals \[25\]"),
        (ShapeError, torch.zeros(2, 24), 100, r"got signals \[2, 24\]"),
        (ShapeError, torch.zeros(2, 0), 100, r"got signals \[2, 0\]"),
        (DtypeError, torch.zeros(2, 4, dtype=torch.float16), 100, "float32 or float64; got torch.float16"),
        (DtypeError, [[1.0, 0.0, 0.0, 0.0]], 100, "needs a tensor of signals in float32 or float64; got list"),
        (DtypeError, np.zeros((2, 4)), 100, "got float64"),
        (ConfigError, torch.zeros(2, 25), True, "got res = True"),
        (ConfigError, torch.zeros(2, 25), 9, "needs an integer res >= 10 for lmax = 4; got res = 9"),
        (ConfigError, torch.zeros(2, 25), 10.0, "got res = 10.0"),
        (DataError, torch.full((2, 4), torch.nan), 100, "needs finite signals"),
    ],
)
def test_what_is_refused(error, signals, res, words):
    with pytest.raises(error, match=words):
        find_peaks(signals, res)
