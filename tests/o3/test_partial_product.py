import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from o3.products import MODES, products

from irrepnet import o3
from irrepnet.errors import DtypeError, ShapeError


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def operands(tp, rows=3):
    shape = (tp.weight_numel,) if tp.shared_weights else (rows, tp.weight_numel)
    return tp.irreps_in1.randn(rows, -1), tp.irreps_in2.randn(rows, -1), torch.randn(shape)


@pytest.mark.parametrize("mode", MODES)
def test_the_matrix_does_what_the_product_does(mode):
    @settings(max_examples=8)
    @given(products(modes=(mode,)))
    def compare(product):
        tp = o3.TensorProduct(*product.irreps, product.instructions, **product.options)
        x, y, weight = operands(tp)
        B = tp.right(y, weight)
        assert B.shape == (3, tp.irreps_in1.dim, tp.irreps_out.dim)
        torch.testing.assert_close(torch.einsum("zi,zik->zk", x, B), tp(x, y, weight), rtol=0, atol=1e-12)

    compare()


# e3nn raises NotImplementedError for the pairs, uvu<v and u<vw.
@pytest.mark.parametrize("mode", MODES[:6])
def test_equals_e3nn(mode):
    @settings(max_examples=6)
    @given(products(modes=(mode,)))
    def compare(product):
        # e3nn cannot make `right` of a product without weights whose rows are to have their own.
        weighted = any(ins[4] for ins in product.instructions)
        options = product.options | ({} if weighted else {"shared_weights": True})
        irreps = [[(mul, (ir.l, ir.p)) for mul, ir in side] for side in product.irreps]
        ours = o3.TensorProduct(*product.irreps, product.instructions, compile_right=True, **options)
        theirs = e3nn.o3.TensorProduct(*irreps, product.instructions, compile_right=True, **options)
        _, y, weight = operands(ours)
        weight = weight if ours.weight_numel else None
        torch.testing.assert_close(ours.right(y, weight), theirs.right(y, weight), rtol=0, atol=1e-12)

    compare()


def cross(**options):
    return o3.TensorProduct(
        "2x0e+3x1o", "2x1o", "2x1o+4x1e", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvw", True)], **options
    )


def test_leading_axes_broadcast_and_may_be_empty():
    tp = cross(shared_weights=False)
    y, weight = torch.randn(4, 1, 6), torch.randn(5, tp.weight_numel)
    B = tp.right(y, weight)
    assert B.shape == (4, 5, 11, 18)
    torch.testing.assert_close(B[2, 3], tp.right(y[2], weight[3:4])[0])
    assert cross().right(torch.randn(6)).shape == (11, 18)
    assert cross().right(torch.randn(0, 6)).shape == (0, 11, 18)
    for irreps in (("", "1o", "0e"), ("1o", "", "2x0e"), ("1o", "1o", "")):
        empty = o3.TensorProduct(*irreps, [])
        expected = torch.zeros(3, empty.irreps_in1.dim, empty.irreps_out.dim)
        assert torch.equal(empty.right(empty.irreps_in2.randn(3, -1)), expected)


def test_is_there_whether_asked_for_or_not():
    for asked in (True, False):
        tp = cross(compile_right=asked)
        x, y = tp.irreps_in1.randn(2, -1), tp.irreps_in2.randn(2, -1)
        torch.testing.assert_close(torch.einsum("zi,zik->zk", x, tp.right(y)), tp(x, y))


def test_derivatives_and_compilers():
    tp = o3.TensorProduct("2x1o", "2x1o", "1x1e+2x1e", [(0, 0, 0, "uvu<v", True), (0, 0, 1, "uvu", True)])
    y = torch.randn(2, 6, requires_grad=True)
    assert torch.autograd.gradcheck(tp.right, (y,)) and torch.autograd.gradgradcheck(tp.right, (y,))
    assert torch.equal(torch.compile(tp.right, backend="aot_eager", fullgraph=True)(y), tp.right(y))
    torch.testing.assert_close(torch.vmap(tp.right)(y), tp.right(y))
    low = tp.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert low.right(y.float()).dtype == torch.float32
    assert tp.to("meta").right(torch.randn(2, 6, device="meta", dtype=torch.float32)).shape == (2, 6, 9)


def test_bad_operands_are_named():
    tp = cross()
    with pytest.raises(ShapeError, match=r"needs y \[..., 6\] for irreps_in2 = 2x1o; got y \[2, 5\]"):
        tp.right(torch.randn(2, 5))
    with pytest.raises(DtypeError, match="needs y as float64 on cpu, as the module; got float32 on cpu"):
        tp.right(torch.randn(2, 6).float())
    with pytest.raises(DtypeError, match=r"needs y as a floating-point tensor \[..., 6\]; got list"):
        tp.right([1.0] * 6)
    with pytest.raises(DtypeError, match="needs weight as float64"):
        cross(internal_weights=False).right(torch.randn(2, 6), torch.randn(tp.weight_numel).float())
    with pytest.raises(ShapeError, match=r"leading axes broadcast; got \[4\] of y and \[3\] of weight"):
        cross(shared_weights=False).right(torch.randn(4, 6), torch.randn(3, tp.weight_numel))
    with pytest.raises(RuntimeError, match="needs 28 weights in the call; got none"):
        cross(internal_weights=False).right(torch.randn(2, 6))
