from typing import ClassVar

import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.products import channelwise, messages
from ops.twin import TOLERANCE, TwinTests, assert_near

from irrepnet import o3
from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops import as_edge_order, convolve, edge_order, library_status, tensor_product

UVU = channelwise("2x0e+2x1o+3x2e", "0e+1o", "0e+1o+1e+2e")
SMALL = channelwise("2x0e+2x1o", "0e+1o", "0e+1e")
UVW = o3.TensorProduct(
    "2x0e+1o",
    "0e+1o",
    "3x1o+0e",
    [(0, 1, 0, "uvw", True), (1, 0, 0, "uvw", True), (1, 1, 1, "uvu", True)],
    shared_weights=False,
)
NODES = 4
fused = pytest.mark.skipif(not library_status().loaded, reason=library_status().reason)


class Twin(TwinTests):
    tp: o3.TensorProduct
    differentiable = (0, 1, 2)
    constants: ClassVar = {"convolve": (6,), "convolve_backward": (7,), "convolve_second": (10,)}  # the panels
    dynamic = ({0: "nodes"}, {0: "edges"}, {0: "edges"}, {1: "edges"})

    def op(self, node_feats, edge_sh, weights, edge_index, *, backend):
        order = as_edge_order(edge_index, node_feats.shape[0])
        return convolve(node_feats, edge_sh, weights, order, self.tp.plan, backend=backend)

    def example(self, size):
        nodes, plan = NODES + size // 3, self.tp.plan
        shapes = (nodes, plan.dim1), (size, plan.dim2), (size, plan.weight_numel)
        # Unsorted edges, some twice, some from a node to itself; the last node is alone.
        edge_index = torch.randint(nodes - 1, (2, size))
        return (*(torch.randn(*shape, dtype=torch.float64) for shape in shapes), edge_index)

    def oracle(self, node_feats, edge_sh, weights, edge_index):
        src, dst = edge_index
        rows = messages(self.tp, node_feats[src], edge_sh, weights)
        out = torch.zeros(node_feats.shape[0], rows.shape[1], dtype=torch.float64)
        for edge, n in enumerate(dst.tolist()):
            out[n] += rows[edge]
        return out

    def kernels(self):
        x, y, w, edge_index = self.example(5)
        order, plan = edge_order(edge_index, x.shape[0]), self.tp.plan
        panels = plan.tables(torch.float64)[plan.panel_offset :]
        graph = (order.src, order.by_dst, order.dst_ptr, panels, list(plan.panel_paths), plan.dim_out)
        g = torch.randn(x.shape[0], plan.dim_out, dtype=torch.float64)
        dx, dy, dw = (torch.randn_like(operand) for operand in (x, y, w))
        return [
            ("convolve", (x, y, w, *graph)),
            ("convolve_backward", (g, x, y, w, *graph, 7)),
            ("convolve_second", (dx, dy, dw, g, x, y, w, *graph, 15)),
        ]

    def bad_inputs(self):
        x, y, w, edges = self.example(5)
        return [
            ((x[:, 1:], y, w, edges), ShapeError, r"convolve needs node_feats \[..., \d+\]; got node_feats"),
            ((x, y[1:], w, edges), ShapeError, r"convolve needs edge_sh \[E = 5, 4\]; got \[4, 4\]"),
            ((x, y, w[1:], edges), ShapeError, r"convolve needs weights \[E = 5, \d+\]; got \[4, \d+\]"),
            ((x, y, w[None], edges), ShapeError, r"convolve needs weights \[E = 5, \d+\]; got \[1, 5, \d+\]"),
            ((x, y, None, edges), DtypeError, "needs weights as a floating-point tensor .*; got NoneType"),
            (
                (x, y.float(), w, edges),
                DtypeError,
                "one dtype on one device; got node_feats float64 on cpu, edge_sh float32",
            ),
            ((x.long(), y, w, edges), DtypeError, "needs node_feats as a floating-point tensor .*; got torch.int64"),
            ((x, y, w, edges.int()), DtypeError, "edge_index needs an int64 tensor"),
        ]


class TestChannelwise(Twin):
    tp = SMALL


class TestConnected(Twin):
    tp = UVW

    # The compilers have seen the op above; here they would only repeat the minutes.
    test_compile_with_inductor = None
    test_compile = None
    test_a_traced_gradient_can_be_differentiated_again = None
    test_export_with_open_sizes = None


