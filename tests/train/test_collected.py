"""An evaluation that several ranks share is the one that a single rank makes."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from train import toy

from irrepnet.data import Frame, read_frames
from irrepnet.models import ForceField, ForceFieldConfig
from irrepnet.train import Evaluation, LabelledGraphs, evaluate, force_field_loss, label_graphs
from irrepnet.train.config import LossConfig
from irrepnet.train.tasks import TargetTask


class ThreadRanks:
    """Ranks that are threads: they meet at a barrier and read what each has laid down."""

    def __init__(self, rank, barrier, table):
        self.rank, self.size, self.is_main = rank, barrier.parties, rank == 0
        self._barrier, self._table = barrier, table

    def gather(self, thing):
        self._table[self.rank] = thing
        self._barrier.wait(timeout=30)
        everything = list(self._table)
        self._barrier.wait(timeout=30)
        return everything

    gather_tensor = gather


def on_ranks(size, function):
    """Return what a function of ranks gives on each."""
    barrier, table, results = threading.Barrier(size), [None] * size, [None] * size

    def work(rank):
        results[rank] = function(ThreadRanks(rank, barrier, table))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def items(tmp_path):
    """Seven frames; the first two have no energy, so one rank may see a label that another does not."""
    items = label_graphs(read_frames(toy.write_frames(tmp_path / "a.npz", num_frames=7)), toy.CUTOFF)
    return [dataclasses.replace(item, energy=None) for item in items[:2]] + list(items[2:])


@pytest.fixture
def model():
    return ForceField(ForceFieldConfig(species=("H", "O"), **toy.MODEL)).eval()


def assert_same(one, other):
    for field in dataclasses.fields(Evaluation):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("reference", "predicted"):
            assert first.keys() == second.keys()
            for label in first:
                np.testing.assert_array_equal(first[label], second[label])
        elif isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second, field.name


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_bits_of_one_rank(model, items, size, batch_size):
    loss = LossConfig(energy=0.0)
    whole = evaluate(model, items, batch_size=batch_size, loss=loss)
    shared = on_ranks(size, lambda ranks: evaluate(model, items, batch_size=batch_size, loss=loss, ranks=ranks))
    for evaluation in shared:
        assert_same(evaluation, whole)
    assert np.isnan(whole.reference["energy"][:2]).all()
    assert whole.num_values == {"energy": 5, "forces": 84}


def test_an_interruption_of_one_rank_is_one_of_all(model, items):
    found = on_ranks(2, lambda ranks: evaluate(model, items, ranks=ranks, interrupted=lambda: ranks.rank == 1))
    assert found == [None, None]


def test_predictions_that_are_not_finite_are_named_on_all_ranks(model, items):
    next(model.parameters()).data.fill_(float("nan"))
    one, other = on_ranks(2, lambda ranks: evaluate(model, items, ranks=ranks))
    assert one.not_finite == other.not_finite == tuple(item.sources[0] for item in items)


def mixed_frames():
    """Frames of one to five atoms; gaps of some and shifts of some atoms are known."""
    rng = np.random.default_rng(3)
    frames = []
    for place, size in enumerate([1, 5, 2, 3, 1, 4, 2]):
        shifts = rng.normal(size=size)
        shifts[rng.random(size) < 0.4] = np.nan
        gap = {} if place % 3 == 1 else {"gap": rng.normal()}
        frames.append(
            Frame(
                species=[1] * size,
                pos=rng.normal(size=(size, 3)) * 5,
                properties=gap,
                atom_properties={"shift": shifts},
                source=f"f{place}",
            )
        )
    return frames


class Zeros(torch.nn.Module):
    """Predicts zero for every target."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, graph):
        zeros = torch.zeros(graph.num_graphs, dtype=torch.float64), torch.zeros(graph.num_nodes, dtype=torch.float64)
        return {"gap": zeros[0], "shift": zeros[1]}


TASK = TargetTask(units={"gap": "eV", "shift": "ppm"}, scales={"gap": 2.0, "shift": 0.5}, per_atom=frozenset({"shift"}))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_the_loss_is_that_of_one_batch_however_the_frames_are_cut(batch_size, order):
    frames, weights = mixed_frames()[::order], LossConfig(targets={"gap": 3.0}, kind="mse")
    items = label_graphs(frames, 1.0)
    gaps = np.array([frame.properties["gap"] for frame in frames if frame.properties])
    shifts = np.concatenate([frame.atom_properties["shift"] for frame in frames])
    expected = 3.0 * np.mean((gaps / 2.0) ** 2) + np.nanmean((shifts / 0.5) ** 2)

    def loss(**settings):
        return evaluate(Zeros(), items, batch_size=batch_size, loss=weights, task=TASK, **settings).loss

    assert loss() == pytest.approx(expected, rel=1e-12)
    assert on_ranks(2, lambda ranks: loss(ranks=ranks)) == pytest.approx([expected] * 2, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_forces_weigh_by_the_atoms_of_all_frames(batch_size):
    model = ForceField(ForceFieldConfig(species=("H",), dtype="float64", **toy.MODEL))
    rng = np.random.default_rng(0)
    items = label_graphs(
        [
            Frame(species=[1] * n, pos=rng.normal(size=(n, 3)), energy=rng.normal(), forces=rng.normal(size=(n, 3)))
            for n in (1, 4, 2, 3, 6)
        ],
        toy.CUTOFF,
    )
    whole = LabelledGraphs.collate(items)
    expected = force_field_loss(model(whole.graph), whole, LossConfig()).item()
    found = evaluate(model, items, batch_size=batch_size, loss=LossConfig()).loss
    assert found == pytest.approx(expected, rel=1e-9)
    shared = on_ranks(
        2, lambda ranks: evaluate(model, items, batch_size=batch_size, loss=LossConfig(), ranks=ranks).loss
    )
    assert shared == [found, found]
