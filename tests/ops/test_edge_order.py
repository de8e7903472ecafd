import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import DataError, DtypeError, ShapeError
from irrepnet.ops import EdgeOrder, as_edge_order, edge_order


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 12))
def test_both_orders_sort_the_edges_and_keep_ties(num_src, num_dst, edges):
    edge_index = torch.stack([torch.randint(num_src, (edges,)), torch.randint(num_dst, (edges,))])
    order = edge_order(edge_index, num_src, num_dst)
    assert torch.equal(torch.stack([order.src, order.dst]), edge_index)
    for index, by, ptr, size in (
        (order.dst, order.by_dst, order.dst_ptr, num_dst),
        (order.src, order.by_src, order.src_ptr, num_src),
    ):
        assert by.tolist() == sorted(range(edges), key=lambda e: (int(index[e]), e))
        assert ptr.shape == (size + 1,) and ptr.dtype == torch.int64
        for n in range(size):
            assert sorted(by[ptr[n] : ptr[n + 1]].tolist()) == [e for e in range(edges) if index[e] == n]


def test_sizes_default_to_the_sources():
    order = edge_order(torch.empty(2, 0, dtype=torch.int64), 3)
    assert (order.num_src, order.num_dst) == (3, 3) and order.dst_ptr.tolist() == [0, 0, 0, 0]
    assert edge_order(torch.empty(2, 0, dtype=torch.int64), 0).dst_ptr.tolist() == [0]
    assert isinstance(order, EdgeOrder)


def test_an_order_passes_through():
    order = edge_order(torch.tensor([[0, 1], [1, 0]]), 2)
    assert as_edge_order(order, 2) is order and as_edge_order(order, 2, 2) is order
    with pytest.raises(ShapeError, match="needs 3 sources and 2 destinations; got one of 2 and 2"):
        as_edge_order(order, 3)
    with pytest.raises(ShapeError, match="needs 2 sources and 5 destinations; got one of 2 and 2"):
        as_edge_order(order, 2, 5)


@pytest.mark.parametrize(
    ("edge_index", "error", "message"),
    [
        (torch.tensor([[0], [3]]), DataError, r"each destination in 0..2; got 3 at edge 0 \(1 of 1 edges\)"),
        (torch.tensor([[0, -1, -1], [0, 1, 2]]), DataError, r"each source in 0..2; got -1 at edge 1 \(2 of 3 edges\)"),
        (
            torch.tensor([[0], [1]], dtype=torch.int32),
            DtypeError,
            r"int64 tensor \[2, E\]; got torch.int32.*\.long\(\)",
        ),
        ([[0], [1]], DtypeError, "got list"),
        (torch.tensor([[0, 1]]), ShapeError, r"needs shape \[2, E\].*got \[1, 2\]"),
        (torch.tensor([0, 1]), ShapeError, r"got \[2\]"),
    ],
)
def test_bad_edges_are_named(edge_index, error, message):
    with pytest.raises(error, match=message):
        edge_order(edge_index, 3)


@pytest.mark.parametrize("sizes", [(-1,), (2, -1)])
def test_sizes_are_not_negative(sizes):
    with pytest.raises(ShapeError, match=r"needs num_src and num_dst >= 0; got -?[12] and -1"):
        edge_order(torch.empty(2, 0, dtype=torch.int64), *sizes)


def test_can_be_made_while_a_graph_is_traced():
    edges = torch.tensor([[0, 1, 2], [2, 2, 0]])
    compiled = torch.compile(lambda e: edge_order(e, 3)[:6], backend="aot_eager", fullgraph=True)
    for a, b in zip(compiled(edges), edge_order(edges, 3), strict=False):
        assert torch.equal(a, b)
