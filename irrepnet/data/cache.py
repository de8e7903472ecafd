"""Neighbour lists kept on disk by content: found once for a set of frames and a cutoff, checked when they are read.

An entry is a sealed file (:mod:`irrepnet.data.checked_file`) named by the SHA-256 of structures, cutoff and version.
Its content is the edges of frame after frame, then a table, then where the table begins and the key::

    edges: int32 src [E], int32 dst [E], shift [E, 3] (nothing if all are zero, else int32, or int64 if need be)
    table: int64 [F, 3], for each frame the place of its edges, its atoms, its edges
    end:   int64 place of the table, key 32
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.checked_file import CheckedFile, seal
from irrepnet.data.frame import Frame
from irrepnet.data.neighborhood import build_graph
from irrepnet.errors import DataError

__all__ = ["NeighborLists", "cached_neighbor_lists", "locked", "open_entry", "structures_digest"]

_VERSION = b"neighbours 1"  # of the layout and of what `neighbor_list` answers
_END = struct.Struct("<q32s")
_ROW = 24  # bytes of a frame in the table
_ENDS = 8  # bytes of the two ends of an edge
_SHIFTS = {0: None, 12: np.int32, 24: np.int64}  # by the bytes of a shift


def structures_digest(frames: Sequence[Frame]) -> str:
    """Return the SHA-256 of all structures and their order, hexadecimal; labels and names do not matter.

    A lazy set that knows a digest of its content gives that, which changes with its labels too.

    Example:
        >>> one, other = (Frame(species=[1], pos=[[0, 0, 0]], energy=energy) for energy in (1.0, 2.0))
        >>> structures_digest([one]) == structures_digest([other]) != structures_digest([one, one])
        True
    """
    with contextlib.suppress(AttributeError):  # the base of a lazy part may be one that has none
        lazy: Any = frames
        digest: str = lazy.content_digest
        return digest
    mark = hashlib.sha256()
    for frame in frames:
        mark.update(struct.pack("<q?", len(frame), frame.cell is None))
        for array in (frame.species, frame.pos, frame.pbc, frame.cell):
            mark.update(b"" if array is None else array.tobytes())
    return mark.hexdigest()


def cached_neighbor_lists(
    frames: Sequence[Frame], cutoff: float, folder: str | os.PathLike[str], *, say: Callable[[str], None] = warn
) -> NeighborLists:
    """Return the neighbour lists of all frames from disk; find them and write them down where they are not there.

    Frames are read one after the other, so a set may be larger than memory. Several processes may ask at once: one
    works, the others wait and read. A damaged entry is found anew.

    Args:
        frames: The structures.
        cutoff: Å.
        folder: Where entries are kept; made if it is not there.
        say: Is told when an entry is damaged.

    Raises:
        DataError: As :func:`~irrepnet.data.build_graph`.
        OSError: If the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lists = cached_neighbor_lists([hydrogen], 2.0, folder)
        ...     edge_index, edge_shift = lists[0]
        >>> edge_index.tolist(), lists.num_edges
        ([[1, 0], [0, 1]], array([2]))
    """
    key = hashlib.sha256(_VERSION + struct.pack("<d", cutoff) + structures_digest(frames).encode()).digest()
    path = Path(folder, f"neighbours-{key.hex()}.bin")
    path.parent.mkdir(parents=True, exist_ok=True)
    lists: NeighborLists | None = open_entry(path, lambda: _read(path, key, len(frames)), say)
    if lists is None:
        with locked(path):
            lists = open_entry(
                path, lambda: _read(path, key, len(frames)), lambda _: None
            )  # another may have been first
            if lists is None:
                _write(path, key, frames, cutoff)
                lists = NeighborLists(path, key)
    return lists


def _read(path: Path, key: bytes, num_frames: int) -> NeighborLists:
    lists = NeighborLists(path, key)
    if len(lists) != num_frames:
        raise DataError(f"{path}: needed the neighbours of {num_frames} frames; found those of {len(lists)}")
    return lists


def open_entry(path: Path, read: Callable[[], Any], say: Callable[[str], None]) -> Any:
    """Return what a function makes of an entry; None if it is not there or not to be trusted, which is said.

    Example:
        >>> open_entry(Path("/nowhere"), lambda: 1, print) is None
        True
    """
    if not path.is_file():
        return None
    try:
        return read()
    except DataError as error:
        say(f"{error}. It is made anew")
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that make the same entry out; where the folder has no locks, both make it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, "entry")):
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['.entry.lock']
    """
    # Not emptied, and no link is followed: a lock has no content, and another file's is none of ours.
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel drops it with the process
        yield
    finally:
        os.close(lock)


