"""What signals on the sphere refuse, and in which words."""

import numpy as np
import pytest
import torch

from irrepnet.errors import ConfigError, DataError, DtypeError, IrrepsError, ShapeError
from irrepnet.io.signal_arguments import as_integer, need_tensors
from irrepnet.io.spherical_tensor import SphericalTensor

SPHERE = SphericalTensor(4, 1, -1)
POINTS, VALUES = torch.randn(7, 3), torch.randn(7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 1, 1), "needs a degree lmax = 0, 1, 2, ...; got lmax = -1"),
        ((2.0, 1, 1), "got lmax = 2.0"),
        ((True, 1, 1), "got lmax = True"),
        ((2, 5, 1), r"needs p_val = 1 \(even\) or -1 \(odd\); got p_val = 5"),
        ((2, 1, "o"), "got p_arg = 'o'"),
    ],
)
def test_what_is_no_signal(arguments, words):
    with pytest.raises(IrrepsError, match=words):
        SphericalTensor(*arguments)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SPHERE.signal_xyz(torch.randn(24), POINTS), r"signal \[\.\.\., 25\] for lmax = 4; got signal \[24\]"),
        (lambda: SPHERE.signal_xyz(torch.randn(25), torch.randn(7, 2)), r"needs r \[\.\.\., 3\].*got r \[7, 2\]"),
        (lambda: SPHERE.norms(torch.tensor(1.0)), r"norms needs signal \[\.\.\., 25\].*got signal \[\]"),
        (lambda: SPHERE.with_peaks_at(torch.randn(3)), r"vectors \[\.\.\., N, 3\].*got vectors \[3\]"),
        (lambda: SPHERE.with_peaks_at(POINTS.T), r"got vectors \[3, 7\]"),
        (
            lambda: SPHERE.with_peaks_at(POINTS, VALUES[:3]),
            r"one value for each.*vectors \[7, 3\] and values \[3\]",
        ),
        (lambda: SPHERE.sum_of_diracs(POINTS, torch.tensor(1.0)), r"positions \[7, 3\] and values \[\]"),
        (lambda: SPHERE.from_samples_on_s2(POINTS, torch.randn(3, 8)), r"positions \[7, 3\] and values \[3, 8\]"),
        (lambda: SPHERE.signal_on_grid(torch.randn(2, 9)), r"signal \[\.\.\., 25\] for lmax = 4; got signal \[2, 9\]"),
        (lambda: SPHERE.plot(torch.randn(2, 25)), r"plot needs one signal \[25\]; got signal \[2, 25\]"),
        (lambda: SPHERE.find_peaks(torch.randn(2, 25)), r"got signal \[2, 25\]\. Use io\.find_peaks for many"),
        (lambda: SPHERE.plot(torch.randn(25), torch.randn(2)), r"one center \[3\]; got center \[2\]"),
        (lambda: SPHERE.plot(torch.randn(25), torch.tensor(1.0)), r"got center \[\]"),
        (lambda: SPHERE.plot(torch.randn(25), torch.randn(100, 1, 3)), r"one center \[3\]; got center \[100, 1, 3\]"),
        (lambda: SPHERE.plotly_surface(torch.randn(2, 25), torch.randn(3, 3)), "one centre .3. for each of 2 signals"),
        (lambda: SPHERE.plotly_surface(torch.randn(3, 25), torch.randn(3)), r"3 signals; got centers \[3\]"),
        (lambda: SPHERE.plotly_surface(torch.randn(25), torch.tensor(1.0)), r"centers \[\.\.\., 3\].*centers \[\]"),
    ],
)
def test_wrong_shapes(call, words):
    with pytest.raises(ShapeError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SPHERE.signal_xyz(torch.randn(25), POINTS.double()), "signal torch.float32, r torch.float64"),
        (lambda: SPHERE.with_peaks_at(POINTS, VALUES.double()), "vectors torch.float32, values torch.float64"),
        (lambda: SPHERE.with_peaks_at(POINTS.long()), "floating-point tensors of one dtype; got vectors torch.int64"),
        (lambda: SPHERE.sum_of_diracs(POINTS, [1.0] * 7), "positions torch.float32, values list"),
        (lambda: SPHERE.with_peaks_at(POINTS.half()), "vectors in float32 or float64; got torch.float16"),
        (lambda: SPHERE.with_peaks_at(POINTS.bfloat16()), "got torch.bfloat16"),
        (lambda: SPHERE.find_peaks(torch.zeros(25, dtype=torch.int64)), "floating-point.*got signal torch.int64"),
        (lambda: SPHERE.find_peaks(torch.zeros(25, dtype=torch.float16)), "float32 or float64; got torch.float16"),
        (lambda: SPHERE.find_peaks([0.0] * 25), "got signal list"),
        (lambda: SPHERE.plot(torch.randn(25), POINTS[0].double()), "center in torch.float32.*got torch.float64"),
        (lambda: SPHERE.plot(torch.randn(25), [0.0, 0.0, 1.0]), "center in torch.float32.*got list"),
        (lambda: SPHERE.plotly_surface(torch.randn(25), POINTS[:1].double()), "centers torch.float64"),
    ],
)
def test_wrong_dtypes(call, words):
    with pytest.raises(DtypeError, match=words):
        call()


