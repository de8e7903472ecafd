from types import SimpleNamespace

import pytest
import torch

from irrepnet.data import Graph
from irrepnet.errors import DataError, DtypeError, ShapeError

PAIR = torch.tensor([[1, 0], [0, 1]])


def pair(**changes):
    """Two atoms that see each other; changes replace its parts."""
    parts = {"pos": torch.eye(3)[:2], "species": torch.tensor([8, 1]), "edge_index": PAIR}
    return Graph.checked(**{**parts, **changes})


def periodic(length=3.0):
    """One atom that sees its image."""
    return Graph.checked(
        torch.zeros(1, 3), torch.tensor([18]), torch.zeros(2, 2, dtype=torch.long),
        torch.tensor([[-1, 0, 0], [1, 0, 0]]), length * torch.eye(3),
    )  # fmt: skip


def test_defaults_are_one_open_structure():
    graph = pair()
    assert (graph.num_nodes, graph.num_edges, graph.num_graphs) == (2, 2, 1)
    assert graph.cell is None
    assert graph.pbc.tolist() == [[False] * 3]
    assert graph.batch.tolist() == [0, 0]
    assert graph.edge_shift.tolist() == [[0, 0, 0]] * 2


def test_a_cell_means_all_periodic_unless_said():
    assert periodic().pbc.all()
    assert periodic().cell.shape == (1, 3, 3)
    assert not pair(cell=torch.eye(3), pbc=torch.zeros(3, dtype=torch.bool)).pbc.any()


def test_empty_graph():
    graph = Graph.checked(torch.zeros(0, 3), torch.zeros(0).long(), torch.zeros(2, 0).long())
    assert (graph.num_nodes, graph.num_edges, graph.num_graphs) == (0, 0, 1)
    assert Graph.collate([graph, pair()]).batch.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"pos": torch.zeros(2, 2)}, ShapeError, r"pos \[N, 3\]; found \[2, 2\]"),
        ({"species": torch.tensor([8])}, ShapeError, r"species \[2\]; found \[1\]"),
        ({"edge_index": torch.zeros(3, 2).long()}, ShapeError, r"edge_index \[2, E\]; found \[3, 2\]"),
        ({"edge_shift": torch.zeros(1, 3).long()}, ShapeError, r"edge_shift \[2, 3\]; found \[1, 3\]"),
        ({"cell": torch.zeros(2, 3, 3)}, ShapeError, r"cell \[1, 3, 3\]; found \[2, 3, 3\]"),
        ({"batch": torch.zeros(3).long(), "num_graphs": 1}, ShapeError, r"batch \[2\]; found \[3\]"),
        ({"pos": torch.zeros(2, 3).long()}, DtypeError, "floating dtype; found torch.int64"),
        ({"species": torch.tensor([8, 1], dtype=torch.int32)}, DtypeError, r"species.to\(torch.int64\)"),
        ({"edge_index": PAIR.int()}, DtypeError, "edge_index of dtype torch.int64; found torch.int32"),
        ({"cell": torch.eye(3).double()}, DtypeError, "cell of dtype torch.float32; found torch.float64"),
        ({"pos": torch.tensor([[0.0, 0, 0], [0, torch.nan, 0]])}, DataError, "finite numbers; found .* at atom 1"),
        ({"edge_index": PAIR + 1}, DataError, "edge_index needs atoms 0 to 1; found 2"),
        ({"edge_index": PAIR - 1}, DataError, "edge_index needs atoms 0 to 1; found -1"),
        ({"cell": torch.zeros(3, 3)}, DataError, "graph 0: cell needs .* found the singular cell"),
        ({"edge_shift": torch.ones(2, 3).long()}, DataError, "need a cell; found cell=None"),
        ({"pbc": torch.ones(3, dtype=torch.bool)}, DataError, "need a cell; found cell=None"),
        ({"batch": torch.tensor([0, 2]), "num_graphs": 2}, DataError, "batch needs numbers from 0 to 1; found 0 to 2"),
        ({"batch": torch.tensor([1, 0])}, DataError, "ascending numbers; found a lower one at atom 1"),
        ({"batch": torch.tensor([0, 1])}, DataError, "edges inside one structure; found edge 0 from graph 1"),
        ({"pos": torch.ones(2, 3)}, DataError, "length above zero; found atoms 1 and 0 at one place"),
    ],
)
def test_bad_parts_are_named(changes, error, match):
    with pytest.raises(error, match=match):
        pair(**changes)


