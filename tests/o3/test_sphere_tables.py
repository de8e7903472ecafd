import numpy as np
import pytest

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.o3.sphere_tables import complete_resolution, fejer_weights, polar_angles


@pytest.mark.parametrize("res", [1, 2, 3, 6, 7, 20, 61])
def test_quadrature_is_exact_for_polynomials(res):
    z, weights = np.cos(polar_angles(res)), fejer_weights(res)
    assert weights.min() > 0 and weights.sum() == pytest.approx(1, abs=1e-15)
    for k in range(res):
        mean = 0.0 if k % 2 else 1 / (k + 1)  # of z^k over the sphere
        assert weights @ z**k == pytest.approx(mean, abs=1e-15)


def test_quadrature_is_not_exact_beyond():
    res = 6
    assert abs(fejer_weights(res) @ np.cos(polar_angles(res)) ** res - 1 / (res + 1)) > 1e-4


def test_resolutions_of_e3nn():
    """What e3nn 0.6 chooses."""
    for lmax, res, expected in [
        (3, None, (3, 8, 7)),
        (None, 10, (4, 10, 9)),
        (3, (None, 9), (3, 8, 9)),
        (3, (10, None), (3, 10, 9)),
        (None, (None, 9), (4, 10, 9)),
        (None, (None, 8), (3, 8, 8)),
        (2, 20, (2, 20, 19)),
        (0, None, (0, 2, 1)),
    ]:
        assert complete_resolution("grid", lmax, res) == expected


def test_odd_numbers_of_polar_angles():
    """e3nn has even ones only."""
    assert complete_resolution("grid", None, 9) == (4, 9, 9)
    assert complete_resolution("grid", 4, (9, 9)) == (4, 9, 9)


def test_a_coarse_grid_is_refused_with_the_smallest_that_is_not():
    for res in [(6, 7), (8, 6), (7, 5)]:
        with pytest.raises(
            ConfigError, match=r"grid of lmax = 3 needs res = \(7, 7\) or finer; got \(\d, \d\), good up"
        ):
            complete_resolution("grid", 3, res)
        assert complete_resolution("grid", 3, res, allow_aliasing=True) == (3, *res)
    assert complete_resolution("grid", 3, (7, 7)) == (3, 7, 7)
    with pytest.raises(ConfigError, match=r"needs lmax >= 0, or a resolution.*got lmax = None, res = None"):
        complete_resolution("grid", None, None)
    wrong = [(-1, None), (None, 0), (1.5, None), (2, (5.0, 5)), (3, (8, 7, 6)), (3, "8"), (True, None), (0, True)]
    for lmax, res in [*wrong, (2, ()), (None, (None, None)), (2, np.array([6, 5]))]:
        with pytest.raises(ConfigError, match=r"positive integers"):
            complete_resolution("grid", lmax, res)


def test_factors_are_counted():
    import torch

    from irrepnet import o3

    with pytest.raises(ShapeError, match=r"one factor for each degree, \[3\]; got \[2\]"):
        o3.ToS2Grid(2, normalization=torch.ones(2))
    for dtype in (torch.complex64, torch.int64):
        with pytest.raises(DtypeError, match=r"needs real floating-point numbers; got torch"):
            o3.ToS2Grid(2, normalization=torch.ones(3, dtype=dtype))
    with pytest.raises(ConfigError, match=r"which are constant; got one with requires_grad=True"):
        o3.ToS2Grid(2, normalization=torch.ones(3, requires_grad=True))
    with pytest.raises(ConfigError, match=r"which are constant; got one on 'meta'"):
        o3.ToS2Grid(2, normalization=torch.ones(3, device="meta"))
    for other in ([1, 1, 1], np.ones(3), None, {}):
        with pytest.raises(ConfigError, match=r"normalization must be component, norm, integral or a tensor; got"):
            o3.ToS2Grid(2, normalization=other)


def test_factors_are_copied():
    """A later change of the tensor must not reach the module through its next cast."""
    import torch

    from irrepnet import o3

    factors = torch.ones(3, dtype=torch.float64)
    grid = o3.ToS2Grid(2, normalization=factors, dtype=torch.float64)
    expected = grid(torch.ones(9, dtype=torch.float64))
    factors.zero_()
    assert torch.equal(grid.to("cpu")(torch.ones(9, dtype=torch.float64)), expected)


def test_integers_of_numpy_are_integers():
    assert complete_resolution("grid", np.int64(3), (np.int32(8), None)) == (3, 8, 7)
