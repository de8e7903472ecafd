"""Activations of scalars: e3nn's values, parities, and what is refused."""

import e3nn.nn
import pytest
import torch
from hypothesis import given
from torch.nn.functional import relu, silu

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.nn import Activation
from irrepnet.o3 import Irreps
from irrepnet.testing import assert_equivariant, strategies

ACTS = {"0e": silu, "0o": torch.tanh}


def typical(irreps, **options):
    return Activation(irreps, [ACTS.get(str(ir)) for _, ir in irreps], **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(irreps=strategies.irreps(lmax=6, max_mul=4))
def test_equivariance(dtype, irreps):
    assert_equivariant(typical(irreps), irreps, irreps, dtype=dtype, trials=2)


@pytest.mark.parametrize(
    ("irreps", "acts"),
    [
        ("4x0e", [silu]),
        ("4x0e+2x0o+3x1o+2x0o", [silu, torch.tanh, None, torch.abs]),
        ("4x0e+2x0e+3x2e", [silu, silu, None]),
        ("0x0e+2x0o+0e", [silu, torch.sin, torch.sigmoid]),
        ("2x0e+1o", [None, None]),
    ],
)
def test_equals_e3nn(irreps, acts):
    ours, theirs = Activation(irreps, acts), e3nn.nn.Activation(irreps, acts)
    assert str(ours.irreps_out) == str(theirs.irreps_out)
    x = ours.irreps_in.randn(7, -1, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_exact_second_moment():
    x = torch.randn(200_000, 1)
    assert Activation("0e", [silu], second_moment="exact")(x).square().mean().item() == pytest.approx(1, abs=0.02)
    ratio = Activation("0e", [silu], second_moment="exact")(x[:5]) / Activation("0e", [silu])(x[:5])
    torch.testing.assert_close(ratio, torch.full((5, 1), 1.676532 / 1.679177))


def test_any_axis_and_no_rows():
    x = torch.randn(3, 4, 2)
    act = Activation("3x0e+0o", [silu, None])
    torch.testing.assert_close(act(x, dim=1), act(x.transpose(1, 2)).transpose(1, 2))
    assert act(torch.zeros(0, 4)).shape == (0, 4)
    assert Activation("", [])(torch.zeros(2, 0)).shape == (2, 0)


def test_modules_as_functions_are_submodules():
    act = Activation("2x0e", [torch.nn.PReLU()])
    assert [name for name, _ in act.named_parameters()] == ["acts.0.f.weight"]
    assert repr(act) == "Activation(2x0e -> 2x0e | PReLU)"
    odd = Activation("2x0o", [torch.nn.Softshrink()])
    assert str(odd.irreps_out) == "2x0o"


@pytest.fixture
def float64_default():
    """e3nn feeds a function numbers of the default dtype and of float64; one that learns takes only its own dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_functions_that_learn_load_from_e3nn(float64_default):
    irreps = "2x0e+1o+3x0e"
    acts = lambda: [torch.nn.PReLU(), None, torch.nn.PReLU()]
    ours, theirs = Activation(irreps, acts()), e3nn.nn.Activation(irreps, acts())
    theirs.acts[0].f.weight.data.fill_(0.7)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["acts.0.f.weight", "acts.2.f.weight"]
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(5, 8)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_paths_are_those_of_e3nn():
    arguments = "2x0e+0o+1o", [silu, torch.abs, None]
    ours, theirs = Activation(*arguments).paths, e3nn.nn.Activation(*arguments).paths
    assert [(mul, tuple(ir)) for mul, ir, _ in ours] == [(mul, ir) for mul, ir, _ in theirs]
    assert [act and act.f for _, _, act in ours] == [act and act.f for _, _, act in theirs] == arguments[1]
    x = torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(ours[0][2](x), theirs[0][2](x), rtol=1e-12, atol=1e-12)


def test_second_derivatives_and_compile():
    act = typical(Irreps("2x0e+0o+1o"), second_moment="exact")
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(act, x)
    torch.testing.assert_close(torch.compile(act, fullgraph=True, backend="aot_eager")(x), act(x))


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_parity_does_not_depend_on_the_size_of_a_function(factor):
    assert str(Activation("0o", [lambda x: factor * torch.tanh(x)]).irreps_out) == "1x0o"
    assert str(Activation("0o", [lambda x: factor * torch.cos(x)]).irreps_out) == "1x0e"
    with pytest.raises(IrrepsError, match="which is neither"):
        Activation("0o", [lambda x: factor * silu(x)])


def test_functions_that_work_in_place_do_so_on_a_copy():
    x = torch.randn(5, 3, dtype=torch.float64)
    for irreps, acts in (("3x0e", [silu]), ("2x0e+0e", [silu, None])):
        in_place = [act and torch.nn.SiLU(inplace=True) for act in acts]
        y = x.clone()
        torch.testing.assert_close(Activation(irreps, in_place)(y), Activation(irreps, acts)(x), rtol=0, atol=1e-15)
        assert torch.equal(x, y)


def test_errors():
    with pytest.raises(IrrepsError, match=r"for each of the 2 entries of '1x0e\+1x0o'; got 1"):
        Activation("0e+0o", [silu])
    with pytest.raises(IrrepsError, match=r"scalars \(l = 0\) only; got silu for 1o: .* or use a Gate"):
        Activation("1o", [silu])
    with pytest.raises(IrrepsError, match="odd or even; got silu, which is neither"):
        Activation("0o", [silu])
    with pytest.raises(IrrepsError, match="odd or even; got relu"):
        Activation("0o", [relu])
    with pytest.raises(ConfigError, match="second_moment needs one of"):
        Activation("0e", [silu], second_moment="approximate")
    with pytest.raises(ShapeError, match=r"needs features \[..., 2\] for irreps = 2x0e; got \[5, 3\]"):
        Activation("2x0e", [silu])(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"with 4 columns along dim=1 for irreps = 3x0e\+1x0o; got \[3, 5, 2\]"):
        Activation("3x0e+0o", [silu, None])(torch.zeros(3, 5, 2), dim=1)
    with pytest.raises(ShapeError, match=r"along dim=5"):
        Activation("2x0e", [silu])(torch.zeros(5, 2), dim=5)
    with pytest.raises(DtypeError, match="features float64 on cpu, parameters float32"):
        Activation("2x0e", [torch.nn.PReLU()])(torch.zeros(5, 2, dtype=torch.float64))
    with torch.device("meta"), pytest.raises(ConfigError, match=r"the parameters of PReLU, .* on 'meta'. Build"):
        Activation("2x0e", [torch.nn.PReLU()])
