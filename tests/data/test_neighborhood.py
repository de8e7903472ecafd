import sys

import numpy as np
import pytest
import torch
from ops.brute_force_neighbors import CASES, brute_force, rows

from irrepnet.data import Frame, build_graph, neighbor_list
from irrepnet.errors import BackendError, DataError, DtypeError, ShapeError

TORCH_CLUSTER = pytest.param("torch_cluster", marks=pytest.mark.graph)


def need(backend):
    if backend != "torch":
        pytest.importorskip(backend, reason=f"{backend} is not installed", exc_type=ImportError)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["torch", "vesin", TORCH_CLUSTER])
def test_every_backend_equals_brute_force(backend, case):
    need(backend)
    if backend == "torch_cluster" and np.any(CASES[case][2]):
        with pytest.raises(BackendError, match="serves open systems; found periods"):
            neighbor_list(*CASES[case], backend=backend)
        return
    # Equal as lists: the order is part of the promise.
    assert rows(*neighbor_list(*CASES[case], backend=backend)) == brute_force(*CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_ase_agrees(case):
    ase = pytest.importorskip("ase.neighborlist")
    pos, cell, pbc, cutoff = CASES[case]
    pbc, cell = np.broadcast_to(pbc, 3), np.eye(3) if cell is None else np.array(cell)
    if not cell[2].any():
        cell[2, 2] = 1.0  # ase wants a third vector even where it is no period
    i, j, shift = ase.primitive_neighbor_list("ijS", pbc, cell, pos, float(cutoff), self_interaction=False)
    found = sorted((int(d), int(s), *map(int, row)) for s, d, row in zip(i, j, shift, strict=True))
    assert rows(*neighbor_list(pos, cell, pbc, cutoff)) == found


@pytest.mark.parametrize("backend", ["torch", "vesin", TORCH_CLUSTER])
def test_never_capped(backend):
    need(backend)
    pos = np.random.default_rng(0).uniform(0, 1, (300, 3))
    edge_index, _ = neighbor_list(pos, None, False, 2.0, backend=backend)
    assert edge_index.shape[1] == 300 * 299
    assert len(set(map(tuple, edge_index.T.tolist()))) == 300 * 299


@pytest.mark.graph
def test_a_cap_that_bites_is_an_error(monkeypatch):
    torch_cluster = pytest.importorskip("torch_cluster", exc_type=ImportError)
    whole = torch_cluster.radius_graph
    capped = lambda pos, r, max_num_neighbors: whole(pos, r, max_num_neighbors=32)
    monkeypatch.setattr(torch_cluster, "radius_graph", capped)
    pos = np.random.default_rng(0).uniform(0, 1, (300, 3))
    with pytest.raises(BackendError, match="returned a truncated list; use backend='torch'"):
        neighbor_list(pos, None, False, 2.0, backend="torch_cluster")


def test_float32_positions_are_decided_in_float64():
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])  # 0.1 in float32 is 0.100000001490116
    exact = float(pos[1, 0].double())
    for backend in ("torch", "auto"):
        assert neighbor_list(pos, None, False, exact, backend=backend)[0].shape[1] == 0
        assert neighbor_list(pos, None, False, exact + 1e-12, backend=backend)[0].shape[1] == 2
        assert neighbor_list(pos.double(), None, False, exact + 1e-12, backend=backend)[0].shape[1] == 2


def test_backends_agree_on_a_lattice_at_the_very_cutoff():
    pytest.importorskip("vesin")
    pos = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.7
    for cutoff in 0.7 * np.sqrt([1, 2, 3, 4, 5, 6]):
        found = [rows(*neighbor_list(pos, 2.1 * np.eye(3), True, cutoff, backend=b)) for b in ("torch", "vesin")]
        assert found[0] == found[1]


def test_same_for_torch_numpy_and_one_or_three_bools():
    pos, cell, _, cutoff = CASES["cubic"]
    expected = neighbor_list(pos, cell, True, cutoff)
    tensors = torch.tensor(pos, requires_grad=True), torch.tensor(cell), torch.tensor([True, True, True])
    for found in (neighbor_list(*tensors, cutoff), neighbor_list(pos, cell, np.ones(3, bool), cutoff)):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert not found[0].requires_grad


def test_non_contiguous_positions():
    pos, cell, pbc, cutoff = CASES["cubic"]
    turned = torch.tensor(np.ascontiguousarray(pos.T)).T
    assert not turned.is_contiguous()
    for backend in ("torch", "auto"):
        assert rows(*neighbor_list(turned, cell, pbc, cutoff, backend=backend)) == brute_force(pos, cell, pbc, cutoff)


