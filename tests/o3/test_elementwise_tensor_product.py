import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.errors import IrrepsError
from irrepnet.o3.elementwise_tensor_product import pair_up
from irrepnet.testing.strategies import irreps

some = irreps(lmax=2, max_mul=3)


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@st.composite
def rows_of_one_length(draw):
    a, b = draw(some), draw(some)
    n = min(a.num_irreps, b.num_irreps)
    return a.slice_by_mul[:n], b.slice_by_mul[:n]


@settings(max_examples=20)
@given(
    rows_of_one_length(),
    st.sampled_from([None, ["0e", "1o", "1e", "3o"]]),
    st.sampled_from([None, "component", "norm", "none"]),
)
def test_equals_e3nn(rows, keep, normalization):
    ours, theirs = (room.ElementwiseTensorProduct(*map(str, rows), keep, normalization) for room in (o3, e3nn.o3))
    for side in ("irreps_in1", "irreps_in2", "irreps_out"):
        assert getattr(ours, side) == getattr(theirs, side)
    assert ours.instructions == [
        (*tuple(ins)[:5], pytest.approx(ins.path_weight), ins.path_shape) for ins in theirs.instructions
    ]
    ours.load_state_dict(theirs.state_dict())
    x, y = ours.irreps_in1.randn(4, -1), ours.irreps_in2.randn(4, -1)
    torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=0, atol=1e-12)


def test_is_the_product_of_each_irrep_with_its_partner():
    tp = o3.ElementwiseTensorProduct("3x0e+2x1o", "5x1o", irrep_normalization="none")
    x, y = tp.irreps_in1.randn(4, -1), tp.irreps_in2.randn(4, -1)
    vectors = y.view(4, 5, 3)
    out = tp(x, y)
    torch.testing.assert_close(out[:, :9].view(4, 3, 3), x[:, :3, None] * vectors[:, :3] / 3**0.5)
    dots = (x[:, 3:].view(4, 2, 3) * vectors[:, 3:]).sum(-1) / 3**0.5
    torch.testing.assert_close(out[:, tp.irreps_out.slices()[1]], dots)


def test_other_arguments_reach_the_product():
    tp = o3.ElementwiseTensorProduct("2x1o", "2x1o", ["0e"], in1_var=[4.0], backend="reference")
    assert tp.instructions[0].path_weight == pytest.approx(0.5) and tp.backend == "reference"


@given(rows_of_one_length())
def test_pairs_go_together(rows):
    pairs = pair_up(*rows)
    assert all(mul > 0 for mul, _, _ in pairs)
    assert o3.Irreps([(mul, ir) for mul, ir, _ in pairs]).simplify() == rows[0].simplify()
    assert o3.Irreps([(mul, ir) for mul, _, ir in pairs]).simplify() == rows[1].simplify()


def test_rows_of_unlike_length_are_named():
    with pytest.raises(
        IrrepsError, match=r"as many irreps in irreps_in1 as in irreps_in2; got 2 in '2x0e' and 3 in '3x"
    ):
        o3.ElementwiseTensorProduct("2x0e", "3x1o")
    with pytest.raises(IrrepsError, match=r"cannot read '1x' as an irrep"):
        o3.ElementwiseTensorProduct("2x0e", "2x1o", ["1x"])
