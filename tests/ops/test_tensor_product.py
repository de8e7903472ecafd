import pytest
import torch
from ops.products import messages
from ops.twin import TOLERANCE, TwinTests, assert_near

from irrepnet import o3
from irrepnet.errors import BackendError, DtypeError, ShapeError
from irrepnet.ops import Block, Coupling, ProductPath, ProductPlan, tensor_product
from irrepnet.ops._backend import library_status

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

needs_library = pytest.mark.skipif(not library_status().loaded, reason=library_status().reason)


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


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize(("mode", "out", "shape"), [("uvu<v", 0, ()), ("u<vw", 2, (0, 2))])
def test_a_plan_without_pairs_is_zero(mode, out, shape, backend):
    one = Block(0, 1, 1)
    offset = 0 if shape else None
    path = ProductPath(one, one, Block(0, out, 1), mode, 0, offset, 1.0, shape)
    plan = ProductPlan(1, 1, 2, 0, (path,), (Coupling((1, 1, 1), (1.0,)),))
    found = tensor_product(torch.ones(3, 1), torch.ones(3, 1), None, plan, backend=backend)
    assert torch.equal(found, torch.zeros(3, 2))


# Two channels of one component meet, with a weight each: sizes, then x, y, out, first weight, first constant, meeting.
PAIRS = [2, 2, 2, 2, *(0, 2, 1), *(0, 2, 1), *(0, 0, 1), 0, 0, 0]
MOST = 2**63 - 1


def changed(**numbers):
    """The plan with other numbers, by position: changed(n4=1) begins x one column later."""
    plan = list(PAIRS)
    for name, number in numbers.items():
        plan[int(name[1:])] = number
    return plan


def beside(sizes=(2, 2, 4, 2), **numbers):
    """The plan with a second path, which has weights of its own, and whose numbers differ as said."""
    return [*sizes, *PAIRS[4:], *changed(**{"n13": 2, **numbers})[4:]]


def pair_call(plan=PAIRS, slot=3, sets=1, rows=4, **others):
    sizes = {"x": (rows, 2), "y": (rows, 2), "weights": (sets, max(plan[2], 0)), "g": (rows, 2)}
    given = {name: torch.ones(shape) for name, shape in sizes.items()}
    if 0 <= slot < 4:
        given[list(given)[slot]] = None
    sets = others.pop("sets_of_slot", sets)
    given |= {"tables": torch.ones(1), **others}
    return torch.ops.irrepnet.pair_product(*given.values(), plan, slot, sets)


OUTSIDE = "needs paths within its tensors; path 0 is not"
NO_PLAN = r"needs a slot from 0 to 3 and a plan of 4 \+ 12 numbers"


