import e3nn.o3
import torch
from hypothesis import given, settings

from irrepnet import o3
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
