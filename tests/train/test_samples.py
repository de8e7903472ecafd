import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from irrepnet.data import Frame
from irrepnet.data.subset import FrameSubset
from irrepnet.errors import DataError, ShapeError
from irrepnet.train import LabelledGraphs, LazyItems, batch_indices, label_graphs
from irrepnet.train.samples import batches, steps_per_epoch

CELL = 5.0 * np.eye(3)


def sources(items, batch_size, step, seed):
    """Where the frames of a step's batch are from."""
    indices = batch_indices(len(items), batch_size, step, seed)
    return LabelledGraphs.collate([items[i] for i in indices]).sources


def frames(count, **labels):
    rng = np.random.default_rng(0)
    return [
        Frame(species=[8, 1], pos=rng.uniform(0, 2, (2, 3)), energy=float(i), source=f"f{i}", **labels)
        for i in range(count)
    ]


def test_graphs_and_labels_are_float64_and_keep_their_source():
    frame = Frame(species=[8, 1], pos=np.eye(2, 3), cell=CELL, pbc=True, energy=-3e4, stress=np.eye(3))
    (item,) = label_graphs([frame], 2.0)
    assert item.graph.pos.dtype == item.energy.dtype == item.stress.dtype == torch.float64
    assert item.energy.item() == -3e4
    assert item.stress.shape == (1, 3, 3)
    assert item.forces is None
    assert item.graph.num_edges == 2


def test_collate_joins_in_order_and_drops_a_label_that_one_lacks():
    items = label_graphs([*frames(2, forces=np.ones((2, 3))), *frames(1)], 3.0)
    both = LabelledGraphs.collate(items[:2])
    assert both.energy.tolist() == [0.0, 1.0]
    assert both.forces.shape == (4, 3)
    assert both.atom_counts.tolist() == [2, 2]
    assert both.sources == ("f0", "f1")
    assert LabelledGraphs.collate(items).forces is None
    assert LabelledGraphs.collate(items).energy.tolist() == [0.0, 1.0, 0.0]


def test_batches_cover_everything_in_order():
    sizes = [(batch.graph.num_graphs, batch.sources[0]) for batch in batches(label_graphs(frames(5), 3.0), 2)]
    assert sizes == [(2, "f0"), (2, "f2"), (1, "f4")]


def test_an_epoch_sees_every_frame_once_and_the_next_in_another_order():
    items = label_graphs(frames(7), 3.0)
    per_epoch = steps_per_epoch(7, 2)
    assert per_epoch == 4
    seen = [[s for i in range(4) for s in sources(items, 2, 4 * epoch + i, seed=3)] for epoch in range(3)]
    for epoch in seen:
        assert Counter(epoch) == Counter(f"f{i}" for i in range(7))
    assert seen[0] != seen[1] != seen[2]


def test_a_batch_depends_on_step_and_seed_alone():
    items = label_graphs(frames(7), 3.0)
    before = sources(items, 2, 9, seed=3)
    sources(items, 2, 100, seed=4)
    torch.rand(5)
    assert sources(items, 2, 9, seed=3) == before
    orders = [[sources(items, 2, step, seed=seed) for step in range(4)] for seed in (3, 4)]
    assert orders[0] != orders[1]


def test_batches_start_anew_where_the_labels_change():
    mixed = [*frames(2, forces=np.ones((2, 3))), *frames(3)]
    found = [(batch.graph.num_graphs, batch.forces is None) for batch in batches(label_graphs(mixed, 3.0), 2)]
    assert found == [(2, False), (2, True), (1, True)]


def mixed_frames():
    """Open and periodic, of several sizes, with labels of all kinds."""
    rng = np.random.default_rng(0)
    made = []
    for i, size in enumerate((2, 1, 4, 3)):
        labels = {"forces": rng.normal(size=(size, 3)), "stress": rng.normal(size=(3, 3)), "energy": float(i)}
        properties = {"dipole": rng.normal(size=3), "gap": np.float64(i)}
        atom_properties = {"charge": rng.normal(size=size), "shielding": rng.normal(size=(size, 3, 3))}
        more = {"cell": CELL, "pbc": True} if i % 2 else {}
        pos = rng.uniform(0, 3, (size, 3))
        made.append(
            Frame(species=[1] * size, pos=pos, source=f"m{i}", properties=properties, atom_properties=atom_properties,
                  **labels, **more)
        )  # fmt: skip
    return made


def assert_same(one, other):
    """Two items or batches hold the same bits."""
    mine, theirs = pickle.loads(pickle.dumps((flat(one), flat(other))))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == theirs[name].dtype and torch.equal(
                value.nan_to_num(7.5), theirs[name].nan_to_num(7.5)
            )
        else:
            assert value == theirs[name]


