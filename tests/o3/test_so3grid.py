import e3nn.o3
import numpy as np
import pytest
import torch

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError


@pytest.fixture(autouse=True)
def float64():
    """e3nn makes its grids in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize(("lmax", "resolution", "aspect"), [(0, 1, 2), (2, 3, 2), (3, 5, 1.3), (4, 5, 1)])
def test_equal_e3nn(lmax, resolution, aspect):
    ours, theirs = (which.SO3Grid(lmax, resolution, aspect_ratio=aspect) for which in (o3, e3nn.o3))
    x = torch.randn(2, 3, ours.D.shape[-1])
    y = torch.randn(2, 3, ours.res_alpha, ours.res_beta, ours.res_gamma)
    assert_close(ours.to_grid(x), theirs.to_grid(x))
    assert_close(ours.from_grid(y), theirs.from_grid(y))
    for name in ("D", "qw", "alpha", "beta", "gamma"):
        assert_close(getattr(ours, name), getattr(theirs, name))
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize(
    ("lmax", "resolution", "aspect"), [(0, 1, 0.5), (1, 2, 1), (2, 3, 0.8), (5, 6, 1), (6, 7, 2), (3, 8, 0.5)]
)
def test_there_and_back(lmax, resolution, aspect):
    grid = o3.SO3Grid(lmax, resolution, aspect_ratio=aspect)
    x = torch.randn(2, sum((2 * l + 1) ** 2 for l in range(lmax + 1)))
    assert_close(grid.from_grid(grid.to_grid(x)), x)
    assert grid.qw.sum().item() * grid.res_alpha * grid.res_gamma == pytest.approx(1, abs=1e-14)


def test_values_have_the_variance_of_coefficients():
    values = o3.SO3Grid(2, 3).to_grid(torch.randn(3000, 35))
    assert values.square().mean().item() == pytest.approx(1, abs=0.03)


def test_rotations_act_on_both_sides():
    """Turning the rows of coefficients turns the signal from the left, turning the columns from the right."""
    grid, l = o3.SO3Grid(2, 3), 2
    x, g = torch.randn(5, 5), o3.rand_angles()
    coefficients = torch.zeros(35)
    D = o3.wigner_D(l, *g)
    angles = torch.meshgrid(grid.alpha, grid.beta, grid.gamma, indexing="ij")
    moved = {
        "left": (D.T @ x, o3.compose_angles(*g, *angles)),
        "right": (x @ D.T, o3.compose_angles(*angles, *g)),
    }
    for turned, points in moved.values():
        coefficients[10:] = turned.flatten()
        expected = torch.einsum("mn,...mn->...", x, o3.wigner_D(l, *points)) * (5 / 35) ** 0.5
        assert_close(grid.to_grid(coefficients), expected)


def test_repr_does_not_raise():
    """That of e3nn does."""
    assert repr(o3.SO3Grid(2, 3)) == "SO3Grid(lmax=2 res=12x6x12 (alpha x beta x gamma))"


def test_constants_are_exact_after_casts_and_to_empty():
    x = torch.randn(35)
    expected = o3.SO3Grid(2, 3).to_grid(x)
    torch.set_default_dtype(torch.float32)
    assert_close(o3.SO3Grid(2, 3).double().to_grid(x), expected, 1e-14)
    torch.set_default_dtype(torch.float64)
    assert torch.equal(o3.SO3Grid(2, 3).to("meta").to_empty(device="cpu").to_grid(x), expected)


def test_bad_arguments_are_named():
    # The round trip on such grids is wrong by as much as the signal, which e3nn does not say.
    with pytest.raises(
        ConfigError,
        match=r"lmax = 3 needs 7 angles or more each way.*got resolution = 3, aspect_ratio = 2 \(6 and 12 angles\)",
    ):
        o3.SO3Grid(3, 3)
    with pytest.raises(ConfigError, match=r"integer resolution of 4 or more.*aspect_ratio = 0.5 \(8 and 4 angles\)"):
        o3.SO3Grid(3, 4, aspect_ratio=0.5)
    for resolution in (4.0, "4", True, None, -4):
        with pytest.raises(ConfigError, match=rf"got resolution = {resolution!r}"):
            o3.SO3Grid(3, resolution)
    for aspect in (None, float("nan"), float("inf"), "2"):
        with pytest.raises(ConfigError, match=rf"aspect_ratio = {aspect!r} \(4 and 0 angles\)"):
            o3.SO3Grid(1, 2, aspect_ratio=aspect)
    assert o3.SO3Grid(np.int64(1), np.int32(2), aspect_ratio=np.float32(2)).res_alpha == 8
    with pytest.raises(ConfigError, match=r"needs normalization='component', the only one there is; got 'norm'"):
        o3.SO3Grid(1, 2, normalization="norm")
    with pytest.raises(IrrepsError, match=r"got -1"):
        o3.SO3Grid(-1, 2)
    grid = o3.SO3Grid(1, 2)
    with pytest.raises(ShapeError, match=r"needs x \[..., 10\]; got x \[9\]"):
        grid.to_grid(torch.zeros(9))
    with pytest.raises(ShapeError, match=r"needs x \[..., 8, 4, 8\]; got x \[4, 8\]"):
        grid.from_grid(torch.zeros(4, 8))
    with pytest.raises(DtypeError, match=r"got torch.float32"):
        grid.to_grid(torch.zeros(10, dtype=torch.float32))