@needs_library
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slot": 4}, NO_PLAN),
        ({"slot": -1}, NO_PLAN),
        ({"plan": PAIRS[:-1]}, NO_PLAN),
        ({"plan": PAIRS[:3]}, NO_PLAN),
        *(({"plan": changed(**{f"n{n}": bad})}, NO_PLAN) for n in range(4, 16) for bad in (-2, 2**30, MOST, -MOST - 1)),
        *(({"plan": changed(**{f"n{n}": -1})}, OUTSIDE) for n in (4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15)),
        *(({"plan": changed(**{f"n{n}": 0})}, OUTSIDE) for n in (6, 9, 12)),  # no components
        *(({"plan": changed(**{f"n{n}": 2**30 - 1})}, OUTSIDE) for n in range(4, 16)),
        *(({"plan": changed(**{f"n{n}": 1})}, OUTSIDE) for n in (4, 7, 10, 13, 14)),  # one too far
        *(({"plan": changed(**{f"n{n}": 2})}, OUTSIDE) for n in (6, 9, 12)),  # components that constants lack
        ({"plan": changed(n8=1)}, OUTSIDE),  # the same channels, but not as many
        ({"plan": changed(n15=3)}, OUTSIDE),
        ({"plan": changed(n15=1)}, OUTSIDE),  # all pairs: four
        ({"plan": changed(n11=2)}, OUTSIDE),  # mixes pairs with four weights
        ({"plan": beside(n13=-1)}, "needs weights on every path, or on none"),
        ({"plan": beside(n13=1)}, "lie apart, and weights apart"),
        ({"plan": beside(n13=0)}, "lie apart, and weights apart"),
        ({"plan": beside(n5=1, n8=1)}, "outputs are the same or lie apart"),  # one channel where two are
        ({"plan": beside(n5=1, n8=1, n10=1)}, "outputs are the same or lie apart"),
        ({"x": None}, "needs x, y, weights and g, but not the one of the slot"),
        ({"weights": None}, "needs x, y, weights and g, but not the one of the slot"),
        ({"g": torch.ones(4, 2)}, "needs x, y, weights and g, but not the one of the slot"),
        ({"plan": changed(n2=0, n13=-1)}, "needs x, y, weights and g, but not the one of the slot"),
        ({"plan": changed(n13=-1), "slot": 2}, "needs weights on every path, or on none"),
        ({"x": torch.ones(4, 1)}, r"needs features \[..., 2\]; got features \[4, 1\]"),
        ({"y": torch.ones(4, 3)}, r"needs features \[..., 2\]; got features \[4, 3\]"),
        ({"weights": torch.ones(1, 3)}, r"needs features \[..., 2\]; got features \[1, 3\]"),
        ({"x": torch.ones(2)}, r"needs features \[rows, columns\] of one dtype"),
        ({"weights": torch.ones(2)}, r"needs features \[rows, columns\] of one dtype"),
        ({"x": torch.ones(4, 2).double()}, r"needs features \[rows, columns\] of one dtype"),
        ({"tables": torch.ones(1).double()}, r"needs features \[rows, columns\] of one dtype"),
        ({"x": torch.ones(4, 2).half()}, "needs features in float32 or float64; got Half"),
        ({"tables": torch.ones(1).long()}, "needs tables in float32 or float64; got Long"),
        ({"tables": torch.ones(0)}, OUTSIDE),
        ({"y": torch.ones(3, 2)}, "needs features of as many rows"),
        ({"sets": 3}, "needs sets of weights for parts of one size; got 3 for 4 rows"),
        ({"sets": 0}, "needs sets of weights for parts of one size; got 0 for 4 rows"),
        ({"sets": 8}, "needs sets of weights for parts of one size; got 8 for 4 rows"),
        *(
            ({"slot": 2, "sets_of_slot": sets}, f"needs sets of weights for parts of one size; got {sets} for 4 rows")
            for sets in (-1, 0, 3, 2**40)
        ),
    ],
)
def test_the_library_checks_its_arguments(arguments, message):
    """The stable ABI checks nothing, and an op can be called with a plan that no class has looked at."""
    with pytest.raises(RuntimeError, match=message):
        pair_call(**arguments)


@needs_library
@pytest.mark.parametrize("slot", range(4))
def test_the_library_checks_its_arguments_and_takes_these(slot):
    assert torch.equal(pair_call(slot=slot), torch.full((1, 2), 4.0) if slot == 2 else torch.ones(4, 2))


@needs_library
@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_the_library_checks_its_arguments_for_paths_without_pairs(slot, first, rows):
    """They begin where another path does, and must not be taken for one that shares its columns."""
    empty, path = changed(n5=0, n8=0)[4:], PAIRS[4:]
    plan = [2, 2, 2, 2, *(empty + path if first else path + empty)]
    assert torch.equal(pair_call(plan, slot, rows=rows), pair_call(slot=slot, rows=rows))
    alone = pair_call([*PAIRS[:4], *empty], slot, rows=rows, **({} if slot == 2 else {"weights": None}))
    assert alone.shape == ((1, 2) if slot == 2 else (rows, 2)) and not alone.any()


@needs_library
@pytest.mark.parametrize("mode", ["uvw", "uuw", "uvuv", "uuu", "u<vw"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weights_of_a_single_row_are_those_of_all(mode, dtype):
    """One row with weights of its own takes the way of shared weights: the same numbers, to the bit."""
    mul = {"uvuv": 20 * 20, "uuu": 20}.get(mode, 33)
    tp = o3.TensorProduct("20x1o", "20x1o", f"{mul}x1e", [(0, 0, 0, mode, True)], internal_weights=False)
    shapes = (1, tp.plan.dim1), (1, tp.plan.dim2), (1, tp.plan.weight_numel)
    inputs = [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]
    found = tensor_product(*inputs, tp.plan, backend="fused")
    assert torch.equal(found, tensor_product(*inputs[:2], inputs[2][0], tp.plan, backend="fused"))
    expected = tensor_product(*inputs, tp.plan, backend="reference")
    assert_near(found, expected, TOLERANCE[dtype])
    g = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(z, inputs, g) for z in (found, expected)), strict=True):
        assert_near(a, b, TOLERANCE[dtype])


def test_an_unknown_backend_is_named():
    x, y, weights = TestTwin().example(2)
    with pytest.raises(BackendError, match=r"got 'referense'. Did you mean 'reference'"):
        tensor_product(x, y, weights, TP.plan, backend="referense")