def flat(item):
    parts = {**vars(item.graph), **vars(item)}
    del parts["graph"]
    for name in ("properties", "atom_properties"):
        parts |= {f"{name}/{key}": value for key, value in parts.pop(name).items()}
    return parts


def test_the_order_of_an_epoch_never_changes():
    """A run that was started by an earlier version goes on with the same batches."""
    assert [i for step in range(3) for i in batch_indices(12, 5, step, seed=0)] == [
        8,
        0,
        5,
        9,
        7,
        4,
        2,
        10,
        3,
        1,
        11,
        6,
    ]
    assert [i for step in (9, 10, 11) for i in batch_indices(12, 4, step, seed=7)] == [
        10, 9, 1, 4, 11, 3, 6, 8, 7, 2, 5, 0
    ]  # fmt: skip
    assert [batch_indices(7, 3, step, seed=3) for step in (3, 4, 5)] == [(0, 3, 6), (2, 5, 1), (4,)]
    assert all(type(index) is int for index in batch_indices(7, 3, 3, seed=3))


def test_properties_are_joined_by_name():
    items = label_graphs(mixed_frames(), 3.0)
    batch = LabelledGraphs.collate(items)
    assert items[0].properties["dipole"].shape == (1, 3) and items[0].properties["gap"].shape == (1,)
    assert batch.properties["dipole"].shape == (4, 3) and batch.properties["gap"].tolist() == [0, 1, 2, 3]
    assert batch.atom_properties["charge"].shape == (10,) and batch.atom_properties["shielding"].shape == (10, 3, 3)
    assert torch.equal(batch.atom_properties["shielding"][3:7], items[2].atom_properties["shielding"])
    assert all(label.dtype == torch.float64 for label in (*batch.properties.values(), *batch.atom_properties.values()))
    moved = batch.to("meta")
    assert moved.properties["gap"].device.type == moved.atom_properties["charge"].device.type == "meta"


def test_a_property_that_one_lacks_is_nan_there():
    alone = Frame(species=[1, 1], pos=np.eye(2, 3), properties={"spin": 2.0}, atom_properties={"q": [1.0, 2.0]})
    none = Frame(species=[1], pos=[[0, 0, 0]])
    batch = LabelledGraphs.collate(label_graphs([none, alone, none], 2.0))
    assert batch.properties["spin"].isnan().tolist() == [True, False, True]
    assert batch.atom_properties["q"].isnan().tolist() == [True, False, False, True]


def test_a_property_of_two_shapes_is_named():
    odd = [
        Frame(species=[1], pos=[[0, 0, 0]], properties={"x": value}, source="b.npz frame 3") for value in (1.0, [1.0])
    ]
    with pytest.raises(
        ShapeError, match=r"b.npz frame 3: property x needs one shape in all frames; found \[\] and \[1\]"
    ):
        LabelledGraphs.collate(label_graphs(odd, 1.0))


def test_lazy_items_are_those_of_the_list(tmp_path):
    structures = mixed_frames()
    expected = label_graphs(structures, 3.0)
    assert isinstance(expected, list)
    part = FrameSubset(structures, range(4))
    cached = label_graphs(structures, 3.0, cache=tmp_path)
    for items in (label_graphs(part, 3.0), label_graphs(part, 3.0, cache=tmp_path), cached):
        assert isinstance(items, list if items is cached else LazyItems)
        assert len(items) == len(list(items)) == 4
        for place in range(4):
            assert_same(items[place], expected[place])
            assert_same(list(items)[place], expected[place])
        assert_same(items[-1], expected[-1])
        assert [item.sources for item in items[1::2]] == [item.sources for item in expected[1::2]]
        assert items[1:][1:][0].sources == ("m2",)
        assert_same(LabelledGraphs.collate(items[:3]), LabelledGraphs.collate(expected[:3]))
        with pytest.raises(IndexError):
            items[4]
    assert len(list(tmp_path.glob("*.bin"))) == 1


def test_neighbours_that_were_damaged_on_disk_are_found_anew(tmp_path):
    structures = mixed_frames()
    items = label_graphs(FrameSubset(structures, range(4)), 3.0, cache=tmp_path)
    (entry,) = tmp_path.glob("*.bin")
    data = bytearray(entry.read_bytes())
    data[3] ^= 1
    entry.write_bytes(data)
    fresh = pickle.loads(pickle.dumps(items))
    with pytest.warns(UserWarning, match=r"is damaged: .* The neighbours of m0 are found anew"):
        assert_same(fresh[0], label_graphs(structures, 3.0)[0])


def test_errors_name_the_frame(tmp_path):
    bad = [Frame(species=[1, 1], pos=np.zeros((2, 3)), source="b.npz frame 0")]
    for cache in (None, tmp_path):
        with pytest.raises(DataError, match=r"b.npz frame 0: edges need a length above zero"):
            label_graphs(bad, 2.0, cache=cache)
