import e3nn.o3
import e3nn.o3.experimental
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError
from irrepnet.o3 import experimental
from irrepnet.testing.strategies import irreps

some = irreps(lmax=2, max_mul=3)
normalizations = st.sampled_from(["component", "norm"])
keeps = st.sampled_from([None, "0e+1o+1e+3o"])


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def theirs(name, *sides, filter_ir_out=None, **options):
    keep = None if filter_ir_out is None else [ir for _, ir in e3nn.o3.Irreps(filter_ir_out)]
    kind = getattr(e3nn.o3.experimental, name)
    return kind(*(e3nn.o3.Irreps(str(side)) for side in sides), filter_ir_out=keep, **options)


def assert_equal(ours, twin):
    assert (ours.irreps_in1, ours.irreps_in2, ours.irreps_out) == (twin.irreps_in1, twin.irreps_in2, twin.irreps_out)
    ours.load_state_dict(twin.state_dict())
    assert not ours.state_dict()
    x, y = ours.irreps_in1.randn(2, 3, -1), ours.irreps_in2.randn(3, -1)
    torch.testing.assert_close(ours(x, y), twin(x, y), rtol=0, atol=1e-12)


@settings(max_examples=12)
@given(some, some, normalizations, keeps)
def test_full_equals_e3nn(a, b, normalization, keep):
    options = {"filter_ir_out": keep, "irrep_normalization": normalization}
    ours = o3.FullTensorProductv2(a, b, **options)
    if len(ours.irreps_out):  # e3nn cannot return nothing
        assert_equal(ours, theirs("FullTensorProductv2", a, b, **options))


def test_full_without_regrouping_equals_e3nn():
    args = "2e+3x1o+0e", "1o+2x0o"
    assert_equal(
        o3.FullTensorProductv2(*args, regroup_output=False), theirs("FullTensorProductv2", *args, regroup_output=False)
    )


@settings(max_examples=10)
@given(some, some)
def test_repeated_irreps_keep_apart(a, b):
    """e3nn names its paths by irreps only, so those of a repeated irrep overwrite each other."""
    tp = o3.FullTensorProductv2(a, b, regroup_output=False, irrep_normalization="norm")
    assert tp.irreps_out.dim == a.dim * b.dim and tp.irreps_in1 == a
    x, y = a.randn(2, -1), b.randn(2, -1)
    pieces = [
        (ir, [o3.FullTensorProduct([e1], [e2], [ir], "norm")(x[:, s1], y[:, s2])])
        for e1, s1 in zip(a, a.slices(), strict=True)
        for e2, s2 in zip(b, b.slices(), strict=True)
        for ir in e1.ir * e2.ir
    ]
    expected = torch.cat([piece for _, [piece] in sorted(pieces, key=lambda pair: pair[0])], dim=1)
    torch.testing.assert_close(tp(x, y), expected)


def test_what_e3nn_cannot_repeat():
    with pytest.raises((IndexError, RuntimeError)):
        twin = theirs("FullTensorProductv2", "1o+1o", "1o", regroup_output=False)
        twin(torch.randn(2, 6), torch.randn(2, 3))
    assert o3.FullTensorProductv2("1o+1o", "1o", regroup_output=False)(torch.randn(2, 6), torch.randn(2, 3)).shape == (
        2,
        18,
    )


@settings(max_examples=12)
@given(st.lists(st.sampled_from(["0e", "1o", "1e", "2e"]), min_size=1, max_size=3, unique=True), normalizations, keeps)
def test_elementwise_equals_e3nn(left, normalization, keep):
    a, b = o3.Irreps([(2, ir) for ir in left]), o3.Irreps([(2 * len(left) - 1, "1o"), (1, "2e")])
    options = {"filter_ir_out": keep, "irrep_normalization": normalization}
    ours = experimental.ElementwiseTensorProductv2(a, b, **options)
    if len(ours.irreps_out):
        assert_equal(ours, theirs("ElementwiseTensorProductv2", a, b, **options))


@settings(max_examples=10)
@given(some)
def test_elementwise_is_the_first_version_sorted(a):
    b = o3.Irreps([(a.num_irreps, "1o")])
    first, second = o3.ElementwiseTensorProduct(a, b), experimental.ElementwiseTensorProductv2(a.simplify(), b)
    x, y = a.randn(2, -1), b.randn(2, -1)
    out, (irreps_out, _, inv) = first(x, y), first.irreps_out.sort()
    slices = first.irreps_out.slices()
    assert second.irreps_out == irreps_out
    torch.testing.assert_close(second(x, y), torch.cat([out[:, slices[i]] for i in inv], dim=1))


def test_bad_arguments_are_named():
    with pytest.raises(IrrepsError, match="as many irreps in irreps_in1"):
        experimental.ElementwiseTensorProductv2("2x0e", "1o")
    with pytest.raises(ConfigError, match="Did you mean 'norm'"):
        o3.FullTensorProductv2("1o", "1o", irrep_normalization="norms")
    with pytest.raises(DtypeError, match="one dtype"):  # e3nn promotes in silence
        o3.FullTensorProductv2("1o", "1o")(torch.randn(2, 3), torch.randn(2, 3).float())
