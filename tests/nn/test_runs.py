"""Runs of columns."""

import copy
import pickle

import torch

from irrepnet.math import normalize2mom
from irrepnet.nn.runs import apply_runs, function_name, join_runs


def test_neighbours_with_the_same_function_are_one_run():
    act = torch.nn.Tanh()
    entries = [(2, normalize2mom(act)), (0, None), (3, normalize2mom(act)), (1, normalize2mom(torch.nn.Tanh()))]
    runs = join_runs(entries)
    assert [run.width for run in runs] == [5, 1]
    x = torch.randn(3, 6)
    torch.testing.assert_close(apply_runs(x, runs), entries[0][1](x))
    for other in (copy.deepcopy(runs), pickle.loads(pickle.dumps(runs))):
        torch.testing.assert_close(apply_runs(x, other), apply_runs(x, runs))


def test_names():
    assert function_name(normalize2mom(torch.tanh)) == "tanh"
