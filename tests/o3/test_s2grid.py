import e3nn.o3
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, ShapeError

NORMALIZATIONS = ["component", "norm", "integral"]


@pytest.fixture(autouse=True)
def float64():
    """e3nn makes its grids in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, torch.tensor([1.0, 0.5, 2.0, 3.0])], ids=str)
@pytest.mark.parametrize("res", [None, (8, 7), (10, 8), 12, (None, 9)])
def test_equal_e3nn(res, normalization):
    ours, theirs = o3.ToS2Grid(3, res, normalization), e3nn.o3.ToS2Grid(3, res, normalization)
    x = torch.randn(2, 5, 16)
    assert_close(ours(x), theirs(x))
    back, their_back = (which.FromS2Grid(res, 3, normalization, lmax_in=5) for which in (o3, e3nn.o3))
    y = torch.randn(2, 5, ours.res_beta, ours.res_alpha)
    assert_close(back(y), their_back(y))
    for a, b in ((ours, theirs), (back, their_back)):
        for name in ("alphas", "betas", "sha", "shb", "grid"):
            assert_close(getattr(a, name), getattr(b, name))
        assert (a.lmax, a.res_beta, a.res_alpha) == (b.lmax, b.res_beta, b.res_alpha)
        assert repr(a) == repr(b)
        a.load_state_dict(b.state_dict())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_there_and_back_wherever_the_grid_suffices(normalization, data):
    lmax = data.draw(st.integers(0, 9))
    finer = st.integers(2 * lmax + 1, 2 * lmax + 12)  # odd and even
    res = data.draw(finer), data.draw(finer)
    x = torch.randn(3, (lmax + 1) ** 2)
    there = o3.ToS2Grid(lmax, res, normalization)(x)
    assert_close(o3.FromS2Grid(res, lmax, normalization)(there), x)


def test_there_and_back_at_degree_30():
    """e3nn's sums of monomials lose six digits here."""
    x = torch.randn(2, 31**2)
    to_grid = o3.ToS2Grid(30)
    assert_close(o3.FromS2Grid(None, 30)(to_grid(x)), x)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_samples_are_sums_of_harmonics(normalization):
    to_grid = o3.ToS2Grid(4, (11, 6), "integral", allow_aliasing=True)
    x = torch.randn(25)
    Y = o3.spherical_harmonics(list(range(5)), to_grid.grid, True, "integral")
    assert_close(to_grid(x), Y @ x)
    if normalization != "integral":  # random signals have values of variance 1
        irreps = o3.Irreps.spherical_harmonics(4)
        values = o3.ToS2Grid(4, normalization=normalization)(irreps.randn(20000, -1, normalization=normalization))
        assert values.square().mean().item() == pytest.approx(1, abs=0.03)


def test_low_degrees_are_read_off_a_fine_signal():
    x = torch.randn(3, 36)
    values = o3.ToS2Grid(5, 20)(x)
    assert_close(o3.FromS2Grid(20, 2, lmax_in=5)(values), x[:, :9])


def test_rotations_commute_with_the_round_trip():
    """Turn the coefficients, or the points at which the signal is taken."""
    irreps, x = o3.Irreps.spherical_harmonics(3), torch.randn(16)
    R = o3.rand_matrix()
    to_grid = o3.ToS2Grid(3, normalization="integral")
    Y = o3.spherical_harmonics([0, 1, 2, 3], to_grid.grid @ R, True)  # R^-1 of the points
    assert_close(to_grid(irreps.D_from_matrix(R) @ x), Y @ x)


@pytest.mark.parametrize("res", [7, 8, 31])
def test_fourier_sums(res):
    l = 3
    *_, sha = o3.spherical_harmonics_s2_grid(l, 4, res)
    x, y = torch.randn(2, 3, res), torch.randn(2, 2 * l + 1)
    assert_close(o3.rfft(x, l), x @ sha)
    assert_close(o3.irfft(y, res), y @ sha.T)
    assert_close(o3.rfft(o3.irfft(y, res), l) / res, y)
    if res % 2:  # e3nn takes odd numbers only
        assert_close(o3.rfft(x, l), e3nn.o3.rfft(x, l))
        assert_close(o3.irfft(y, res), e3nn.o3.irfft(y, res))
    y.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda y: o3.rfft(o3.irfft(y, res).square(), l), y, fast_mode=True)


