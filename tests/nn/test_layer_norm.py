"""Normalisation by rows: PyTorch's on scalars, loops over irreps, and what is refused."""

import pytest
import torch
from hypothesis import given
from torch.nn.functional import layer_norm

from irrepnet.errors import ConfigError, IrrepsError
from irrepnet.nn import LayerNorm, RMSNorm
from irrepnet.o3 import Irreps
from irrepnet.testing import strategies

IRREPS = Irreps("3x0e+2x1o+2x0o+0x2e+1e+2x0e+2e+1o")


def columns(irreps, ir):
    """Return the columns of one irrep, in all entries."""
    pairs = zip(irreps, irreps.slices(), strict=True)
    return [c for entry, s in pairs if entry.ir == ir for c in range(s.start, s.stop)]


def draw(irreps=IRREPS, *lead):
    return 3 * torch.randn(*(lead or (4,)), irreps.dim, dtype=torch.float64) + 1


def assert_close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=atol)


def mean_square(x):
    return x.square().mean(-1, keepdim=True)


@given(irreps=strategies.irreps(lmax=3, max_mul=4, max_terms=5))
def test_rms_of_each_irrep(irreps):
    x = draw(irreps)
    y = RMSNorm(irreps, eps=0.1).double()(x)
    for ir in {ir for _, ir in irreps}:
        c = columns(irreps, ir)
        assert_close(y[:, c], x[:, c] / (mean_square(x[:, c]) + 0.1).sqrt())


def test_joint_rms_is_the_mean_over_irreps():
    x = draw()
    irs = {ir for mul, ir in IRREPS if mul}
    total = sum(mean_square(x[:, columns(IRREPS, ir)]) for ir in irs) / len(irs)
    assert_close(RMSNorm(IRREPS, eps=0.1, joint=True).double()(x), x / (total + 0.1).sqrt())


@pytest.mark.parametrize("joint", [False, True])
def test_layer_norm_is_the_usual_one_on_even_scalars_and_rms_elsewhere(joint):
    norm, x = LayerNorm(IRREPS, joint=joint).double(), draw()
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    even, odd = columns(IRREPS, Irreps("0e")[0].ir), columns(IRREPS, Irreps("0o")[0].ir)
    y = norm(x)
    expected = layer_norm(x[:, even], (5,), norm.weight[[0, 1, 2, 8, 9]], norm.bias, 1e-5)
    assert_close(y[:, even], expected)
    rest = sorted(set(range(IRREPS.dim)) - set(even))
    others = RMSNorm(IRREPS.filter(drop="0e"), joint=joint).double()
    others.weight.data = norm.weight.data[[3, 4, 5, 6, 7, 10, 11]]
    assert_close(y[:, rest], others(x[:, rest]))
    assert (y[:, odd].mean(-1).abs() > 1e-3).all()  # a mean of odd scalars is no invariant


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("joint", [False, True])
def test_does_not_depend_on_how_irreps_are_written(norm, joint):
    x = draw()
    order = [i for ir in sorted({ir for mul, ir in IRREPS if mul}) for i in columns(IRREPS, ir)]
    kept = norm(IRREPS, affine=False, joint=joint)(x)[:, order]
    assert_close(kept, norm(IRREPS.regroup(), affine=False, joint=joint)(x[:, order]))


def test_scale_of_the_input_does_not_matter_but_small_irreps_stay_small_with_joint():
    x = draw(Irreps("4x0e+4x1o"))
    y = LayerNorm("4x0e+4x1o", eps=1e-12).double()(x)
    assert_close(LayerNorm("4x0e+4x1o", eps=1e-12).double()(1000 * x), y, atol=1e-9)
    x = draw(Irreps("4x1o+4x2e"))
    x[:, 12:] *= 1e-3
    assert mean_square(RMSNorm("4x1o+4x2e", eps=1e-12).double()(x)[:, 12:]).min() > 0.99
    assert mean_square(RMSNorm("4x1o+4x2e", eps=1e-12, joint=True).double()(x)[:, 12:]).max() < 1e-4


def test_weights_and_biases_reach_their_channels():
    norm, x = LayerNorm("2x0e+2x1o"), torch.randn(3, 8)
    before = norm(x)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        norm.bias.copy_(torch.tensor([5.0, 6.0]))
    expected = before * torch.tensor([1.0, 2, 3, 3, 3, 4, 4, 4]) + torch.tensor([5.0, 6, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(norm(x), expected)


def test_rows_do_not_know_each_other():
    x = draw(IRREPS, 2, 3)
    for norm in (LayerNorm(IRREPS).double(), RMSNorm(IRREPS, joint=True).double()):
        assert_close(norm(x)[1, 2], norm(x[1, 2]))


def test_autocast_computes_in_the_dtype_of_the_weights():
    norm, x = LayerNorm("4x0e+2x1o"), torch.randn(3, 10).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(norm(x), LayerNorm("4x0e+2x1o")(x.float()))


def test_repr():
    assert repr(LayerNorm("4x0e+1o", joint=True)) == "LayerNorm(4x0e+1x1o | joint | 5 weights | 4 biases)"
    assert repr(RMSNorm("4x0e+1o", affine=False)) == "RMSNorm(4x0e+1x1o)"


def test_errors():
    with pytest.raises(IrrepsError, match=r"several 0e, or none, in '1x0e.4x1o': a single one .* Use RMSNorm"):
        LayerNorm("0e+4x1o")
    RMSNorm("0e+4x1o")
    for eps in (0, -1e-5, float("nan")):
        with pytest.raises(ConfigError, match="LayerNorm needs eps > 0, or a row of zeros has no norm; got"):
            LayerNorm("4x0e", eps=eps)
