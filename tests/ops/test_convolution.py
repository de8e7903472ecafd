import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.products import channelwise, messages
from ops.twin import TwinTests

from irrepnet import o3
from irrepnet.errors import BackendError, DtypeError, ShapeError
from irrepnet.ops import as_edge_order, convolve, edge_order, tensor_product

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


class Twin(TwinTests):
    tp: o3.TensorProduct
    backends = ("reference",)
    differentiable = (0, 1, 2)
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

    test_compile_with_inductor = None  # plain PyTorch: Inductor is PyTorch's to test, and takes a minute


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


def test_has_no_fused_kernel():
    x, y, w = example(UVU, 4, 2)
    order = edge_order(torch.tensor([[0, 1], [1, 0]]), 4)
    with pytest.raises(BackendError, match=r"convolve\(backend='fused'\) cannot run: this op has no fused kernel"):
        convolve(x, y, w, order, UVU.plan, backend="fused")