def example(tp, nodes, edges, dtype=torch.float64):
    plan = tp.plan
    return tuple(
        torch.randn(*s, dtype=dtype) for s in ((nodes, plan.dim1), (edges, plan.dim2), (edges, plan.weight_numel))
    )


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 12))
def test_any_graph(num_src, num_dst, edges):
    x, y, w = example(UVU, num_src, edges)
    edge_index = torch.stack([torch.randint(num_src, (edges,)), torch.randint(num_dst, (edges,))])
    order = edge_order(edge_index, num_src, num_dst)
    rows = messages(UVU, x[order.src], y, w)
    expected = torch.zeros(num_dst, UVU.irreps_out.dim, dtype=torch.float64).index_add(0, order.dst, rows)
    torch.testing.assert_close(convolve(x, y, w, order, UVU.plan), expected, rtol=0, atol=1e-12)


def test_edges_may_come_in_any_order():
    x, y, w = example(UVU, 5, 20)
    edge_index = torch.randint(5, (2, 20))
    out = convolve(x, y, w, edge_order(edge_index, 5), UVU.plan)
    p = torch.randperm(20)
    shuffled = convolve(x, y[p], w[p], edge_order(edge_index[:, p], 5), UVU.plan)
    torch.testing.assert_close(shuffled, out, rtol=0, atol=1e-13)


def test_one_edge_twice_counts_twice_and_alone_is_zero():
    x, y, w = example(UVU, 3, 1)
    once = convolve(x, y, w, edge_order(torch.tensor([[0], [1]]), 3), UVU.plan)
    twice = convolve(x, y.expand(2, -1), w.expand(2, -1), edge_order(torch.tensor([[0, 0], [1, 1]]), 3), UVU.plan)
    torch.testing.assert_close(twice, 2 * once)
    assert torch.equal(once[[0, 2]], torch.zeros(2, UVU.irreps_out.dim, dtype=torch.float64))
    assert once[1].abs().max() > 0


def test_weights_of_all_edges_and_none():
    x, y, w = example(UVU, 4, 7)
    order = edge_order(torch.randint(4, (2, 7)), 4)
    expected = convolve(x, y, w[:1].expand(7, -1), order, UVU.plan)
    torch.testing.assert_close(convolve(x, y, w[0], order, UVU.plan), expected)
    full = o3.FullTensorProduct("2x0e+2x1o", "0e+1o").plan
    x, y = torch.randn(4, 8), torch.randn(7, 4)
    rows = tensor_product(x[order.src], y, None, full)
    torch.testing.assert_close(convolve(x, y, None, order, full), torch.zeros(4, 32).index_add(0, order.dst, rows))