def test_fourier_sums_of_nothing():
    """Libraries of Fourier transforms refuse an empty batch."""
    x, y = torch.zeros(0, 5, requires_grad=True), torch.zeros(2, 0, 3, requires_grad=True)
    assert o3.rfft(x, 2).shape == (0, 5) and o3.irfft(y, 6).shape == (2, 0, 6)
    (o3.rfft(x, 2).sum() + o3.irfft(y, 6).sum()).backward()
    assert torch.equal(o3.rfft(torch.zeros(3, 0), 0), torch.zeros(3, 1))


def test_functions_equal_e3nn():
    for a, b in zip(o3.s2_grid(5, 7), e3nn.o3.s2_grid(5, 7), strict=True):
        assert_close(a, b, 1e-14)
    for a, b in zip(o3.spherical_harmonics_s2_grid(4, 6, 5), e3nn.o3.spherical_harmonics_s2_grid(4, 6, 5), strict=True):
        assert_close(a, b)
    assert o3.s2_grid(2, 3, torch.float32, "meta")[0].device.type == "meta"


def test_dtype_and_device_are_those_asked_for():
    grid = o3.ToS2Grid(2, dtype=torch.float32)
    assert grid(torch.randn(9, dtype=torch.float32)).dtype == torch.float32
    assert o3.FromS2Grid(6, 2, device="meta")(torch.randn(6, 5, device="meta")).shape == (9,)
    empty = o3.ToS2Grid(2, device="meta").to_empty(device="cpu")
    x = torch.randn(9)
    assert torch.equal(empty(x), o3.ToS2Grid(2)(x))


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match=r"ToS2Grid of lmax = 6 needs res = \(13, 13\) or finer; got \(12, 13\)"):
        o3.ToS2Grid(6, 12)
    # A signal of lmax = 3 on five azimuths comes back wrong, which e3nn does not say.
    with pytest.raises(ConfigError, match=r"FromS2Grid of lmax = 3 needs res = \(7, 7\)"):
        o3.FromS2Grid((8, 5), 3)
    with pytest.raises(ConfigError, match=r"got 'components'. Did you mean 'component'?"):
        o3.ToS2Grid(1, normalization="components")
    with pytest.raises(ShapeError, match=r"ToS2Grid needs x \[..., 9\]; got x \[4, 8\]"):
        o3.ToS2Grid(2)(torch.zeros(4, 8))
    with pytest.raises(ShapeError, match=r"FromS2Grid needs x \[..., 6, 5\]; got x \[5, 6\]"):
        o3.FromS2Grid(6, 2)(torch.zeros(5, 6))
    with pytest.raises(DtypeError, match=r"was made in torch.float64 on cpu; got torch.float32 on cpu"):
        o3.ToS2Grid(2)(torch.zeros(9, dtype=torch.float32))
    with pytest.raises(ShapeError, match=r"rfft of order l = 3 needs x \[..., 6 or more\]; got x \[5\]"):
        o3.rfft(torch.zeros(5), 3)
    with pytest.raises(ShapeError, match=r"odd number up to res = 3; got x \[5\]"):
        o3.irfft(torch.zeros(5), 3)
    with pytest.raises(ShapeError, match=r"odd number"):
        o3.irfft(torch.zeros(4), 9)
    with pytest.raises(DtypeError, match=r"rfft needs a floating-point tensor"):
        o3.rfft(torch.zeros(5).long(), 1)
    for half in (torch.float16, torch.bfloat16):
        with pytest.raises(DtypeError, match=r"needs float32 or float64; got torch.b?float16. Write x.float\(\)"):
            o3.rfft(torch.zeros(5, dtype=half), 1)
        with pytest.raises(DtypeError, match=r"irfft needs float32 or float64"):
            o3.irfft(torch.zeros(5, dtype=half), 6)
    with pytest.raises(ShapeError, match=r"number of angles res, a positive integer; got 'a'"):
        o3.irfft(torch.zeros(3), "a")
    for res in [(0, 0), (-1, 2), (2.5, 2), (2, "3")]:
        with pytest.raises(ConfigError, match=r"s2_grid needs positive integers; got res_beta = "):
            o3.s2_grid(*res)
    for dtype in (torch.int64, torch.complex64, "float32"):
        for make in (lambda: o3.s2_grid(2, 2, dtype), lambda: o3.ToS2Grid(2, dtype=dtype)):  # noqa: B023
            with pytest.raises(DtypeError, match=r"needs a floating-point dtype, such as torch.float64; got"):
                make()
