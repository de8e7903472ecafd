import itertools

import e3nn.nn
import pytest
import torch

from irrepnet import nn, o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError

silu = torch.nn.functional.silu


@pytest.fixture(autouse=True)
def float64():
    """e3nn makes its grids in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CASES = [
    ("0e+1o+2e", silu, 10),
    ("0o+1o+2o", torch.tanh, (10, 9)),
    ("0o+1e+2o", torch.abs, 10, "norm"),
    ("0e+1e", silu, 12, "integral", 3),
    ("0e+1e+2e", silu, 12, "component", 1, True),
    ("0e", torch.tanh, None),
]


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_equal_e3nn(arguments):
    """With random rotations too, from the same seed."""
    ours, theirs = nn.S2Activation(*arguments), e3nn.nn.S2Activation(*arguments)
    assert str(ours.irreps_out) == str(theirs.irreps_out)
    x = torch.randn(3, 4, ours.irreps_in.dim)
    torch.manual_seed(0)
    expected = theirs(x)
    torch.manual_seed(0)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-12)
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize(("p_val", "act", "p_out"), [(1, silu, 1), (-1, torch.tanh, -1), (-1, torch.cos, 1)])
@pytest.mark.parametrize("p_arg", [1, -1])
def test_inversion(p_val, act, p_out, p_arg):
    irreps = o3.Irreps([(1, (l, p_val * p_arg**l)) for l in range(4)])
    module = nn.S2Activation(irreps, act, (40, 38))  # the grid holds each point's opposite, so inversion is exact
    assert module.irreps_out == o3.Irreps([(1, (l, p_out * p_arg**l)) for l in range(4)])
    x, P = torch.randn(5, 16), -torch.eye(3)
    turned = module(x @ irreps.D_from_matrix(P).T)
    torch.testing.assert_close(turned, module(x) @ module.irreps_out.D_from_matrix(P).T, rtol=0, atol=1e-12)


def error(act, res, **options):
    """Greatest failure of equivariance, relative to the output, for some rotations and signals."""
    irreps = o3.Irreps.spherical_harmonics(4)
    module = nn.S2Activation(irreps, act, res, **options)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 25, generator=generator, dtype=torch.float64)
    torch.manual_seed(1)
    R = o3.rand_matrix(10)
    D, D_out = irreps.D_from_matrix(R), module.irreps_out.D_from_matrix(R)  # [10, 25, 25]
    difference = module(x @ D.mT) - module(x) @ D_out.mT
    return (difference.abs().max() / module(x).abs().max()).item()


def test_equivariance_grows_with_resolution():
    """Exponentially for a smooth function, like a power for one with a kink."""
    smooth = [error(torch.tanh, res) for res in (10, 20, 40, 80)]
    assert all(fine < coarse / 5 for coarse, fine in itertools.pairwise(smooth)), smooth
    assert smooth[-1] < 1e-6
    kink = [error(torch.relu, res) for res in (10, 20, 40, 80)]
    assert all(fine < coarse / 2 for coarse, fine in itertools.pairwise(kink)), kink


def test_polynomials_are_exactly_equivariant_from_the_promised_resolution_on():
    """Degree 2 of lmax = 4, read up to lmax_out = 4: more than 12 angles."""
    assert error(torch.square, (13, 13)) < 1e-13
    assert error(torch.square, (12, 12)) > 1e-4
    # An even number alone gives one azimuth less, which may be one too few: degree 3 asks for more than 11.
    assert error(torch.square, (12, 12), lmax_out=3) < 1e-13
    assert error(torch.square, 12, lmax_out=3) > 1e-4


def test_random_rotations_are_reproducible_and_without_bias():
    module = nn.S2Activation("0e+1o+2e", torch.relu, 6, random_rot=True)
    x = torch.randn(9)
    torch.manual_seed(3)
    first = module(x)
    assert (module(x) - first).abs().max() > 1e-3
    torch.manual_seed(3)
    assert torch.equal(module(x), first)
    exact = nn.S2Activation("0e+1o+2e", torch.relu, 200)(x)
    mean = torch.stack([module(x) for _ in range(400)]).mean(0)
    assert (mean - exact).abs().max() < 0.3 * (first - exact).abs().max()


def test_random_rotations_inside_vmap():
    module = nn.S2Activation("0e+1o+2e", torch.square, 8, random_rot=True)  # exact on this grid, whatever the rotation
    x = torch.randn(3, 9)
    for randomness in ("different", "same"):
        torch.testing.assert_close(torch.vmap(module, randomness=randomness)(x), module(x), rtol=0, atol=1e-13)


def test_random_rotations_look_at_the_argument_first():
    module = nn.S2Activation("0e+1o", torch.tanh, 6, random_rot=True)
    with pytest.raises(ShapeError, match=r"S2Activation needs x \[..., 4\]; got x \[5\]"):
        module(torch.zeros(5))
    for wrong in (torch.zeros(4, dtype=torch.float32), [1.0]):
        with pytest.raises(DtypeError, match=r"S2Activation was made in torch.float64"):
            module(wrong)


def test_coarse_grids_on_request():
    arguments = "0e+1o+2e+3o", torch.tanh, (8, 5)
    x = torch.randn(3, 16)
    ours = nn.S2Activation(*arguments, allow_aliasing=True)
    torch.testing.assert_close(ours(x), e3nn.nn.S2Activation(*arguments)(x), rtol=0, atol=1e-12)


def test_the_moment_of_a_function_is_taken_once():
    sizes = []

    class Odd(torch.nn.Module):
        def forward(self, x):
            sizes.append(x.numel())
            return torch.tanh(x) * 1.1

    nn.S2Activation("0o+1o", Odd(), 6)
    assert sizes.count(1_000_000) == 1


def test_the_exact_factor():
    e3nn_like, exact = (nn.S2Activation("0e", silu, 4, second_moment=m) for m in ("e3nn", "exact"))
    x = torch.randn(3, 1)
    torch.testing.assert_close(e3nn_like(x) / exact(x), torch.full((3, 1), 1.679177 / 1.676532), rtol=1e-6, atol=0)


def test_functions_may_learn():
    module = nn.S2Activation("0e+1o", torch.nn.PReLU(), 6)
    assert set(module.state_dict()) == {"act.f.weight"}
    assert set(e3nn.nn.S2Activation("0e+1o", torch.nn.PReLU(), 6).state_dict()) >= {"act.f.weight"}


def test_bad_arguments_are_named():
    for irreps in ("0e+1o+2o", "1o", "2x0e", "0e+2e", "1o+0e", ""):
        with pytest.raises(IrrepsError, match=r"one irrep for each degree 0, 1, ..., lmax.*; got"):
            nn.S2Activation(irreps, torch.tanh, 10)
    with pytest.raises(ValueError, match=r"needs a function that is odd or even; got silu, which is neither. Use tanh"):
        nn.S2Activation("0o+1o", silu, 10)
    with pytest.raises(ConfigError, match=r"S2Activation of lmax = 4 needs res = \(9, 9\) or finer; got \(6, 9\)"):
        nn.S2Activation("0e+1o", torch.tanh, 6, lmax_out=4)
    with pytest.raises(ShapeError, match=r"needs x \[..., 4\]; got x \[5\]"):
        nn.S2Activation("0e+1o", torch.tanh, 6)(torch.zeros(5))
    with pytest.raises(DtypeError, match=r"got torch.float32"):
        nn.S2Activation("0e+1o", torch.tanh, 6)(torch.zeros(4, dtype=torch.float32))
    with pytest.raises(ConfigError, match=r"second_moment needs one of"):
        nn.S2Activation("0e+1o", torch.tanh, 6, second_moment="exakt")
