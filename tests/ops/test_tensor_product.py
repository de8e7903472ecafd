import pytest
import torch
from ops.products import messages
from ops.twin import TOLERANCE, TwinTests, assert_near

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
EVERY_MODE = o3.TensorProduct(
    "2x0e+2x1o",
    "2x1o",
    "2x1o+1x1e+4x0e+2x2e+2x1e+2x0e",
    [
        (0, 0, 0, "uvu", True),
        (0, 0, 0, "uvv", True),
        (1, 0, 1, "uvu<v", True),
        (1, 0, 2, "uvuv", True),
        (1, 0, 3, "uuu", True),
        (1, 0, 4, "u<vw", True),
        (1, 0, 5, "uuw", True),
        (1, 0, 5, "uvw", True),
    ],
)


def kernel_calls(plan, weights):
    """The op behind the product, once for each slot."""
    stage = next(stage for stage in plan.stages if stage.linear is None)
    tables = plan.tables(torch.float64)
    x, y, g = (torch.randn(weights.shape[0] * 2, n, dtype=torch.float64) for n in (plan.dim1, plan.dim2, plan.dim_out))
    given = [x, y, weights, g]
    return [
        (
            "pair_product",
            (*given[:slot], None, *given[slot + 1 :], tables, stage.pairs.ints, slot, weights.shape[0]),
        )
        for slot in range(4)
    ]


class TestTwin(TwinTests):
    differentiable = (0, 1, 2)
    dynamic = ({0: "rows"}, {0: "rows"}, {0: "rows"})
    constants = {"pair_product": (4,)}  # noqa: RUF012
    test_compile_with_inductor = None  # Inductor sees no more of this kernel than of the convolution's

    def op(self, x, y, weights, *, backend):
        return tensor_product(x, y, weights, TP.plan, backend=backend)

    def example(self, size):
        columns = TP.plan.dim1, TP.plan.dim2, TP.plan.weight_numel
        return tuple(torch.randn(size, n, dtype=torch.float64) for n in columns)

    def oracle(self, x, y, weights):
        return messages(TP, x, y, weights)

    def kernels(self):
        return kernel_calls(TP.plan, torch.randn(2, TP.plan.weight_numel, dtype=torch.float64))

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


class TestEveryModeWithSharedWeights(TwinTests):
    backends = ("fused",)
    differentiable = (0, 1, 2)
    dynamic = ({0: "rows"}, {0: "rows"}, None)
    constants = {"pair_product": (4,)}  # noqa: RUF012
    test_compile_with_inductor = None

    def op(self, x, y, weights, *, backend):
        return tensor_product(x, y, weights, EVERY_MODE.plan, backend=backend)

    def example(self, size):
        plan = EVERY_MODE.plan
        shapes = (size, plan.dim1), (size, plan.dim2), (plan.weight_numel,)
        return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)

    def oracle(self, x, y, weights):
        return messages(EVERY_MODE, x, y, weights)

    def kernels(self):
        return kernel_calls(EVERY_MODE.plan, torch.randn(1, EVERY_MODE.plan.weight_numel, dtype=torch.float64))


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


@pytest.mark.parametrize("rows", [1, 15, 16, 31, 32, 33, 70, 600])  # vectors hold 2 to 32 rows, pieces 64 or 512
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shared", [True, False])
def test_any_number_of_rows(rows, dtype, shared):
    generator = torch.Generator().manual_seed(rows)
    plan = EVERY_MODE.plan
    shapes = (rows, plan.dim1), (rows, plan.dim2), (plan.weight_numel,) if shared else (rows, plan.weight_numel)
    inputs = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]
    found = tensor_product(*inputs, plan, backend="fused")
    expected = tensor_product(*inputs, plan, backend="reference")
    assert_near(found, expected, TOLERANCE[dtype])
    g = torch.randn(found.shape, generator=generator, dtype=dtype)
    grads = torch.autograd.grad(found, inputs, g)
    for a, b in zip(grads, torch.autograd.grad(expected, inputs, g), strict=True):
        assert_near(a, b, TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("irreps", "mode"),
    [
        (("40x0e+5x1o", "70x1o", "3x1o+2x0e+1x2e"), "uvw"),  # more pairs than are made at a time
        (("150x1o", "150x1o", "5x0e+33x1e"), "u<vw"),
        (("80x1o", "80x1o", "49x1e"), "uuw"),
        (("21x2e", "17x1o", "357x1o+357x3o"), "uvuv"),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_many_channels(irreps, mode, shared):
    torch.manual_seed(0)
    in1, in2, out = map(o3.Irreps, irreps)
    paths = [
        (i, j, k, mode, True)
        for i, (_, ir1) in enumerate(in1)
        for j, (_, ir2) in enumerate(in2)
        for k, (_, ir3) in enumerate(out)
        if ir3 in ir1 * ir2
    ]
    tp = o3.TensorProduct(in1, in2, out, paths, shared_weights=shared, internal_weights=False)
    weights = torch.randn(tp.weight_numel if shared else (3, tp.weight_numel), dtype=torch.float64)
    inputs = [torch.randn(3, n, dtype=torch.float64) for n in (in1.dim, in2.dim)]
    inputs = [t.requires_grad_() for t in (*inputs, weights)]
    found = tensor_product(*inputs, tp.plan, backend="fused")
    expected = messages(tp, *inputs)
    assert_near(found, expected, 1e-12)
    g = torch.randn_like(expected)
    grads = torch.autograd.grad(found, inputs, g)
    for a, b in zip(grads, torch.autograd.grad(expected, inputs, g), strict=True):
        assert_near(a, b, 1e-12)


def test_paths_without_weights_beside_paths_with():
    """Those that sum over channels sum with ones, whose gradient nobody sees."""
    paths = [
        (0, 0, 0, "uvu", False),
        (0, 0, 0, "uvv", False),
        (0, 0, 0, "uuu", True),
        (0, 0, 1, "uuw", False),
        (0, 0, 2, "uvuv", False),
        (0, 0, 0, "uvw", True),
    ]
    tp = o3.TensorProduct("3x1o", "3x1o", "3x1e+1x0e+9x2e", paths)
    x, y, weights = (torch.randn(n, dtype=torch.float64).requires_grad_() for n in (9, 9, tp.weight_numel))
    found = tensor_product(x, y, weights, tp.plan, backend="fused")
    expected = tensor_product(x, y, weights, tp.plan, backend="reference")
    assert_near(found, expected, 1e-12)
    g = torch.randn_like(found)
    grads = (torch.autograd.grad(z, (x, y, weights), g) for z in (found, expected))
    for a, b in zip(*grads, strict=True):
        assert_near(a, b, 1e-12)


def test_a_path_without_pairs():
    tp = o3.TensorProduct("1x1o", "1x1o", "0x1e+2x0e", [(0, 0, 0, "uvu<v", False), (0, 0, 1, "uvw", True)])
    out = tp(torch.randn(4, 3), torch.randn(4, 3))
    assert out.shape == (4, 2) and out.abs().min() > 0


def test_an_unknown_backend_is_named():
    x, y, weights = TestTwin().example(2)
    with pytest.raises(BackendError, match=r"got 'referense'. Did you mean 'reference'"):
        tensor_product(x, y, weights, TP.plan, backend="referense")