class NeighborLists(Sequence[tuple[Tensor, Tensor]]):
    """The neighbour lists of a set, read from its entry one at a time; 24 bytes of memory per frame.

    Each process opens the entry for itself, so it may be pickled and used after a fork.

    Args:
        path: The entry.
        key: What it has to be of, 32 bytes.

    Raises:
        DataError: If the entry is damaged (all of it is read once) or of something else; when a part is read that was
            damaged later.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lists = cached_neighbor_lists([Frame(species=[1], pos=[[0, 0, 0]])] * 3, 2.0, folder)
        ...     len(lists), lists.num_atoms, lists[-1][0].shape
        (3, array([1, 1, 1]), torch.Size([2, 0]))
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path, self._key = path.absolute(), key
        self._open: tuple[int, CheckedFile] | None = None
        file = self._file()
        file.check()
        end = file.content_size - _END.size
        start, found = _END.unpack(file.bytes_at(end, _END.size)) if end >= 0 else (-1, b"")
        if end >= 0 and found != key:
            raise DataError(f"{path}: needed the neighbours of another set or cutoff; found those of {found.hex()}")
        if not 0 <= start <= end or (end - start) % _ROW:
            raise DataError(f"{path}: needed a table of neighbours; found {max(0, end)} bytes without one")
        self._table = np.frombuffer(file.bytes_at(start, end - start), dtype="<i8").reshape(-1, 3)  # [F, 3]
        self._stops = np.append(self._table[1:, 0], start)[: len(self._table)]
        if not _adds_up(self._table, self._stops):
            raise DataError(f"{path}: needed a table of where the neighbours are; found one that contradicts itself")

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._table)

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of every frame, shape ``[F]``."""
        return self._table[:, 1]

    @property
    def num_edges(self) -> NDArray[np.int64]:
        """Number of edges of every frame, shape ``[F]``."""
        return self._table[:, 2]

    def __getitem__(self, index: Any) -> Any:
        place = range(len(self))[index]
        start, _, num_edges = self._table[place].tolist()
        raw = self._file().bytes_at(start, int(self._stops[place]) - start)
        ends = np.frombuffer(raw, dtype="<i4", count=2 * num_edges).reshape(2, num_edges).astype(np.int64)
        dtype = _SHIFTS[len(raw) // num_edges - _ENDS] if num_edges else None
        shifts = np.zeros((num_edges, 3), dtype=np.int64)
        if dtype is not None:
            shifts[:] = np.frombuffer(raw, dtype=dtype, offset=_ENDS * num_edges).reshape(num_edges, 3)
        return torch.from_numpy(ends), torch.from_numpy(shifts)

    def _file(self) -> CheckedFile:
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), CheckedFile(self._path, str(self._path))
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


def _adds_up(table: NDArray[np.int64], stops: NDArray[np.int64]) -> bool:
    """Tell whether each frame's edges begin where those before end and take the bytes that edges can take."""
    starts, num_atoms, num_edges = table.T
    if not len(table):
        return True
    with np.errstate(over="ignore"):
        fits = np.any([stops - starts == num_edges * (_ENDS + width) for width in _SHIFTS], axis=0)
    sane = (num_atoms >= 0) & (num_edges >= 0) & (num_edges <= stops[-1] // _ENDS) & (stops >= starts) & fits
    return bool(starts[0] == 0 and sane.all())


def _write(path: Path, key: bytes, frames: Sequence[Frame], cutoff: float) -> None:
    table, place = [], 0
    with atomic_file(path) as beside:
        with beside.open("wb") as file:
            for frame in frames:
                graph = build_graph(frame, cutoff, dtype=torch.float64)
                raw = _packed(graph.edge_index.numpy(), graph.edge_shift.numpy())
                table.append((place, graph.num_nodes, graph.num_edges))
                place += file.write(raw)
            file.write(np.array(table, dtype="<i8").tobytes() + _END.pack(place, key))
        seal(beside)


def _packed(edge_index: NDArray[np.int64], edge_shift: NDArray[np.int64]) -> bytes:
    ends = edge_index.astype("<i4").tobytes()
    if not edge_shift.any():
        return ends
    return ends + edge_shift.astype("<i4" if np.abs(edge_shift).max() < 2**31 else "<i8").tobytes()
