"""Batches made ahead of their use, by processes that can be lost without a hang."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irrepnet.data.graph import Graph
from irrepnet.train.samples import LabelledGraphs

__all__ = ["BatchStream"]

_AHEAD = 2  # batches that a worker has in hand
_MOST_INDICES = 2**13  # of a batch: more would not fit into a pipe whose worker is busy writing its answer
_PATIENCE = 1.0  # s, for a worker that was told to stop


class BatchStream:
    """Makes batches of items in a given order, in this process or ahead in others; the batches are the same.

    Workers serve items that are costly to make, such as lazy ones; items of a list are joined faster here. Each worker
    has a pipe of its own: when it dies the pipe ends and the next batch is an error. Workers are forked on Linux, so
    that a list is shared and not copied; they run on one thread and never start torch's thread pool, which a fork does
    not survive.

    Args:
        items: The items; lazy ones have to be picklable where processes are not forked.
        workers: Number of processes; 0: none.

    Raises:
        ValueError: If ``workers`` is negative.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.train import label_graphs
        >>> items = label_graphs([Frame(species=[1], pos=[[0, 0, 0]], source=name) for name in "abc"], cutoff=2.0)
        >>> with BatchStream(items, workers=1) as stream:
        ...     [batch.sources for batch in stream.get([(2, 0), (1,)])]
        [('c', 'a'), ('b',)]
    """

    def __init__(self, items: Sequence[LabelledGraphs], workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"workers needs to be 0 or more; found {workers}")
        self._items, self._workers = items, workers
        self._pool: _Pool | None = None

    def get(self, plan: Iterable[Sequence[int]]) -> Iterator[LabelledGraphs]:
        """Yield the batch of each set of indices, in order.

        Args:
            plan: The indices of each batch; also a generator without end, of which some are drawn ahead.

        Raises:
            ChildProcessError: If a worker died (of too little memory, or killed).
            ValueError: If a batch for a worker has more than 8192 items.
            Exception: Whatever reading an item raises, here or in a worker.
        """
        if self._workers == 0:
            for indices in plan:
                yield _batch(self._items, indices)
            return
        if self._pool is None:
            self._pool = _Pool(self._items, self._workers)
        yield from self._pool.run(plan)

    def close(self) -> None:
        """Stop the workers; the next :meth:`get` starts others."""
        if self._pool is not None:
            atexit.unregister(self._pool.stop)
            self._pool.stop()
            self._pool = None

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pool:
    """Processes that make every so-manieth batch each."""

    def __init__(self, items: Sequence[LabelledGraphs], number: int) -> None:
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for _ in range(number):
            mine, theirs = context.Pipe()
            process = context.Process(target=_work, args=(items, theirs, [*self._connections, mine]), daemon=True)
            process.start()
            theirs.close()  # or the pipe would not end with the worker
            self._connections.append(mine)
            self._processes.append(process)
        # Also at the end of the program, before multiprocessing waits for its children.
        self.stop = weakref.finalize(self, _stop, os.getpid(), self._processes, self._connections)
        self.stop.atexit = False
        atexit.register(self.stop)

    def run(self, plan: Iterable[Sequence[int]]) -> Iterator[LabelledGraphs]:
        """Yield the batches of a plan in order."""
        turns = itertools.cycle(range(len(self._processes)))
        waiting: deque[int] = deque()
        try:
            for indices in plan:
                worker = next(turns)
                self._send(worker, indices)
                waiting.append(worker)
                if len(waiting) >= _AHEAD * len(self._processes):
                    yield self._receive(waiting.popleft())
            while waiting:
                yield self._receive(waiting.popleft())
        finally:  # whoever leaves early leaves answers behind
            with contextlib.suppress(EOFError, OSError):
                for worker in waiting:
                    self._connections[worker].recv_bytes()

    def _send(self, worker: int, indices: Sequence[int]) -> None:
        if len(indices) > _MOST_INDICES:
            raise ValueError(
                f"workers prepare batches of up to {_MOST_INDICES} items; found {len(indices)}; use workers=0"
            )
        try:
            self._connections[worker].send_bytes(np.asarray(indices, dtype=np.int64).tobytes())
        except OSError as error:
            raise self._loss(worker) from error

    def _receive(self, worker: int) -> LabelledGraphs:
        try:
            answer = pickle.loads(self._connections[worker].recv_bytes())  # by our own process, never from a file
        except (EOFError, OSError) as error:
            raise self._loss(worker) from error
        if isinstance(answer, Exception):
            raise answer
        return _unpacked(answer)

    def _loss(self, worker: int) -> ChildProcessError:
        process = self._processes[worker]
        process.join(_PATIENCE)
        code = process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with code {code}"
        return ChildProcessError(
            f"all {len(self._processes)} processes that prepare batches need to stay alive; number {worker} (process "
            f"{process.pid}) {how}; if it was killed for want of memory, lower data.workers"
        )


def _stop(owner: int, processes: Sequence[BaseProcess], connections: Sequence[Connection]) -> None:
    if os.getpid() != owner:  # a copy of the pool in a forked process: not its children
        return
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.close()
    for process in processes:
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()  # in the middle of a batch; it holds nothing that could be lost
            process.join()


def _work(items: Sequence[LabelledGraphs], connection: Connection, others: Sequence[Connection]) -> None:
    """Make batches until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # meant for the whole group: the run ends in order
        signal.signal(number, signal.SIG_IGN)
    for other in others:  # a fork has the other ends of all pipes so far, and would keep them open
        other.close()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            indices = np.frombuffer(connection.recv_bytes(), dtype=np.int64)
            try:
                answer: Any = _packed(_batch(items, indices.tolist()))
            except Exception as error:
                answer = _portable(error)
            connection.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its traceback where it does not survive the pipe."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    same = type(copy) is type(error) and str(copy) == str(error)
    return error if same else RuntimeError("".join(traceback.format_exception(error)))


def _batch(items: Sequence[LabelledGraphs], indices: Sequence[int]) -> LabelledGraphs:
    return LabelledGraphs.collate([items[index] for index in indices])


def _packed(batch: LabelledGraphs) -> tuple[Any, ...]:
    """Return a batch in numpy: its bytes go through the pipe, so no shared memory can run out."""
    graph = {name: _numpy(value) for name, value in vars(batch.graph).items()}
    labels = [_numpy(value) for value in (batch.energy, batch.forces, batch.stress)]
    named = [
        {name: value.numpy() for name, value in part.items()} for part in (batch.properties, batch.atom_properties)
    ]
    return graph, labels, batch.sources, named


def _unpacked(answer: tuple[Any, ...]) -> LabelledGraphs:
    graph, labels, sources, named = answer
    energy, forces, stress = map(_torch, labels)
    properties, atom_properties = ({name: torch.from_numpy(value) for name, value in part.items()} for part in named)
    built = Graph(**{name: _torch(value) for name, value in graph.items()})
    return LabelledGraphs(built, energy, forces, stress, sources, properties, atom_properties)


def _numpy(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


def _torch(value: Any) -> Any:
    return torch.from_numpy(value) if hasattr(value, "dtype") else value