def test_no_atoms():
    for backend in ("torch", "auto"):
        edge_index, edge_shift = neighbor_list(torch.zeros(0, 3), None, False, 3.0, backend=backend)
        assert edge_index.shape == (2, 0)
        assert edge_shift.shape == (0, 3)
        assert edge_index.dtype == edge_shift.dtype == torch.int64


NAN_AT_1 = np.array([[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]])


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((np.zeros((2, 3)), None, False, 0.0), DataError, "cutoff above 0 Å; found 0.0"),
        ((np.zeros((2, 3)), None, False, -1.0), DataError, "cutoff above 0 Å; found -1.0"),
        ((np.zeros((2, 3)), None, False, np.nan), DataError, "cutoff above 0 Å; found nan"),
        ((NAN_AT_1, None, False, 1.0), DataError, r"finite positions; found \[0.0, nan, 0.0\] at atom 1"),
        ((NAN_AT_1 + np.inf, None, False, 1.0), DataError, "finite positions; found .* at atom 0"),
        ((np.zeros((2, 3)), None, True, 1.0), DataError, "needs a cell for pbc .*; found None; give cell"),
        ((np.zeros((2, 3)), np.zeros((3, 3)), True, 1.0), DataError, "singular cell"),
        ((np.zeros((2, 3)), [[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]], True, 1.0), DataError, "singular cell"),
        ((np.zeros((2, 3)), np.full((3, 3), np.nan), True, 1.0), DataError, "finite lattice vectors"),
        ((np.zeros((2, 2)), None, False, 1.0), ShapeError, r"pos \[N, 3\]; found \[2, 2\]"),
        ((np.zeros((2, 3)), np.zeros(3), True, 1.0), ShapeError, r"cell \[3, 3\]; found \[3\]"),
        ((np.zeros((2, 3)), np.eye(3), [True, False], 1.0), ShapeError, r"one bool or three for pbc; found .*\[2\]"),
        ((np.zeros((2, 3), dtype=int), None, False, 1.0), DtypeError, "floating dtype; found torch.int64"),
    ],
)
def test_bad_input_is_named(arguments, error, match, backend):
    with pytest.raises(error, match=match):
        neighbor_list(*arguments, backend=backend)


def test_unknown_backend_offers_the_nearest():
    with pytest.raises(BackendError, match=r"found 'vesn'\. Did you mean 'vesin'"):
        neighbor_list(np.zeros((1, 3)), None, False, 1.0, backend="vesn")


def test_auto_goes_on_without_libraries_and_a_name_does_not(monkeypatch):
    for name in ("vesin", "torch_cluster"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now fails
    assert rows(*neighbor_list(*CASES["cubic"])) == brute_force(*CASES["cubic"])
    assert rows(*neighbor_list(*CASES["open cluster"])) == brute_force(*CASES["open cluster"])
    with pytest.raises(BackendError, match=r"backend='vesin'\) cannot run: .*; use backend='torch'"):
        neighbor_list(*CASES["cubic"], backend="vesin")


def test_build_graph_holds_the_frame_and_finds_neighbours_in_float64():
    pos, cell, _, cutoff = CASES["skewed triclinic"]
    frame = Frame(species=np.arange(1, 9), pos=pos, cell=cell, pbc=True)
    graph = build_graph(frame, cutoff)
    assert graph.pos.dtype == graph.cell.dtype == torch.float32
    assert graph.species.tolist() == list(range(1, 9))
    assert rows(graph.edge_index, graph.edge_shift) == brute_force(pos, cell, True, cutoff)
    vec = graph.pos[graph.edge_index[1]] - graph.pos[graph.edge_index[0]] + graph.edge_shift.float() @ graph.cell[0]
    assert (vec.norm(dim=1) < cutoff + 1e-5).all()
    assert build_graph(frame, cutoff, dtype=torch.float64).pos.dtype == torch.float64


def test_build_graph_names_the_frame():
    with pytest.raises(DataError, match=r"w\.npz frame 3: edges need a length above zero; found atoms"):
        build_graph(Frame(species=[1, 1], pos=np.zeros((2, 3)), source="w.npz frame 3"), 1.0)
    with pytest.raises(DataError, match=r"w\.npz frame 3: neighbor_list needs finite positions"):
        build_graph(Frame(species=[1, 1], pos=NAN_AT_1, source="w.npz frame 3"), 1.0)


def test_build_graph_without_edges():
    graph = build_graph(Frame(species=[1], pos=np.zeros((1, 3))), 1.0)
    assert (graph.num_nodes, graph.num_edges, graph.num_graphs) == (1, 0, 1)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_atoms_that_have_flown_away_are_named_before_a_library_overflows(backend):
    with pytest.raises(DataError, match=r"within 10000 Å of each other; found 1e\+05 Å; .*have flown away"):
        neighbor_list([[0.0, 0, 0], [1e5, 0, 0]], None, False, 3.0, backend=backend)