def test_mixed_paths_with_and_without_weights():
    instructions = [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", False), (1, 0, 2, "uvuv", True)]
    tp = o3.TensorProduct("3x0e+3x1o", "0e+1o", "3x0e+3x2e+3x1o", instructions, shared_weights=False)
    theirs = e3nn.o3.TensorProduct("3x0e+3x1o", "0e+1o", "3x0e+3x2e+3x1o", instructions, shared_weights=False)
    x, y, w = example(tp, 4, 9, torch.float32)
    order = edge_order(torch.randint(4, (2, 9)), 4)
    for weights in (w, w[:1].expand(9, -1)):
        expected = torch.zeros(4, 27).index_add(0, order.dst, theirs(x[order.src], y, weights))
        torch.testing.assert_close(convolve(x, y, weights, order, tp.plan), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(convolve(x, y, w[0], order, tp.plan), expected, rtol=0, atol=1e-5)


@settings(max_examples=5)
@given(st.sampled_from(["2x0e+1o", "2x0o+2x1e+2x2o", "3x3o+2x0e", "2x6e+1o"]), st.integers(1, 3))
def test_is_equivariant(irreps_in, lmax):
    tp = channelwise(irreps_in, str(o3.Irreps.spherical_harmonics(lmax)), "+".join(map(str, o3.Irrep.iterator(6))))
    x, y, w = example(tp, 4, 10)
    R = -o3.rand_matrix(dtype=torch.float64)
    D1, D2, D3 = (irreps.D_from_matrix(R) for irreps in (tp.irreps_in1, tp.irreps_in2, tp.irreps_out))
    order = edge_order(torch.randint(4, (2, 10)), 4)
    out = convolve(x, y, w, order, tp.plan)
    assert out.abs().max() > 1e-3
    torch.testing.assert_close(convolve(x @ D1.T, y @ D2.T, w, order, tp.plan), out @ D3.T, rtol=0, atol=1e-11)


def test_node_rows_must_be_those_of_the_order():
    x, y, w = example(UVU, 4, 2)
    order = edge_order(torch.tensor([[0, 1], [1, 0]]), 5)
    with pytest.raises(ShapeError, match=r"convolve needs node_feats \[num_src = 5, 23\]; got \[4, 23\]"):
        convolve(x, y, w, order, UVU.plan)


def test_tables_of_another_plan():
    x, y, w = example(UVU, 4, 2)
    order, tables = edge_order(torch.tensor([[0, 1], [1, 0]]), 4), SMALL.plan.tables(torch.float64)
    with pytest.raises(ShapeError, match=r"convolve needs tables \[\d+\] = plan.tables.*Make them from the same plan"):
        convolve(x, y, w, order, UVU.plan, tables=tables)


def test_shapes_on_meta():
    x, y, w = (operand.to("meta") for operand in example(UVU, 4, 2))
    order = edge_order(torch.empty(2, 2, dtype=torch.int64, device="meta"), 4, 3)
    assert convolve(x, y, w, order, UVU.plan).shape == (3, UVU.plan.dim_out)


def test_paths_that_are_not_channelwise():
    """Messages are made by the kernels of the tensor product, and summed."""
    tp = o3.TensorProduct("2x0e+2x1o", "3x0e+1o", "2x0e+2x1o", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvw", True)])
    x, y, _ = example(tp, 4, 6)
    weights = torch.randn(tp.weight_numel, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, y, weights)]
    order = edge_order(torch.tensor([[0, 1, 1, 3, 2, 0], [1, 0, 3, 3, 0, 1]]), 4)
    found, expected = (convolve(*inputs, order, tp.plan, backend=backend) for backend in ("fused", "reference"))
    assert_near(found, expected, 1e-12)
    for a, b in zip(*(torch.autograd.grad(z.sin().sum(), inputs) for z in (found, expected)), strict=True):
        assert_near(a, b, 1e-12)


# Every number of components that kernels know, and others; multiplicities below, at and above vectors; shared outputs.
PATHS = [
    channelwise("1x0e+16x1o+17x2e+3x3o", "0e+1o+2e+3o", "0e+1o+2e+3o"),
    channelwise("2x4e+1x5o", "0e+1o+4e", "4e+5o+1o+8e"),
    channelwise("40x0e+33x1o", "0e+1o", "0e+1o+1e"),
    o3.TensorProduct(
        "5x0e+5x1o",
        "0e+1o",
        "5x0e+5x1o",
        [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True), (0, 1, 1, "uvu", False), (1, 0, 1, "uvu", True)],
        shared_weights=False,
    ),
    o3.TensorProduct(
        "10x0e+18x1o",
        "0e+1o",
        "33x1o+10x0e+1x1e",
        [(0, 1, 0, "uvw", True), (1, 0, 0, "uvw", True), (1, 1, 1, "uvw", True), (1, 1, 2, "uvw", True)],
        shared_weights=False,
    ),
]


@fused
@pytest.mark.parametrize("tp", PATHS, ids=lambda tp: str(tp.irreps_in1))
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shared", [False, True])
def test_every_path_and_input_to_third_order(tp, dtype, shared):
    torch.manual_seed(3)
    x, y, w = example(tp, 6, 45)
    w = w[0] if shared else w
    order = edge_order(torch.stack([torch.randint(6, (45,)), torch.randint(1, 5, (45,))]), 6)
    found = {}
    for backend in ("reference", "fused"):
        kind = torch.float64 if backend == "reference" else dtype
        leaves = [operand.to(kind).requires_grad_() for operand in (x, y, w)]
        out = convolve(*leaves, order, tp.plan, backend=backend)
        results = [out]
        for _ in range(3):
            last = results[-1] if len(results) == 1 else torch.cat([r.flatten() for r in results[-3:]])
            scale = last.detach().double().square().mean().sqrt().to(kind)
            results += torch.autograd.grad((last / scale).sin().sum(), leaves, create_graph=True)
        found[backend] = results
    for k, (a, b) in enumerate(zip(found["fused"], found["reference"], strict=True)):
        assert_near(a, b, TOLERANCE[dtype] * 3 ** ((k + 2) // 3))


@fused
@pytest.mark.parametrize("tp", PATHS[:2], ids=lambda tp: str(tp.irreps_in1))
def test_results_do_not_depend_on_threads(tp):
    x, y, w = (operand.requires_grad_() for operand in example(tp, 300, 6000, torch.float32))
    order = edge_order(torch.randint(300, (2, 6000)), 300)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2, 3):
            torch.set_num_threads(threads)
            out = convolve(x, y, w, order, tp.plan, backend="fused")
            grads = torch.autograd.grad(out.square().sum(), (x, y, w), create_graph=True)
            found.append([out, *grads, *torch.autograd.grad(sum(g.square().sum() for g in grads), (x, y, w))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@fused
def test_padding_never_reaches_a_result():
    """Numbers beside a row of weights, even if they are not numbers, are no part of it."""
    tp = channelwise("3x0e+5x1o", "0e+1o", "0e+1o")
    x, y, w = example(tp, 4, 9)
    wide = torch.full((9, tp.weight_numel + 20), float("nan"), dtype=torch.float64)
    wide[:, : tp.weight_numel] = w
    order = edge_order(torch.randint(4, (2, 9)), 4)
    results = []
    for weights in (w, wide[:, : tp.weight_numel]):
        leaves = x.clone().requires_grad_(), y.clone().requires_grad_(), weights.clone().requires_grad_()
        view = leaves[2] if weights is w else wide[:, : tp.weight_numel].requires_grad_()
        out = convolve(leaves[0], leaves[1], view, order, tp.plan, backend="fused")
        results.append([out, *torch.autograd.grad(out.square().sum(), (leaves[0], leaves[1], view))])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@fused
def test_offsets_beyond_32_bits():
    """One row of weights, shown as more rows than 32 bits can count the numbers of."""
    tp = channelwise("1024x0e", "0e", "0e")
    edges = 2**31 // 1024 + 5
    w = torch.randn(1, 1024, dtype=torch.float64).expand(edges, 1024)
    x, y = torch.randn(1, 1024, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64).expand(edges, 1)
    order = edge_order(torch.zeros(2, edges, dtype=torch.int64), 1)
    out = convolve(x, y, w, order, tp.plan, backend="fused")
    torch.testing.assert_close(out, edges * x * w[:1], rtol=1e-9, atol=1e-9)


@fused
@pytest.mark.parametrize(
    "break_it",
    [
        lambda a: a["src"].fill_(99),
        lambda a: a["src"].fill_(-1),
        lambda a: a["by_dst"].fill_(99),
        lambda a: a["dst_ptr"].fill_(3),
        lambda a: a["dst_ptr"][-1:].fill_(999),
        lambda a: a["by_dst"].fill_(0),
        lambda a: a["paths"].__setitem__(0, 1000),
        lambda a: a["paths"].__setitem__(0, 1),  # overlaps another block
        lambda a: a["paths"].__setitem__(3, 2**63 - 1),
        lambda a: a["paths"].__setitem__(7, 2**63 - 1),
        lambda a: a["paths"].__setitem__(16, 0),  # the weights of the first path, too
        lambda a: a["paths"].__setitem__(7, 1000),
        lambda a: a.__setitem__("paths", a["paths"][:-1]),
        lambda a: a.__setitem__("panels", a["panels"][:2]),
        lambda a: a.__setitem__("dim_out", 1),
        lambda a: a.__setitem__("y", a["y"][1:]),
    ],
)
def test_bad_arguments_of_the_kernel_never_read_out_of_bounds(break_it):
    x, y, w = example(UVU, 4, 9)
    order, plan = edge_order(torch.randint(4, (2, 9)), 4), UVU.plan
    panels = plan.tables(torch.float64)[plan.panel_offset :]
    arguments = {"x": x, "y": y, "w": w, "src": order.src.clone(), "by_dst": order.by_dst.clone()}
    arguments |= {"dst_ptr": order.dst_ptr.clone(), "panels": panels, "paths": list(plan.panel_paths)}
    arguments["dim_out"] = plan.dim_out
    torch.ops.irrepnet.convolve(*arguments.values())
    break_it(arguments)
    with pytest.raises(RuntimeError, match="convolve needs"):
        torch.ops.irrepnet.convolve(*arguments.values())
