import math

import e3nn.o3
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from irrepnet import o3
from irrepnet.errors import BackendError, ConfigError, DtypeError, IrrepsError, ShapeError

NORMALIZATIONS = ("integral", "component", "norm")


def vectors(*shape):
    return torch.randn(*shape, 3, dtype=torch.float64)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_equal_e3nn(normalize, normalization):
    x = vectors(20) / 2
    for l in range(9):
        ours = o3.spherical_harmonics(l, x, normalize, normalization)
        torch.testing.assert_close(
            ours, e3nn.o3.spherical_harmonics(l, x, normalize, normalization), rtol=1e-12, atol=1e-12
        )


def test_equal_scipy_at_degree_12():
    x = vectors(50)
    x = x / x.norm(dim=-1, keepdim=True)
    theta, phi = (
        torch.arccos(x[:, 1]).numpy(),
        torch.atan2(x[:, 0], x[:, 2]).numpy(),
    )  # polar axis y, azimuth from z to x
    Y = o3.spherical_harmonics(12, x, True).numpy()
    for m in range(-12, 13):
        complex_one = sph_harm_y(12, abs(m), theta, phi) * (-1) ** m  # without the Condon-Shortley phase
        part = complex_one.imag if m < 0 else complex_one.real
        np.testing.assert_allclose(Y[:, m + 12], part * (1 if m == 0 else math.sqrt(2)), rtol=0, atol=1e-12)


@given(st.lists(st.integers(0, 6), max_size=4), st.sampled_from(NORMALIZATIONS), st.booleans())
def test_degrees_in_any_order(ls, normalization, normalize):
    x = vectors(3)
    parts = [o3.spherical_harmonics(l, x, normalize, normalization) for l in ls]
    expected = torch.cat(parts, dim=-1) if parts else x[:, :0]
    assert torch.equal(o3.spherical_harmonics(ls, x, normalize, normalization), expected)
    irreps = o3.Irreps([o3.Irrep(f"{l}y") for l in ls])
    assert torch.equal(o3.SphericalHarmonics(irreps, normalize, normalization)(x), expected)


def test_normalisations_on_the_sphere():
    x = vectors(10)
    for l in range(7):
        ones = torch.ones(10, dtype=torch.float64)
        norms = {n: o3.spherical_harmonics(l, x, True, n).norm(dim=-1) for n in NORMALIZATIONS}
        torch.testing.assert_close(norms["component"], ones * math.sqrt(2 * l + 1))
        torch.testing.assert_close(norms["norm"], ones)
        torch.testing.assert_close(norms["integral"], ones * math.sqrt((2 * l + 1) / (4 * math.pi)))


@pytest.mark.parametrize("sign", [1, -1])
def test_turn_with_their_irreps(sign):
    x, R = vectors(5), sign * o3.rand_matrix(dtype=torch.float64)
    irreps = o3.Irreps.spherical_harmonics(8)
    Y = o3.SphericalHarmonics(irreps, normalize=True, normalization="component")
    torch.testing.assert_close(Y(x @ R.T), Y(x) @ irreps.D_from_matrix(R).T, rtol=0, atol=1e-12)


