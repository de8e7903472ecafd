import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.errors import ConfigError, ShapeError
from irrepnet.testing.strategies import irreps

some = irreps(lmax=2, max_mul=3)
normalizations = st.sampled_from([None, "component", "norm", "none"])


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_twins(*args, **options):
    ours, theirs = (room.TensorSquare(*map(str, args), **options) for room in (o3, e3nn.o3))
    assert (ours.irreps_in, ours.irreps_out) == (theirs.irreps_in, theirs.irreps_out)
    assert ours.instructions == [
        (*tuple(ins)[:5], pytest.approx(ins.path_weight), ins.path_shape) for ins in theirs.instructions
    ]
    ours.load_state_dict(theirs.state_dict())
    x = ours.irreps_in.randn(4, -1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    return ours


@settings(max_examples=12)
@given(some, normalizations, st.sampled_from([None, ["0e", "1o", "1e", "3o"]]))
def test_the_whole_square_equals_e3nn(irreps_in, normalization, keep):
    assert_twins(irreps_in, irrep_normalization=normalization, filter_ir_out=keep)


@settings(max_examples=12)
@given(some, some, normalizations, st.sampled_from([None, "element", "path", "none"]))
def test_with_weights_equals_e3nn(irreps_in, irreps_out, normalization, paths):
    options = {"irrep_normalization": normalization, "path_normalization": paths}
    assert_twins(irreps_in, irreps_out, **options)


def test_weights_in_the_call():
    square = o3.TensorSquare("3x1o", "2x0e+1e", shared_weights=False)
    twin = e3nn.o3.TensorSquare("3x1o", "2x0e+1e", shared_weights=False)
    x, weight = torch.randn(5, 9), torch.randn(5, square.weight_numel)
    torch.testing.assert_close(square(x, weight), twin(x, weight), rtol=0, atol=1e-12)


@settings(max_examples=10)
@given(some)
def test_holds_the_symmetric_part_once(irreps_in):
    n = irreps_in.dim
    assert o3.TensorSquare(irreps_in).irreps_out.dim == n * (n + 1) // 2


def test_components_have_variance_one():
    torch.manual_seed(0)
    square = o3.TensorSquare("3x0e+3x1o+2e")
    out = square(square.irreps_in.randn(40000, -1))
    second_moments = torch.stack([out[:, s].square().mean() for s in square.irreps_out.slices()])
    assert ((second_moments > 0.9) & (second_moments < 1.1)).all()


def test_contradictions_and_unknown_options():
    with pytest.raises(ConfigError, match=r"irreps_out .* or filter_ir_out .*; got both. Leave one out"):
        o3.TensorSquare("1o", "0e", filter_ir_out=["0e"])
    with pytest.raises(ConfigError, match=r"irrep_normalization must be .*; got 'norms'. Did you mean 'norm'\?"):
        o3.TensorSquare("1o", irrep_normalization="norms")
    with pytest.raises(ShapeError, match=r"TensorSquare needs x \[..., 3\] for irreps_in1 = 1x1o; got x \[2, 4\]"):
        o3.TensorSquare("1o")(torch.randn(2, 4))


def test_reads_as_mathematics():
    assert repr(o3.TensorSquare("2x0e+1o", "0e+1o+3o")) == (
        "TensorSquare(2x0e+1x1o -> 1x0e+1x1o+1x3o | 6 paths | 6 weights | no path to 1x3o)"
    )
