from collections import Counter

import numpy as np
import torch

from irrepnet.data import Frame
from irrepnet.train import LabelledGraphs, label_graphs
from irrepnet.train.samples import batches, shuffled_batch, steps_per_epoch

CELL = 5.0 * np.eye(3)


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
    seen = [
        [s for i in range(4) for s in shuffled_batch(items, 2, 4 * epoch + i, seed=3).sources] for epoch in range(3)
    ]
    for epoch in seen:
        assert Counter(epoch) == Counter(f"f{i}" for i in range(7))
    assert seen[0] != seen[1] != seen[2]


def test_a_batch_depends_on_step_and_seed_alone():
    items = label_graphs(frames(7), 3.0)
    before = shuffled_batch(items, 2, 9, seed=3).sources
    shuffled_batch(items, 2, 100, seed=4)
    torch.rand(5)
    assert shuffled_batch(items, 2, 9, seed=3).sources == before
    orders = [[shuffled_batch(items, 2, step, seed=seed).sources for step in range(4)] for seed in (3, 4)]
    assert orders[0] != orders[1]


def test_batches_start_anew_where_the_labels_change():
    mixed = [*frames(2, forces=np.ones((2, 3))), *frames(3)]
    found = [(batch.graph.num_graphs, batch.forces is None) for batch in batches(label_graphs(mixed, 3.0), 2)]
    assert found == [(2, False), (2, True), (1, True)]
