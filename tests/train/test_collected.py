"""An evaluation that several ranks share is the one that a single rank makes."""

import dataclasses
import threading

import numpy as np
import pytest
from train import toy

from irrepnet.data import read_frames
from irrepnet.models import ForceField, ForceFieldConfig
from irrepnet.train import Evaluation, evaluate, label_graphs
from irrepnet.train.config import LossConfig


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