def test_lengths_are_even():
    with pytest.raises(IrrepsError, match=r"needs p_val = 1 where the lengths of.* got p_val = -1"):
        SphericalTensor(2, -1, -1).with_peaks_at(POINTS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SPHERE.find_peaks(torch.randn(25), res=9), "res >= 10 for lmax = 4; got res = 9"),
        (lambda: SPHERE.signal_on_grid(torch.randn(25), res=8), "9"),
        (lambda: SPHERE.from_samples_on_s2(POINTS, VALUES, res=8), "9"),
    ],
)
def test_grids_too_coarse(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_the_coarsest_grids_that_are_not():
    assert len(SPHERE.find_peaks(SPHERE.with_peaks_at(POINTS[:1]), res=10)[0]) > 0
    assert SPHERE.signal_on_grid(torch.randn(25), res=9).values.shape == (9, 9)
    assert SPHERE.plot(torch.randn(25), res=9)[1].shape == (9, 10)
    signal = torch.randn(25, dtype=torch.float64)
    grid, values = SPHERE.signal_on_grid(signal, res=9)  # the samples are the points, so nothing is lost
    back = SPHERE.from_samples_on_s2(grid.reshape(-1, 3), values.reshape(-1), res=9)
    torch.testing.assert_close(back, signal, rtol=1e-12, atol=1e-12)


def test_integers_of_numpy_and_torch():
    for lmax in (np.int64(4), torch.tensor(4)):
        sphere = SphericalTensor(lmax, np.int64(1), np.int64(-1))
        assert sphere == SPHERE and repr(sphere) == repr(SPHERE) and type(sphere[3].ir.l) is int
    signal = SPHERE.with_peaks_at(POINTS[:2])
    for found, expected in zip(SPHERE.find_peaks(signal, np.int64(50)), SPHERE.find_peaks(signal, 50), strict=True):
        assert torch.equal(found, expected)
    assert [as_integer(x) for x in (np.int32(-3), 2.0, "2", None, False)] == [-3, None, None, None, None]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("n", [1, 7])
def test_vectors_that_are_not_finite(n, wrong):
    vectors = torch.randn(2, n, 3)
    vectors[1, 0, 2] = wrong
    for values in (None, torch.randn(n)):
        with pytest.raises(DataError, match="with_peaks_at needs finite vectors; got a NaN or an infinity"):
            SPHERE.with_peaks_at(vectors, values)


def test_what_fits_passes():
    need_tensors("f", 1, signal=torch.zeros(0, 4), r=torch.zeros(3))
    need_tensors("f", 1, positions=torch.zeros(2, 1, 5, 3), values=torch.zeros(4, 1))
    need_tensors("f", 1, vectors=torch.zeros(0, 3), values=None)
