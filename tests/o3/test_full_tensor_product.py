import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.o3.full_tensor_product import kept_irreps
from irrepnet.testing.strategies import irreps

some = irreps(lmax=3, max_mul=3)


def float64_operands(tp):
    return (side.randn(3, -1, dtype=torch.float64) for side in (tp.irreps_in1, tp.irreps_in2))


def build(room, name, *args, **options):
    torch.set_default_dtype(torch.float64)
    try:
        return getattr(room, name)(*map(str, args), **options)
    finally:
        torch.set_default_dtype(torch.float32)


@settings(max_examples=8)
@given(some, some, some)
def test_fully_connected_equals_e3nn(a, b, c):
    ours, theirs = (build(room, "FullyConnectedTensorProduct", a, b, c) for room in (o3, e3nn.o3))
    ours.load_state_dict(theirs.state_dict())
    x, y = float64_operands(ours)
    torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=0, atol=1e-12)
    assert torch.equal(ours.output_mask, theirs.output_mask)
    assert (ours.irreps_in1, ours.irreps_in2, ours.irreps_out) == (a, b, c)


@settings(max_examples=8)
@given(some, some)
def test_full_equals_e3nn(a, b):
    keep = ["0e", "1o", "2o", "3e"]
    for options in ({}, {"filter_ir_out": keep}, {"irrep_normalization": "norm"}):
        theirs_options = {k: [e3nn.o3.Irrep(ir) for ir in v] if k == "filter_ir_out" else v for k, v in options.items()}
        ours, theirs = (
            build(o3, "FullTensorProduct", a, b, **options),
            build(e3nn.o3, "FullTensorProduct", a, b, **theirs_options),
        )
        assert ours.irreps_out == theirs.irreps_out and ours.weight_numel == 0
        x, y = float64_operands(ours)
        torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=0, atol=1e-12)


def test_neighbours_of_one_kind_are_merged_as_in_e3nn():
    args = "2x1o+3x1o+0x2e+1o", "2x0e+1o+2x1o"
    ours, theirs = (build(room, "FullTensorProduct", *args) for room in (o3, e3nn.o3))
    assert ours.irreps_in1 == o3.Irreps("6x1o") and ours.irreps_out == theirs.irreps_out
    x, y = float64_operands(ours)
    torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=0, atol=1e-12)


@settings(max_examples=8)
@given(some, some, some, st.data())
def test_every_argument_of_the_fully_connected_equals_e3nn(a, b, c, data):
    variance = st.sampled_from([0.5, 1.0, 2.0])
    options = {
        "irrep_normalization": data.draw(st.sampled_from(["component", "norm", "none", None])),
        "path_normalization": data.draw(st.sampled_from(["element", "path", "none", None])),
        "in1_var": [data.draw(variance) for _ in a],
        "in2_var": torch.tensor([data.draw(variance) for _ in b]),
        "out_var": tuple(data.draw(variance) for _ in c),
        "shared_weights": data.draw(st.sampled_from([True, False, None])),
        "internal_weights": data.draw(st.sampled_from([False, None])),
        "compile_left_right": True,
        "compile_right": False,
    }
    ours, theirs = (build(room, "FullyConnectedTensorProduct", a, b, c, **options) for room in (o3, e3nn.o3))
    assert (ours.internal_weights, ours.shared_weights) == (theirs.internal_weights, theirs.shared_weights)
    ours.load_state_dict(theirs.state_dict())
    x, y = float64_operands(ours)
    shape = (ours.weight_numel,) if ours.shared_weights else (3, ours.weight_numel)
    weight = () if ours.internal_weights else (torch.randn(shape, dtype=torch.float64),)
    torch.testing.assert_close(ours(x, y, *weight), theirs(x, y, *weight), rtol=0, atol=1e-12)


def test_filters():
    expected = {o3.Irrep("0e"), o3.Irrep("1o")}
    for given_filter in ("0e+1o", ["0e", "1o"], iter([o3.Irrep("0e"), (1, -1)]), o3.Irreps("2x1o+0e"), {"0e", "1o"}):
        assert kept_irreps(given_filter) == expected
    assert kept_irreps(None) is None and kept_irreps([]) == set()
    assert o3.FullTensorProduct("1o", "1o", []).irreps_out == o3.Irreps()
    with pytest.raises(ValueError, match=r"cannot read '1' as an irrep.*Did you mean '1e' or '1o'"):
        o3.FullTensorProduct("1o", "1o", ["1"])


def test_a_full_product_is_complete():
    tp = build(o3, "FullTensorProduct", "2x0e+1o", "1o+2e", irrep_normalization="none")
    assert tp.irreps_out.dim == tp.irreps_in1.dim * tp.irreps_in2.dim
    assert tp.irreps_out == tp.irreps_out.sort().irreps
    assert not list(tp.parameters())


def test_repr_marks_what_no_path_reaches():
    tp = o3.FullyConnectedTensorProduct("1o", "1o", "0e+1o+2e", path_normalization="path")
    assert (
        repr(tp) == "FullyConnectedTensorProduct(1x1o x 1x1o -> 1x0e+1x1o+1x2e | 2 paths | 2 weights | no path to 1x1o)"
    )