def test_the_zero_vector_makes_no_nan():
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    for normalize in (True, False):
        Y = o3.spherical_harmonics(range(5), x, normalize, "component")
        torch.testing.assert_close(Y, torch.eye(25, dtype=torch.float64)[:1].expand(2, -1))
        (first,) = torch.autograd.grad((Y**2 + Y).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum() + first.sum(), x)
        assert first.isfinite().all() and second.isfinite().all()
    x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1e-10, 0.0]])
    torch.testing.assert_close(o3.spherical_harmonics(1, x, True, "norm"), torch.tensor([[0.0, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e37])
def test_lengths_whose_square_leaves_the_range(scale):
    x = torch.tensor([[1.0, 0.0, 0.0], [0.3, -0.6, 0.7]])
    tiny = (scale * x).requires_grad_()
    Y = o3.spherical_harmonics([1, 2], tiny, True, "component")
    torch.testing.assert_close(Y, o3.spherical_harmonics([1, 2], x, True, "component"))
    x.requires_grad_()
    (needed,) = torch.autograd.grad(o3.spherical_harmonics([1, 2], x, True, "component").sum(), x)
    (grad,) = torch.autograd.grad(Y.sum(), tiny)
    torch.testing.assert_close(grad * scale, needed)


def test_derivatives():
    x = vectors(3).requires_grad_()
    for normalize in (True, False):
        module = o3.SphericalHarmonics([1, 3], normalize)
        assert torch.autograd.gradcheck(module, x) and torch.autograd.gradgradcheck(module, x)


def test_irreps_follow_from_each_other():
    assert o3.SphericalHarmonics(2, True).irreps_out == o3.Irreps("2e")
    assert o3.SphericalHarmonics([1, 2], True, irreps_in="1e").irreps_out == o3.Irreps("1e+2e")
    assert o3.SphericalHarmonics("1e+2e", True).irreps_in == o3.Irreps("1e")
    assert o3.SphericalHarmonics("2x2e+0e", True).irreps_in == o3.Irreps("1o")
    assert o3.SphericalHarmonics(o3.Irrep("1o"), True).irreps_out == o3.Irreps("1o")
    assert o3.SphericalHarmonics((0, 1), True).irreps_out == o3.Irreps("0e+1o")
    assert o3.SphericalHarmonics((l for l in (0, 1)), True).irreps_out == o3.Irreps("0e+1o")
    repeated = o3.spherical_harmonics("2x1o+0e", vectors(4), True)
    assert repeated.shape == (4, 7) and torch.equal(repeated[:, :3], repeated[:, 3:6])


def test_is_a_module_without_state():
    module = o3.SphericalHarmonics("0e+1o+2e", True, "component")
    assert not module.state_dict()
    x = torch.randn(2, 4, 3)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.testing.assert_close(program.module()(torch.cat([x, x])), module(torch.cat([x, x])))
    torch.testing.assert_close(torch.vmap(module)(x), module(x))
    assert torch.func.hessian(lambda r: module(r).pow(2).sum())(x[0, 0]).shape == (3, 3)
    assert module(torch.empty(0, 3)).shape == (0, 9)


@pytest.mark.parametrize(
    ("l", "options", "message"),
    [
        ("1e+2o", {}, r"degree 2 of a 1e are 2e; got 2o in irreps_out '1x1e\+1x2o'. Did you mean 2e\?"),
        ("0o", {}, "degree 0 of a 1o are 0e; got 0o"),
        ("1o", {"irreps_in": "1e"}, "degree 1 of a 1e are 1e; got 1o"),
        (2, {"irreps_in": "2x1o"}, r"needs irreps_in '1o' \(vector\) or '1e' \(pseudovector\); got '2x1o'"),
        (-1, {}, "l >= 0; got -1"),
        (1.0, {}, "got 1.0"),
        (True, {}, "got True"),
        ([True], {}, "got True"),
        ([1.5], {}, "cannot read 1.5"),
        (1, {"normalization": "componet"}, r"got 'componet'. Did you mean 'component'\?"),
    ],
)
def test_bad_requests_are_named(l, options, message):
    with pytest.raises(IrrepsError, match=message):
        o3.SphericalHarmonics(l, True, **options)


def test_normalize_is_a_flag():
    """e3nn takes the name of a normalisation there for True."""
    for call in (lambda: o3.SphericalHarmonics(1, "component"), lambda: o3.spherical_harmonics(1, vectors(2), "norm")):
        with pytest.raises(ConfigError, match=r"normalize must be True or False; got '\w+'.*normalization='component'"):
            call()


def test_integers_of_numpy_are_degrees():
    assert o3.SphericalHarmonics(np.int64(2), True).irreps_out == o3.Irreps("2e")
    assert o3.SphericalHarmonics(np.arange(3), True).irreps_out == o3.Irreps("0e+1o+2e")


def test_bad_vectors_are_named():
    with pytest.raises(ShapeError, match=r"spherical_harmonics needs x \[..., 3\]; got x \[2, 4\]"):
        o3.spherical_harmonics(1, torch.zeros(2, 4), True)
    with pytest.raises(DtypeError, match=r"got torch.int64"):
        o3.spherical_harmonics(1, torch.zeros(2, 3).long(), True)
    with pytest.raises(BackendError, match="'auto', 'reference' or 'fused'; got 'fuse'"):
        o3.spherical_harmonics(1, torch.zeros(2, 3), True, backend="fuse")