def test_zero_length_across_the_cell_face_is_found():
    pos = torch.tensor([[0.0, 0, 0], [3.0, 0, 0]])
    shifts = torch.tensor([[1, 0, 0], [-1, 0, 0]])
    assert pair(pos=pos, edge_shift=-shifts, cell=3 * torch.eye(3)).num_edges == 2
    with pytest.raises(DataError, match="length above zero"):
        pair(pos=pos, edge_shift=shifts, cell=3 * torch.eye(3))


def test_collate_keeps_the_order_and_takes_open_and_periodic():
    batch = Graph.collate([pair(), periodic(), pair()])
    assert batch.num_graphs == 3
    assert batch.batch.tolist() == [0, 0, 1, 2, 2]
    assert batch.species.tolist() == [8, 1, 18, 8, 1]
    assert batch.edge_index.tolist() == [[1, 0, 2, 2, 4, 3], [0, 1, 2, 2, 3, 4]]
    assert batch.edge_shift[2:4].tolist() == [[-1, 0, 0], [1, 0, 0]]
    assert batch.pbc.any(dim=1).tolist() == [False, True, False]
    assert batch.cell[1].equal(3 * torch.eye(3))
    assert not batch.cell[[0, 2]].any()
    again = Graph.checked(**{name: getattr(batch, name) for name in batch.__dataclass_fields__})
    assert again.num_edges == 6


def test_collate_of_batches_is_collate_of_all():
    one, two = Graph.collate([pair(), periodic()]), Graph.collate([periodic(), pair()])
    nested, flat = Graph.collate([one, two]), Graph.collate([pair(), periodic(), periodic(), pair()])
    for name in ("pos", "species", "edge_index", "edge_shift", "cell", "pbc", "batch"):
        assert torch.equal(getattr(nested, name), getattr(flat, name))


def test_collate_refuses_nothing_and_mixed_dtypes():
    with pytest.raises(DataError, match="at least one graph; found none"):
        Graph.collate([])
    with pytest.raises(DtypeError, match=r"one dtype; found \['torch.float32', 'torch.float64'\]; use Graph.to"):
        Graph.collate([pair(), pair().to(dtype=torch.float64)])


def test_to_moves_floats_and_leaves_integers():
    graph = periodic().to(dtype=torch.float64)
    assert graph.pos.dtype == graph.cell.dtype == torch.float64
    assert graph.species.dtype == graph.edge_index.dtype == torch.int64
    moved = periodic().to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in ("pos", "species", "edge_index", "cell", "pbc"))
    assert moved.pos.dtype == torch.float32


def test_from_pyg():
    data = SimpleNamespace(
        pos=torch.eye(3)[:2], z=torch.tensor([8, 1]), edge_index=PAIR, edge_shift=torch.tensor([[0, 0, 1], [0, 0, -1]]),
        cell=4 * torch.eye(3), pbc=torch.tensor([True, False, True]), batch=None,
    )  # fmt: skip
    graph = Graph.from_pyg(data)
    assert graph.species.tolist() == [8, 1]
    assert graph.pbc.tolist() == [[True, False, True]]
    batch = SimpleNamespace(
        pos=torch.arange(9.0).reshape(3, 3), species=torch.tensor([8, 1, 1]), edge_index=PAIR,
        batch=torch.tensor([0, 0, 1]), num_graphs=3,
    )  # fmt: skip
    assert Graph.from_pyg(batch).num_graphs == 3


def test_from_pyg_names_what_is_missing():
    with pytest.raises(DataError, match="from_pyg needs z or species; found SimpleNamespace without it"):
        Graph.from_pyg(SimpleNamespace(pos=torch.zeros(1, 3), edge_index=PAIR))
    with pytest.raises(DataError, match="needs edge_shift where there is a cell; found None"):
        Graph.from_pyg(
            SimpleNamespace(pos=torch.zeros(1, 3), z=torch.ones(1).long(), edge_index=PAIR, cell=torch.eye(3))
        )
