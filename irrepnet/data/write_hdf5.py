"""Write frames to HDF5, one after the other, so that a set may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.checked_file import seal
from irrepnet.data.frame import Frame
from irrepnet.data.hdf5_layout import CHUNK_CACHE, COLUMNS, FORMAT, VERSION, Column, import_h5py
from irrepnet.errors import DataError

__all__ = ["write_hdf5"]

_CHUNK = 2**14  # bytes: what has to be unpacked for one frame
_MOST_FRAMES, _MOST_ATOMS = 1024, 2**15  # held in memory before they go to the file


def write_hdf5(frames: Iterable[Frame], path: str | os.PathLike[str], *, compress: bool = False) -> int:
    """Write frames to an HDF5 file, in eV and Å, with the SHA-256 of every part.

    The file appears under its name when it is whole. Layout: :mod:`irrepnet.data.hdf5_layout`. Numbers come back bit
    for bit; ``source`` and ``available`` of the frames do not: the frames of a file are called after the file.

    Args:
        frames: The frames, also a generator; some 1000 are held in memory.
        path: The file, ``*.h5`` or ``*.hdf5`` so that :func:`~irrepnet.data.read_frames` knows the format.
        compress: Whether to compress (gzip): a third smaller for coordinates, several times slower to read.

    Returns:
        The number of frames.

    Raises:
        DataError: If a property has another shape than in the frames before, no numbers or a name with a slash, an
            atomic number is beyond 32767, the folder does not exist, or h5py is not installed.
        OSError: If the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from irrepnet.data import read_frames
        >>> water = Frame(species=[8, 1, 1], pos=np.eye(3), id="w0", properties={"dipole": [0.0, 0.0, 1.85]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     number = write_hdf5([water], f"{folder}/water.h5")
        ...     (frame,) = read_frames(f"{folder}/water.h5")
        >>> number, frame.id, frame.properties["dipole"]
        (1, 'w0', array([0.  , 0.  , 1.85]))
    """
    h5py = import_h5py(str(path))
    with atomic_file(path) as beside:
        with h5py.File(beside, "w", locking=False, rdcc_nbytes=CHUNK_CACHE) as root:
            root.attrs.update(format=FORMAT, version=VERSION, energy_unit="eV", length_unit="angstrom")
            writer = _Writer(root, compress)
            for frame in frames:
                writer.add(frame)
            writer.finish()
        seal(beside)
    return writer.num_frames


class _Writer:
    """Collects frames and hands them to the file, many at a time."""

    def __init__(self, root: Any, compress: bool) -> None:
        self._root, self._compress = root, compress
        self.num_frames, self._num_atoms = 0, 0
        self._waiting: list[Frame] = []
        self._ends: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._atoms_waiting = 0
        self._columns: dict[str, _ColumnWriter] = {}
        for name in ("species", "pos", "pbc"):
            self._add_column(name, COLUMNS[name], ())

    def add(self, frame: Frame) -> None:
        """Take one frame."""
        self._waiting.append(frame)
        self._atoms_waiting += len(frame)
        if len(self._waiting) >= _MOST_FRAMES or self._atoms_waiting >= _MOST_ATOMS:
            self._flush()

    def finish(self) -> None:
        """Write what still waits."""
        self._flush()
        self._root.create_dataset("ptr", data=np.concatenate(self._ends))
        for column in self._columns.values():
            column.finish()

    def _flush(self) -> None:
        frames, self._waiting, self._atoms_waiting = self._waiting, [], 0
        if not frames:
            return
        rows = [_parts(frame) for frame in frames]
        for frame, row in zip(frames, rows, strict=True):
            for name in row.keys() - self._columns.keys():
                of_atoms = name.startswith("atom_properties/")
                value = np.asarray(row[name])
                column = COLUMNS.get(name, Column(of_atoms, value.shape[1:] if of_atoms else value.shape))
                self._add_column(name, column, frame.source)
        sizes = np.array([len(frame) for frame in frames], dtype=np.int64)
        for name, writer in self._columns.items():
            writer.append([row.get(name) for row in rows], sizes, [frame.source for frame in frames])
        self._ends.append(self._num_atoms + np.cumsum(sizes))
        self.num_frames += len(frames)
        self._num_atoms += int(sizes.sum())

    def _add_column(self, name: str, column: Column, source: Any) -> None:
        _folder, slash, plain = name.partition("/")
        if slash and ("/" in plain or plain in ("", ".") or "\0" in plain):
            raise DataError(f"{source}: a property needs a name without slash or zero; found {plain!r}; rename it")
        if column.shape is not None and 0 in column.shape:
            raise DataError(f"{source}: {name} needs numbers; found none, its shape is {list(column.shape)}; remove it")
        rows = self._num_atoms if column.of_atoms else self.num_frames
        self._columns[name] = _ColumnWriter(self._root, name, column, rows, self.num_frames, self._compress)


def _parts(frame: Frame) -> dict[str, Any]:
    """Return what a frame has, by the names of the file."""
    parts = {name: getattr(frame, name) for name in COLUMNS if getattr(frame, name) is not None}
    for folder in ("properties", "atom_properties"):
        parts |= {f"{folder}/{name}": value for name, value in getattr(frame, folder).items()}
    return parts


class _ColumnWriter:
    """One column of the file, with rows for the frames before it."""

    def __init__(self, root: Any, name: str, column: Column, rows: int, frames: int, compress: bool) -> None:
        self._root, self.name, self.column, self._frames = root, name, column, frames
        self._ends = [np.zeros(frames + 1, dtype=np.int64)]  # of texts
        assert column.shape is not None
        kind, path = ("uint8", f"{name}/utf8") if column.kind == "text" else (column.kind, name)
        rows = 0 if column.kind == "text" else rows
        self._missing = np.nan if kind == "float64" else 0
        width = np.dtype(kind).itemsize * max(1, int(np.prod(column.shape)))
        packed: Mapping[str, Any] = {"compression": "gzip", "shuffle": True} if compress else {}
        self._data = root.create_dataset(
            path,
            shape=(rows, *column.shape),
            maxshape=(None, *column.shape),
            chunks=(max(1, _CHUNK // width), *(max(1, size) for size in column.shape)),
            dtype=kind,
            fillvalue=self._missing,
            **packed,
        )
        self._known = self._new_known(0) if frames else None

    def _new_known(self, before: int) -> Any:
        """Make the list of which frames have it; all before have it (1) or have not (0)."""
        form = {"maxshape": (None,), "chunks": (_CHUNK,), "dtype": "uint8", "fillvalue": before}
        return self._root.create_dataset(f"known/{self.name}", shape=(self._frames,), **form)

    def append(self, values: list[Any], sizes: NDArray[np.int64], sources: list[str]) -> None:
        """Add the rows of some frames; None for a frame that has none."""
        known = np.array([value is not None for value in values], dtype=np.uint8)
        if self._known is None and not known.all():
            self._known = self._new_known(1)
        if self._known is not None:
            _extend(self._known, known)
        self._frames += len(values)
        if self.column.kind == "text":
            texts = [b"" if value is None else value.encode() for value in values]
            _extend(self._data, np.frombuffer(b"".join(texts), dtype=np.uint8))
            self._ends.append(self._ends[-1][-1] + np.cumsum([len(text) for text in texts]))
            return
        _extend(
            self._data, np.concatenate([self._rows(*row) for row in zip(values, sizes.tolist(), sources, strict=True)])
        )

    def finish(self) -> None:
        """Write where the texts end."""
        if self.column.kind == "text":
            self._root.create_dataset(f"{self.name}/ptr", data=np.concatenate(self._ends))

    def _rows(self, value: Any, size: int, source: str) -> NDArray[Any]:
        """Return the rows of one frame, checked."""
        assert self.column.shape is not None
        shape = (size if self.column.of_atoms else 1, *self.column.shape)
        if value is None:
            return np.full(shape, self._missing, dtype=self.column.kind)
        array = np.asarray(value)
        array = array if self.column.of_atoms else array[None]
        if array.shape != shape:
            raise DataError(
                f"{source}: {self.name} needs shape {list(shape[1:])} in every frame of a file"
                f"{' (per atom)' if self.column.of_atoms else ''}; found {list(array.shape[1:])}; rename one of them"
            )
        if self.name == "species" and array.size and not (array.min() >= 0 and array.max() < 2**15):
            raise DataError(f"{source}: species needs atomic numbers; found {array.min()} to {array.max()}")
        return array.astype(self.column.kind)


def _extend(data: Any, rows: NDArray[Any]) -> None:
    start = len(data)
    data.resize(start + len(rows), axis=0)
    if len(rows):
        data[start:] = rows
