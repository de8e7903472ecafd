import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from train.test_samples import assert_same, mixed_frames

from irrepnet.data import Frame, read_frames, write_hdf5
from irrepnet.errors import DataError
from irrepnet.train import BatchStream, LabelledGraphs, batch_indices, label_graphs

PLAN = [(3, 0), (1,), (2, 2, 1), (0, 1, 2, 3), (2,), (1, 0), (3,)]


@pytest.fixture
def lazy(tmp_path):
    pytest.importorskip("h5py")
    write_hdf5(mixed_frames(), tmp_path / "a.h5")
    return label_graphs(read_frames(tmp_path / "a.h5"), 3.0, cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def nobody_is_left():
    """No test may leave a worker behind; processes that other tests have started are none of ours."""
    before = set(multiprocessing.active_children())
    yield
    gc.collect()
    assert set(multiprocessing.active_children()) <= before


def pids(stream):
    return [process.pid for process in stream._pool._processes]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_batches_do_not_depend_on_workers(lazy, workers):
    expected = [LabelledGraphs.collate([lazy[i] for i in indices]) for indices in PLAN]
    for items in (lazy, list(lazy)):
        with BatchStream(items, workers) as stream:
            for _ in range(2):
                for found, batch in itertools.zip_longest(stream.get(PLAN), expected):
                    assert_same(found, batch)
            assert list(stream.get([])) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plan_may_be_endless_and_be_left(lazy, workers):
    with BatchStream(lazy, workers) as stream:
        for seed in (0, 1):
            endless = (batch_indices(4, 2, step, seed) for step in itertools.count())
            found = [batch.graph.num_graphs for batch in itertools.islice(stream.get(endless), 5)]
            assert found == [2] * 5
        one = stream.get(PLAN)
        next(one)
        one.close()
        assert_same(next(stream.get([(2,)])), lazy[2])


def test_a_killed_worker_is_an_error_at_once(lazy):
    with BatchStream(lazy, 2) as stream:
        batches = stream.get(itertools.cycle([(0, 1)]))
        next(batches)
        os.kill(pids(stream)[1], signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(
            ChildProcessError, match=r"number 1 \(process \d+\) was killed by SIGKILL; .*lower data.workers"
        ):
            for _ in range(20):
                next(batches)
        assert time.monotonic() - started < 10


def test_a_worker_killed_in_the_middle_of_an_answer(tmp_path):
    """An answer larger than the pipe: the worker is dead while half of it is there."""
    atoms = Frame(species=np.ones(20_000, int), pos=np.random.default_rng(0).uniform(0, 500, (20_000, 3)))
    with BatchStream(label_graphs([atoms], 3.0), 1) as stream:
        batches = stream.get(itertools.repeat((0,)))
        next(batches)
        time.sleep(0.5)
        os.kill(pids(stream)[0], signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="was killed by SIGKILL"):
            for _ in range(5):
                next(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_to_the_group_are_for_the_run_not_for_workers(lazy, number):
    with BatchStream(lazy, 2) as stream:
        list(stream.get(PLAN))
        for pid in pids(stream):
            os.kill(pid, number)
        assert len(list(stream.get(PLAN))) == len(PLAN)


def test_errors_of_workers_reach_the_caller(tmp_path):
    bad = Frame(species=[1, 1], pos=np.zeros((2, 3)), source="b.npz frame 7")
    pytest.importorskip("h5py")
    write_hdf5([*mixed_frames(), bad], tmp_path / "a.h5")
    items = label_graphs(read_frames(tmp_path / "a.h5"), 3.0)
    for workers in (0, 1):
        with BatchStream(items, workers) as stream:
            with pytest.raises(DataError, match=r"a.h5 frame 4: edges need a length above zero"):
                list(stream.get([(0,), (4,), (1,)]))
            with pytest.raises(IndexError):
                list(stream.get([(9,)]))
            assert_same(next(stream.get([(1,)])), items[1])


class Unportable:
    """Items whose error cannot be pickled."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        class LocalError(Exception):
            pass

        raise LocalError("from here")


def test_errors_that_cannot_travel_come_with_their_traceback():
    with (
        BatchStream(Unportable(), 1) as stream,
        pytest.raises(RuntimeError, match=r"(?s)Traceback.*LocalError: from here"),
    ):
        list(stream.get([(0,)]))


def test_wrong_arguments(lazy):
    with pytest.raises(ValueError, match="workers needs to be 0 or more; found -1"):
        BatchStream(lazy, -1)
    with BatchStream(lazy, 1) as stream, pytest.raises(ValueError, match="up to 8192 items; found 9000; use workers=0"):
        list(stream.get([[0] * 9000]))


def test_closes_and_starts_again(lazy):
    stream = BatchStream(lazy, 2)
    list(stream.get(PLAN))
    before = pids(stream)
    stream.close()
    stream.close()
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(list(stream.get(PLAN))) == len(PLAN)
    assert set(pids(stream)) & set(before) == set()
    del stream  # and with it the workers: see nobody_is_left


def test_workers_after_threads_of_torch_and_a_held_lock(lazy):
    """A fork after the thread pool ran and while another thread holds a lock: neither may stop a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: torch.randn(300, 300) @ torch.randn(300, 300), range(16)))
        lock, release = threading.Lock(), threading.Event()

        def hold():
            with lock:
                release.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        with BatchStream(lazy, 2) as stream:
            found = list(stream.get(PLAN))
        release.set()
        holder.join()
    finally:
        torch.set_num_threads(threads)
    assert len(found) == len(PLAN)


PROGRAM = """
import itertools, os, sys, torch
from irrepnet.data import Frame
from irrepnet.models import ForceField, ForceFieldConfig
from irrepnet.train import BatchStream, label_graphs
items = label_graphs([Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, d]]) for d in (0.7, 0.8, 0.9)], 2.0)
torch.set_num_threads(4)
model = ForceField(ForceFieldConfig(species=("H",), cutoff=2.0, irreps_hidden="8x0e+8x1o"))
model(items[0].graph).energy.sum().backward()
stream = BatchStream(items, 2)
batches = stream.get(itertools.cycle([(0, 1), (2,)]))
for _ in range(6):
    model(next(batches).graph).energy.sum().backward()
print(*[process.pid for process in stream._pool._processes], flush=True)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), 9)
if sys.argv[1] == "raise":
    raise KeyError("on purpose")
"""


@pytest.mark.parametrize(("end", "code"), [("leave", 0), ("raise", 1), ("kill", -9)])
def test_after_the_op_library_was_used_and_however_the_program_ends(end, code):
    """The fork does not hang after the library's threads ran, and no worker outlives the program."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, end], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "4"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    deadline = time.monotonic() + 20
    for pid in map(int, done.stdout.split()):
        while time.monotonic() < deadline:
            try:
                if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                    break
            except FileNotFoundError:
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"worker {pid} lives on")


def test_memory_stays_flat_over_many_batches(lazy):
    def rss():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    with BatchStream(lazy, 1) as stream:
        for workers in (stream, BatchStream(lazy, 0)):
            for _ in workers.get(itertools.repeat((0,), 100)):
                pass
            before = rss()
            for _ in workers.get(itertools.repeat((0,), 1000)):
                pass
            assert rss() - before < 1
