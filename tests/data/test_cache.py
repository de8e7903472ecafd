import functools
import multiprocessing
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from irrepnet.data import Frame, build_graph
from irrepnet.data.cache import NeighborLists, cached_neighbor_lists, locked, structures_digest
from irrepnet.data.checked_file import seal
from irrepnet.data.subset import FrameSubset
from irrepnet.errors import DataError

CUTOFF = 2.5


def refuse(note):
    raise AssertionError(note)


def frames(count=20, seed=0):
    """Open and periodic structures, with and without neighbours, and with images far away."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        size = int(rng.integers(1, 7))
        cell = None if i % 3 == 0 else np.diag(rng.uniform(2, 4, 3))
        pos = rng.uniform(0, 3, (size, 3))
        pos[0] += 0 if cell is None else cell[0] * 10 ** (i // 6)
        made.append(Frame(species=rng.integers(1, 9, size), pos=pos, cell=cell, pbc=cell is not None, source=f"f{i}"))
    return made


def entry(folder):
    (path,) = (path for path in folder.iterdir() if path.suffix == ".bin")
    return path


def assert_right(lists, structures, cutoff=CUTOFF):
    assert len(lists) == len(structures)
    for place, frame in enumerate(structures):
        graph = build_graph(frame, cutoff, dtype=torch.float64)
        edge_index, edge_shift = lists[place]
        assert torch.equal(edge_index, graph.edge_index) and torch.equal(edge_shift, graph.edge_shift)
        assert edge_index.dtype == edge_shift.dtype == torch.int64
        assert (lists.num_atoms[place], lists.num_edges[place]) == (graph.num_nodes, graph.num_edges)


def test_lists_are_those_that_are_found(tmp_path):
    structures = frames()
    for _ in range(2):  # made, then read
        assert_right(cached_neighbor_lists(structures, CUTOFF, tmp_path, say=refuse), structures)


def test_shifts_of_any_size(tmp_path, monkeypatch):
    """Three widths on disk: no shifts, 32 bits, and 64 bits for atoms absurdly far from the cell."""
    monkeypatch.setattr("irrepnet.data.neighborhood._WIDEST", 1e12)
    monkeypatch.setattr("irrepnet.data.cache.build_graph", functools.partial(build_graph, backend="torch"))
    cell = {"cell": 3 * np.eye(3), "pbc": True}
    structures = [Frame(species=[1, 1], pos=[[3.0 * k, 0, 0], [0.5, 0, 0]], **cell) for k in (0, 1, 1e6, 2.0**33)]
    lists = cached_neighbor_lists(structures, 1.0, tmp_path)
    assert [int(lists[place][1].abs().max()) for place in range(4)] == [0, 1, 10**6, 2**33]
    for place, frame in enumerate(structures):
        assert torch.equal(lists[place][1], build_graph(frame, 1.0, dtype=torch.float64, backend="torch").edge_shift)


def test_read_and_not_found_anew(tmp_path, monkeypatch):
    structures = frames()
    cached_neighbor_lists(structures, CUTOFF, tmp_path / "new" / "folder")
    monkeypatch.setattr("irrepnet.data.cache.build_graph", None)
    again = [Frame(species=f.species, pos=f.pos, cell=f.cell, pbc=f.pbc, energy=1.0) for f in structures]
    assert len(cached_neighbor_lists(again, CUTOFF, tmp_path / "new" / "folder", say=refuse)) == 20


def test_another_set_order_or_cutoff_is_another_entry(tmp_path):
    structures = frames(4)
    moved = [*structures[:3], Frame(species=[1], pos=[[0, 0, 1e-12]])]
    for other, cutoff in [
        (structures, 2.5),
        (structures, 2.6),
        (structures[::-1], 2.5),
        (structures[:3], 2.5),
        (moved, 2.5),
    ]:
        assert_right(cached_neighbor_lists(other, cutoff, tmp_path, say=refuse), other, cutoff)
    assert len(list(tmp_path.glob("*.bin"))) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[1, 1], [1]], [[1], [1, 1]]),  # the same bytes, cut elsewhere
        ([[1]], [[2]]),
    ],
)
def test_digests_tell_structures_apart(one, other):
    made = [[Frame(species=z, pos=np.zeros((len(z), 3))) for z in part] for part in (one, other)]
    assert structures_digest(made[0]) != structures_digest(made[1])


def test_digests_tell_cells_apart():
    atom = {"species": [1], "pos": [[0, 0, 0]]}
    cell = {"cell": np.eye(3)}
    kinds = [Frame(**atom), Frame(**atom, **cell), Frame(**atom, **cell, pbc=True), Frame(**atom, cell=2 * np.eye(3))]
    assert len({structures_digest([kind]) for kind in kinds}) == 4


def test_no_frames(tmp_path):
    for _ in range(2):
        lists = cached_neighbor_lists([], CUTOFF, tmp_path, say=refuse)
        assert len(lists) == 0 and lists.num_edges.shape == (0,)


def test_a_part_of_a_set_without_a_digest(tmp_path):
    structures = frames(6)
    part = FrameSubset(structures, [4, 1])
    assert_right(cached_neighbor_lists(part, CUTOFF, tmp_path), [structures[4], structures[1]])
    assert structures_digest(part) == structures_digest([structures[4], structures[1]])


def test_damaged_entries_are_made_anew_with_a_note(tmp_path):
    structures, rng, notes = frames(), np.random.default_rng(0), []
    cached_neighbor_lists(structures, CUTOFF, tmp_path)
    whole = entry(tmp_path).read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        entry(tmp_path).write_bytes(data[: len(data) if rng.random() < 0.8 else rng.integers(len(data))])
        lists = cached_neighbor_lists(structures, CUTOFF, tmp_path, say=notes.append)
        assert entry(tmp_path).read_bytes() == whole
    assert_right(lists, structures)
    assert len(notes) == 40
    assert all(note.endswith("It is made anew") and ".bin" in note for note in notes)
    with pytest.warns(UserWarning, match=r"found no footer; .* It is made anew"):
        entry(tmp_path).write_bytes(b"")
        cached_neighbor_lists(structures, CUTOFF, tmp_path)


def test_an_entry_under_the_name_of_another(tmp_path):
    cached_neighbor_lists(frames(), CUTOFF, tmp_path)
    theirs = entry(tmp_path).read_bytes()
    entry(tmp_path).unlink()
    mine = frames(seed=1)
    cached_neighbor_lists(mine, CUTOFF, tmp_path)
    entry(tmp_path).write_bytes(theirs)
    notes = []
    assert_right(cached_neighbor_lists(mine, CUTOFF, tmp_path, say=notes.append), mine)
    assert "needed the neighbours of another set or cutoff; found those of" in notes[0]


TWO = [Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])] * 2


@pytest.mark.parametrize(
    ("table", "start", "found"),
    [
        ([[0, 2, 4]], 32, "needed the neighbours of 2 frames; found those of 1"),
        ([0, 2], 32, "needed a table of neighbours; found 48 bytes without one"),
        ([[0, 2, 2], [16, 2, 2]], -5, "needed a table of neighbours; found 80 bytes without one"),
        ([[0, 2, 2], [16, 2, 2]], 2**62, "needed a table of neighbours; found 80 bytes without one"),
        ([[0, 2, 3], [16, 2, 2]], 32, "found one that contradicts itself"),
        ([[16, 2, 2], [0, 2, 2]], 32, "found one that contradicts itself"),
        ([[0, 2, 2], [2**62, 2, 2]], 32, "found one that contradicts itself"),
        ([[0, -1, 2], [16, 2, 2]], 32, "found one that contradicts itself"),
        ([[0, 2, 2**61 + 2], [16, 2, 2]], 32, "found one that contradicts itself"),
    ],
)
def test_sealed_entries_with_another_table_are_made_anew_with_a_note(tmp_path, table, start, found):
    key, notes = cached_neighbor_lists(TWO, CUTOFF, tmp_path)._key, []
    entry(tmp_path).write_bytes(bytes(32) + np.array(table, dtype="<i8").tobytes() + struct.pack("<q32s", start, key))
    seal(entry(tmp_path))
    assert_right(cached_neighbor_lists(TWO, CUTOFF, tmp_path, say=notes.append), TWO)
    (note,) = notes
    assert found in note and note.endswith("It is made anew")


@pytest.mark.parametrize("content", [b"", b"short"])
def test_sealed_entries_that_are_too_short(tmp_path, content):
    cached_neighbor_lists(TWO, CUTOFF, tmp_path)
    entry(tmp_path).write_bytes(content)
    seal(entry(tmp_path))
    with pytest.warns(UserWarning, match=r"needed a table of neighbours; found 0 bytes without one. It is made anew"):
        assert_right(cached_neighbor_lists(TWO, CUTOFF, tmp_path), TWO)


def test_a_lock_that_is_a_link_harms_nothing(tmp_path):
    (tmp_path / "victim.txt").write_text("precious")
    (tmp_path / ".a.bin.lock").symlink_to("victim.txt")
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "a.bin"):
        pass
    assert (tmp_path / "victim.txt").read_text() == "precious"


def test_damage_that_comes_later_is_found_when_read(tmp_path):
    lists = cached_neighbor_lists(frames(), CUTOFF, tmp_path)
    data = bytearray(entry(tmp_path).read_bytes())
    data[8] ^= 1
    entry(tmp_path).write_bytes(data)
    copy = pickle.loads(pickle.dumps(lists))
    with pytest.raises(DataError, match=r"is damaged: the SHA-256 of bytes 0 to"):
        [copy[place] for place in range(20)]


def test_what_cannot_be_a_graph_leaves_no_entry(tmp_path):
    with pytest.raises(DataError, match=r"bad frame: .*finite"):
        cached_neighbor_lists([*frames(3), Frame(species=[1], pos=[[np.nan, 0, 0]], source="bad frame")], 2.0, tmp_path)
    assert list(tmp_path.glob("*.bin")) == []


def count_and_find(folder, calls):
    """Find the neighbours as one of several processes; leave a file for each time that they were really found."""
    from irrepnet.data import cache

    real = cache._write

    def write(*arguments):
        (calls / str(os.getpid())).touch()
        real(*arguments)

    cache._write = write
    return cached_neighbor_lists(frames(), CUTOFF, folder, say=refuse).num_edges.tolist()


def test_of_several_processes_one_works(tmp_path):
    (tmp_path / "calls").mkdir()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(count_and_find, [(tmp_path / "cache", tmp_path / "calls")] * 8)
    assert all(edges == found[0] for edges in found)
    assert len(list((tmp_path / "calls").iterdir())) == 1


def test_a_killed_writer_is_no_obstacle(tmp_path):
    code = (
        "import sys, os, signal\nsys.path.insert(0, 'tests')\nfrom data import test_cache as t\n"
        "from irrepnet.data import cache\ncache.seal = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cache.cached_neighbor_lists(t.frames(), t.CUTOFF, {str(tmp_path)!r})"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9
    assert list(tmp_path.glob("*.bin")) == []
    assert_right(cached_neighbor_lists(frames(), CUTOFF, tmp_path, say=refuse), frames())
    assert list(tmp_path.glob("*.tmp")) == list(tmp_path.glob(".*.tmp")) == []


def test_is_small_when_pickled_and_serves_a_fork(tmp_path):
    structures = frames()
    lists = cached_neighbor_lists(structures, CUTOFF, tmp_path)
    assert isinstance(lists, NeighborLists)
    assert_right(pickle.loads(pickle.dumps(lists)), structures)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(lists.__getitem__, range(20))
    assert all(torch.equal(mine[0], lists[place][0]) for place, mine in enumerate(found))
