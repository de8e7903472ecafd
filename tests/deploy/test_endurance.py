"""Long runs, many threads, forks: what a model has to stand at work."""

import gc
import itertools
import multiprocessing
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from models.toys import FRAMES, graph_of, toy_frame, toy_model

from irrepnet.deploy import Committee, Predictor, Thermostat, nve_steps, nvt_steps
from irrepnet.ops import edge_order, scatter_sum, spherical_harmonics

FRAME = toy_frame(4, 5.0 * np.eye(3))


def gentle_model(seed=0):
    return toy_model(seed, energy_scale=0.02, num_layers=1)


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(run, warm_up=200, calls=1000):
    """Growth of the resident memory over some calls, after those that fill caches."""
    for _ in itertools.islice(run, warm_up):
        pass
    gc.collect()
    before = resident_bytes()
    for _ in itertools.islice(run, calls):
        pass
    gc.collect()
    return resident_bytes() - before


def predictions(predict, frame=FRAME):
    random = np.random.default_rng(0)
    while True:
        yield predict(frame.species, frame.pos + 0.01 * random.standard_normal(frame.pos.shape), frame.cell, frame.pbc)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident memory is read from /proc")
@pytest.mark.parametrize(
    "run",
    [
        lambda: nve_steps(gentle_model(), FRAME, temperature=300, timestep=0.5, seed=0),
        lambda: nvt_steps(gentle_model(), FRAME, thermostat=Thermostat(300.0), timestep=0.5, seed=0),
        lambda: predictions(Predictor(gentle_model(), skin=0.01)),  # which it exceeds at every call
    ],
    ids=["nve", "nvt", "predictions"],
)
def test_memory_does_not_grow(run):
    assert growth(run()) < 2**20


def test_nothing_keeps_what_a_prediction_was_made_of():
    predict = Predictor(gentle_model(), skin=1.0)
    *_, prediction = itertools.islice(predictions(predict), 3)
    energy, kept = weakref.ref(prediction.forces), weakref.ref(predict)
    model = weakref.ref(predict.model)
    counts = [sys.getrefcount(array) for array in (FRAME.species, FRAME.pos, FRAME.cell, FRAME.pbc)]
    for _ in itertools.islice(predictions(predict), 10):
        pass
    assert counts == [sys.getrefcount(array) for array in (FRAME.species, FRAME.pos, FRAME.cell, FRAME.pbc)]
    del prediction, predict
    gc.collect()
    assert [energy(), kept(), model()] == [None, None, None]


class TestThreads:
    """Results of eight threads at once are those of one after the other, bit for bit."""

    @pytest.fixture(autouse=True)
    def hasty(self):
        """Let Python change threads as often as it can."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(interval)

    @staticmethod
    def at_once(function, arguments):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(function, arguments))

    def test_op_and_its_derivatives(self):
        def harmonics(seed):
            generator = torch.Generator().manual_seed(seed)
            vec = torch.randn(500, 3, generator=generator, dtype=torch.float64, requires_grad=True)
            ends = torch.randint(0, 50, (2, 500), generator=generator)
            sums = scatter_sum(spherical_harmonics(vec, 3, normalize=True), edge_order(ends, 50).dst, 50)
            (first,) = torch.autograd.grad(sums.square().sum(), vec, create_graph=True)
            return sums.detach(), torch.autograd.grad(first.square().sum(), vec)[0]

        seeds = list(range(8)) * 5
        for one, many in zip(map(harmonics, seeds), self.at_once(harmonics, seeds), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))

    @pytest.mark.parametrize("changes", [{}, {"radial": "table", "radial_knots": 16}], ids=["exact", "table"])
    @pytest.mark.parametrize("skin", [0.0, 0.6])
    def test_one_predictor(self, skin, changes):
        frames = [toy_frame(3 + i % 5, pbc=bool(i % 2), seed=i) for i in range(40)]

        def answer(predict, frame):
            return predict(frame.species, frame.pos, frame.cell, frame.pbc)

        alone = [answer(Predictor(toy_model(**changes)), frame) for frame in frames]
        shared = Predictor(toy_model(**changes), skin=skin)
        for one, many in zip(alone, self.at_once(lambda frame: answer(shared, frame), frames), strict=True):
            for a, b in zip(one, many, strict=True):
                assert (a is None and b is None) or (a - b).abs().max() < 1e-11

    def test_committee(self):
        committee = Committee([toy_model(0), toy_model(1, cutoff=2.5)])
        graphs = [graph_of(frame) for frame in FRAMES.values()] * 4
        for one, many in zip(map(committee, graphs), self.at_once(committee, graphs), strict=True):
            assert torch.equal(one.energy, many.energy)
            assert torch.equal(one.forces_spread, many.forces_spread)


def _energy(seed):
    frame = toy_frame(5, seed=seed)
    return Predictor(toy_model())(frame.species, frame.pos, frame.cell, True).energy.item()


def test_fork_after_use():
    """Worker processes of a data loader are forked from one that has predicted already."""
    alone = [_energy(seed) for seed in range(4)]
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        assert pool.map_async(_energy, range(4)).get(timeout=60) == alone
    assert _energy(0) == alone[0]
