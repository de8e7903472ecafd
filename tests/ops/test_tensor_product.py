import pytest
import torch
from ops.products import messages
from ops.twin import TwinTests

from irrepnet import o3
from irrepnet.errors import BackendError, DtypeError, ShapeError
from irrepnet.ops import tensor_product

TP = o3.TensorProduct(
    "2x0e+2x1o",
    "0e+2x1o",
    "2x1o+3x0e",
    [(0, 1, 0, "uvu", True), (1, 0, 0, "uvu", True), (1, 1, 1, "uvw", True)],
    shared_weights=False,
)


class TestTwin(TwinTests):
    backends = ("reference",)
    differentiable = (0, 1, 2)
    dynamic = ({0: "rows"}, {0: "rows"}, {0: "rows"})
    test_compile_with_inductor = None  # plain PyTorch: Inductor is PyTorch's to test, and takes a minute

    def op(self, x, y, weights, *, backend):
        return tensor_product(x, y, weights, TP.plan, backend=backend)

    def example(self, size):
        columns = TP.plan.dim1, TP.plan.dim2, TP.plan.weight_numel
        return tuple(torch.randn(size, n, dtype=torch.float64) for n in columns)

    def oracle(self, x, y, weights):
        return messages(TP, x, y, weights)

    def bad_inputs(self):
        x, y, weights = self.example(4)
        return [
            ((x[:, 1:], y, weights), ShapeError, r"tensor_product needs x \[..., 8\]; got x \[4, 7\]"),
            ((x, y[:, 1:], weights), ShapeError, r"needs y \[..., 7\]; got y \[4, 6\]"),
            ((x, y, weights[:, 1:]), ShapeError, r"needs weights \[..., \d+\]; got weights"),
            ((x, y, weights[:3]), ShapeError, r"leading axes broadcast; got \[4, 8\] and \[4, 7\] and \[3, \d+\]"),
            ((x, y, None), DtypeError, "needs weights as a floating-point tensor .*; got NoneType"),
            ((x.float(), y, weights), DtypeError, "one dtype on one device; got x float32 on cpu, y float64 on cpu"),
            ((x.long(), y, weights), DtypeError, r"needs x as a floating-point tensor \[..., 8\]; got torch.int64"),
        ]


def test_weights_of_all_rows():
    x, y, weights = TestTwin().example(5)
    expected = tensor_product(x, y, weights[:1].expand(5, -1), TP.plan)
    torch.testing.assert_close(tensor_product(x, y, weights[0], TP.plan), expected)


def test_tables_are_taken_as_given():
    x, y, weights = TestTwin().example(2)
    tables = TP.plan.tables(torch.float64)
    expected = tensor_product(x, y, weights, TP.plan)
    assert torch.equal(tensor_product(x, y, weights, TP.plan, tables=tables), expected)
    torch.testing.assert_close(tensor_product(x, y, weights, TP.plan, tables=2 * tables), 2 * expected)
    with pytest.raises(DtypeError, match="weights float64 on cpu, tables float32 on cpu"):
        tensor_product(x, y, weights, TP.plan, tables=tables.float())
    with pytest.raises(ShapeError, match=r"tensor_product needs tables \[\d+\] = plan.tables.*; got \[\d+\]"):
        tensor_product(x, y, weights, TP.plan, tables=tables[1:])


def test_shapes_on_meta():
    x, y, weights = (operand.to("meta") for operand in TestTwin().example(2))
    assert tensor_product(x, y, weights, TP.plan).shape == (2, TP.plan.dim_out)


def test_the_fused_kernel_needs_channelwise_paths():
    x, y, weights = TestTwin().example(2)
    with pytest.raises(
        BackendError, match=r"tensor_product\(backend='fused'\) cannot run: its plan has paths that are not channelwise"
    ):
        tensor_product(x, y, weights, TP.plan, backend="fused")
    with pytest.raises(BackendError, match=r"got 'referense'. Did you mean 'reference'"):
        tensor_product(x, y, weights, TP.plan, backend="referense")
