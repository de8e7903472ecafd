import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from ops.brute_force_neighbors import CASES, brute_force, rows

from irrepnet.ops import neighbors
from irrepnet.ops.neighbors import complete_cell, neighbor_pairs, sort_edges, within_cutoff


def find(pos, cell, pbc, cutoff):
    """Call the op as the data room does."""
    pbc = torch.tensor(np.broadcast_to(pbc, 3).copy())
    cell = torch.eye(3, dtype=torch.float64) if cell is None else torch.tensor(np.asarray(cell, dtype=np.float64))
    pos = torch.tensor(np.asarray(pos, dtype=np.float64).reshape(-1, 3))
    return sort_edges(*neighbor_pairs(pos, complete_cell(cell, pbc), pbc, cutoff))


@pytest.mark.parametrize("case", CASES)
def test_equals_brute_force(case):
    expected = brute_force(*CASES[case])
    assert rows(*find(*CASES[case])) == expected
    assert expected or case == "one atom, open"


@settings(max_examples=60)
@given(data=st.data())
def test_equals_brute_force_in_any_cell(data):
    number = st.floats(-4, 4, width=32)
    cell = np.array(data.draw(st.lists(st.lists(number, min_size=3, max_size=3), min_size=3, max_size=3)))
    assume(abs(np.linalg.det(cell)) > 1e-3)
    assume((1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min() > 1.0)
    pbc = data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    fraction = data.draw(st.lists(st.tuples(*[st.floats(-2, 2, width=32)] * 3), min_size=1, max_size=4))
    cutoff = data.draw(st.floats(0.5, 4.0, width=32))
    pos = np.array(fraction) @ cell
    for row in brute_force(pos, cell, pbc, cutoff * (1 + 1e-9)):  # a distance at the cutoff has two right answers
        distance = np.linalg.norm(pos[row[0]] - pos[row[1]] + np.array(row[2:]) @ cell)
        assume(abs(distance - cutoff) > 1e-9 * cutoff)
    assert rows(*find(pos, cell, pbc, cutoff)) == brute_force(pos, cell, pbc, cutoff)


def test_every_edge_has_its_reverse_at_the_very_cutoff():
    # On a lattice many distances equal the cutoff up to rounding; each pair must be in or out both ways.
    pos = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.1
    edge_index, edge_shift = find(pos, 0.4 * np.eye(3), True, 0.1 * np.sqrt(2))
    forward = set(rows(edge_index, edge_shift))
    assert forward
    assert {(s, d, -a, -b, -c) for d, s, a, b, c in forward} == forward


def test_chunks_do_not_change_the_answer(monkeypatch):
    whole = find(*CASES["cubic"])
    monkeypatch.setattr(neighbors, "_CHUNK", 50)
    assert all(torch.equal(a, b) for a, b in zip(find(*CASES["cubic"]), whole, strict=True))


def test_memory_stays_bounded():
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    pos = np.random.default_rng(0).uniform(0, 32, (2000, 3))
    with Watch():
        edge_index, _ = find(pos, 32 * np.eye(3), True, 3.0)
    assert edge_index.shape[1] > 10_000
    assert largest < 2000**2 / 4  # far below one number per pair


def test_points_far_apart_need_no_grid():
    edge_index, _ = find([[0, 0, 0], [1e9, 0, 0], [1e9, 1, 0], [0, -1e8, 5e8]], None, False, 2.0)
    assert edge_index.tolist() == [[2, 1], [1, 2]]


def test_no_points():
    edge_index, edge_shift = find(np.zeros((0, 3)), np.eye(3), True, 1.0)
    assert edge_index.shape == (2, 0)
    assert edge_shift.shape == (0, 3)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True), (False, False, False)])
def test_complete_cell_spans_space_and_keeps_the_periods(pbc):
    cell, periods = torch.tensor([[2.0, 1.0, 0.0], [0.3, 3.0, 0.0], [1.0, 1.0, 1.0]]), torch.tensor(pbc)
    whole = complete_cell(cell, periods)
    assert torch.equal(whole[periods], cell[periods])
    free = whole[~periods]
    assert torch.allclose(free @ free.T, torch.eye(len(free)), atol=1e-6)
    assert torch.allclose(free @ cell[periods].T, torch.zeros(len(free), sum(pbc)), atol=1e-6)


def test_sort_is_by_dst_then_src_then_shift_whatever_the_order():
    generator = torch.Generator().manual_seed(1)
    edge_index = torch.randint(0, 4, (2, 300), generator=generator)
    edge_shift = torch.randint(-2000, 2000, (300, 3), generator=generator) // 1500
    ordered = rows(*sort_edges(edge_index, edge_shift))
    assert ordered == sorted(rows(edge_index, edge_shift))


def test_a_planted_wrong_shift_is_outside():
    pos, edge_index = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([[0], [1]])
    cell = 3 * torch.eye(3, dtype=torch.float64)
    assert within_cutoff(pos, cell, edge_index, torch.tensor([[0, 0, 0]]), 1.5).all()
    assert within_cutoff(pos, cell, edge_index, torch.tensor([[-1, 0, 0]]), 2.5).all()
    assert not within_cutoff(pos, cell, edge_index, torch.tensor([[1, 0, 0]]), 2.5).any()
