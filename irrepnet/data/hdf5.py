"""Read frames from irrepnet's own HDF5 files: lazily, one at a time, every byte checked before it is used.

The layout is described in :mod:`irrepnet.data.hdf5_layout`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.checked_file import CheckedFile
from irrepnet.data.formats import choose_units, said_units
from irrepnet.data.frame import Frame
from irrepnet.data.hdf5_layout import CHUNK_CACHE, COLUMNS, FOLDERS, FORMAT, NEEDED, VERSION, Column, import_h5py
from irrepnet.data.subset import FrameSubset
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, did_you_mean

__all__ = ["Hdf5Frames", "read_hdf5"]

_PAGE_ATOMS = 2**13  # of frames that are read together when many are wanted
_PAGE_BYTES = 2**24
_DEEPEST = 2  # folders: known/properties/NAME
_DEFLATE = 1100  # bytes that one byte can unfold into, and a little more


def read_hdf5(file: Path, label: str, keys: Keys, units: Units | None) -> Hdf5Frames:
    """Open an HDF5 file of frames; see :func:`~irrepnet.data.read_frames`.

    Only files by :func:`~irrepnet.data.write_hdf5` are read: they know their names and units, so ``keys`` can choose
    (and rename) properties, and ``units`` can only agree.

    Args:
        file: The file.
        label: Its name in messages.
        keys: ``properties`` and ``atom_properties`` choose those to read; where empty, all are read.
        units: None, or eV and Å.

    Raises:
        DataError: If the file is damaged, cut short, of another layout or a newer version, a property is missing, or
            h5py is not installed.

    Example:
        >>> import tempfile
        >>> from irrepnet.data.write_hdf5 import write_hdf5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "h2.h5")
        ...     _ = write_hdf5([Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 0.74]], energy=-31.7)] * 3, path)
        ...     frames = read_hdf5(path, "h2.h5", Keys(), None)
        ...     len(frames), frames[2].energy, frames[-1].source
        (3, -31.7, 'h2.h5 frame 2')
    """
    import_h5py(label)
    for name in Keys.model_fields:
        key, default = getattr(keys, name), Keys.model_fields[name].default
        if name not in FOLDERS and key != default:
            raise DataError(
                f"{label}: irrepnet's HDF5 files have fixed names; found keys.{name} = {key!r}; leave it out"
            )
    return Hdf5Frames(file, label, properties=keys.properties, atom_properties=keys.atom_properties, units=units)


class Hdf5Frames(Sequence[Frame]):
    """The frames of an HDF5 file, each read when it is asked for; 8 bytes of memory per frame.

    Every block of the file is checked against its SHA-256 before the HDF5 library sees it, so a damaged file gives a
    :class:`~irrepnet.errors.DataError`, not other numbers or a crash. Checksums are no signature: a file that somebody
    made to do harm can have right ones, and reaches the HDF5 library; open files of sources that you trust.

    Each process opens the file for itself, on first use, so it may be pickled and used after a fork. A slice is a
    :class:`~irrepnet.data.subset.FrameSubset`, lazy too.

    Args:
        path: The file.
        label: Its name in messages.
        properties: Which properties to read, our name -> name in the file; empty: all.
        atom_properties: The same for labels of atoms.
        units: None, or eV and Å, which the file must say too.

    Raises:
        DataError: As :func:`read_hdf5`; also if the file is replaced while it is in use.

    Example:
        >>> import tempfile
        >>> from irrepnet.data.write_hdf5 import write_hdf5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "atoms.h5")
        ...     _ = write_hdf5((Frame(species=[n], pos=[[0, 0, 0]]) for n in range(1, 9)), path)
        ...     frames = Hdf5Frames(path, "atoms.h5")
        ...     [int(frame.species[0]) for frame in frames[::3]]
        [1, 4, 7]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        label: str,
        *,
        properties: dict[str, str] | None = None,
        atom_properties: dict[str, str] | None = None,
        units: Units | None = None,
    ) -> None:
        self.path, self.label = Path(path).absolute(), label
        self._wanted = {"properties": properties or {}, "atom_properties": atom_properties or {}}
        self._digest = ""
        self._open: _OpenFile | None = None
        file = self._file()
        self._digest, self._num_frames = file.checked.digest, file.num_frames
        chosen = choose_units(label, units, file.units)
        if {chosen.to_ev, chosen.to_angstrom, chosen.to_ev_per_angstrom, chosen.to_ev_per_angstrom3} != {1.0}:
            raise DataError(
                f"{label}: irrepnet's HDF5 files are in eV, angstrom, eV/angstrom and eV/angstrom^3; found other units "
                f"({'in the file' if units is None else 'declared'}); write it anew with write_hdf5"
            )

    def __len__(self) -> int:
        """Number of frames."""
        return self._num_frames

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> FrameSubset: ...

    def __getitem__(self, index: int | slice) -> Frame | FrameSubset:
        if isinstance(index, slice):
            return FrameSubset(self, np.arange(len(self))[index])
        place = range(len(self))[index]  # an IndexError where there is no such frame, as for a list
        return self._read(place, place + 1)[0]

    def __iter__(self) -> Iterator[Frame]:
        return self.iterate(np.arange(len(self)))

    def iterate(self, indices: NDArray[np.int64]) -> Iterator[Frame]:
        """Yield frames in the order of some indices; neighbours are read together, which is some ten times faster."""
        file, num_frames = self._file(), max(1, len(self))
        atoms_per_frame, bytes_per_frame = int(file.ptr[-1]) // num_frames, file.num_bytes // num_frames
        size = max(1, min(_PAGE_ATOMS // max(1, atoms_per_frame), _PAGE_BYTES // max(1, bytes_per_frame)))
        for start in range(0, len(indices), size):
            page = indices[start : start + size]
            first, last = int(page.min()), int(page.max()) + 1
            if last - first > 4 * len(page):
                yield from (self[int(index)] for index in page)
                continue
            frames = self._read(first, last)
            yield from (frames[index - first] for index in page.tolist())

    def _read(self, first: int, last: int) -> list[Frame]:
        file = self._file()
        return [
            Frame(**parts, source=f"{self.label} frame {place}", available=file.available)
            for place, parts in enumerate(file.frames(first, last), start=first)
        ]

    @property
    def content_digest(self) -> str:
        """SHA-256 that stands for the file and for which of its properties are read as what, hexadecimal."""
        if not any(self._wanted.values()):
            return self._digest
        return hashlib.sha256((self._digest + json.dumps(self._wanted, sort_keys=True)).encode()).hexdigest()

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of every frame, shape ``[F]``."""
        return np.diff(self._file().ptr)

    def texts(self, name: Literal["id", "group"]) -> list[str | None]:
        """Return the id or group of every frame, without reading the frames; None where a frame has none."""
        return self._file().texts(name)

    def check(self) -> None:
        """Read the whole file once against its checksums.

        Raises:
            DataError: If a part of it is damaged.
        """
        self._file().checked.check()

    def _file(self) -> _OpenFile:
        """Return the file as this process has opened it."""
        if self._open is None or self._open.process != os.getpid():
            opened = _OpenFile(self.path, self.label, self._wanted)
            if self._digest and opened.checked.digest != self._digest:
                raise DataError(f"{self.label}: the file was replaced by another while it was in use; start again")
            self._open = opened
        return self._open

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


class _OpenFile:
    """An HDF5 file opened by one process, its layout checked."""

    def __init__(self, path: Path, label: str, wanted: dict[str, dict[str, str]]) -> None:
        self.process, self.label = os.getpid(), label
        self.checked = CheckedFile(path, label)
        self._root = self._guarded(
            lambda: import_h5py(label).File(self.checked, "r", rdcc_nbytes=CHUNK_CACHE), "it is no HDF5 file"
        )
        self._guarded(lambda: self._refuse_links(self._root, ""), "its names cannot be read")
        self.units, self.ptr = self._guarded(self._head, "its head cannot be read")
        self._stored = self._guarded(self._find_columns, "its data sets cannot be read")
        self._labels = {
            folder: self._guarded(lambda f=folder: self._find_labels(f, wanted[f]), "its properties cannot be read")
            for folder in FOLDERS
        }
        labels = (f"{folder}/{name}" for folder in FOLDERS for name in self._root.get(folder, ()))
        self.available = (*self._stored, *self._guarded(lambda: tuple(labels), "its properties cannot be read"))

    @property
    def num_frames(self) -> int:
        return len(self.ptr) - 1

    @property
    def num_bytes(self) -> int:
        """Bytes of all columns that are read, unfolded."""
        stored = [*self._stored.values(), *(stored for labels in self._labels.values() for stored in labels.values())]
        return sum(int(column.data.size) * column.data.dtype.itemsize for column in stored)

    def _guarded(self, read: Any, what: str) -> Any:
        """Return what a function reads; whatever goes wrong in or below the HDF5 library is a DataError."""
        try:
            found = read()
        except DataError:
            raise
        except Exception as error:  # h5py raises many kinds, by the part of the file that is not as it should be
            raise DataError(f"{self.label}: {self.checked.damage or f'{what} ({error})'}; write it anew") from error
        if self.checked.damage:
            raise DataError(f"{self.label} is damaged: {self.checked.damage}; write it anew")
        return found

    def _head(self) -> tuple[dict[str, str], NDArray[np.int64]]:
        attributes = dict(self._root.attrs)
        if attributes.get("format") != FORMAT:
            raise DataError(
                f"{self.label}: needed an HDF5 file with format {FORMAT!r}; found {attributes.get('format')!r:.60}; "
                "only files by irrepnet.data.write_hdf5 are read"
            )
        if attributes.get("version") != VERSION:
            raise DataError(
                f"{self.label}: needed version {VERSION} of the layout; found {attributes.get('version')!r:.60}; "
                "update irrepnet"
            )
        missing = [name for name in NEEDED if name not in self._root]
        if missing:
            raise DataError(f"{self.label}: needed {', '.join(NEEDED)}; found no {missing[0]}; write it anew")
        ptr = self._plain("ptr")
        if ptr.ndim != 1 or ptr.dtype != np.int64:
            raise DataError(f"{self.label}: ptr needs int64 [F + 1]; found {ptr.dtype} {list(ptr.shape)}")
        return said_units(self.label, attributes), self._ends(ptr)

    def _find_columns(self) -> dict[str, _Stored]:
        return {name: self._column(name, column) for name, column in COLUMNS.items() if name in self._root}

    def _find_labels(self, folder: str, wanted: dict[str, str]) -> dict[str, _Stored]:
        """Return the properties that are wanted, by our names."""
        there = list(self._root.get(folder, ()))
        for ours, name in wanted.items():
            if name not in there:
                near, listing = did_you_mean(name, there), ", ".join(there) or "none"
                raise DataError(f"{self.label}: needed {name!r} (keys.{folder}.{ours}); found {listing}.{near}")
        names = wanted or {name: name for name in there}
        return {ours: self._column(f"{folder}/{name}", FOLDERS[folder]) for ours, name in names.items()}

    def _column(self, path: str, column: Column) -> _Stored:
        known = None
        if f"known/{path}" in self._root:
            known = self._data(f"known/{path}", "uint8", (self.num_frames,))
        if column.kind == "text":
            ends = self._data(f"{path}/ptr", "int64", (self.num_frames + 1,))
            texts = self._data(f"{path}/utf8", "uint8", (int(self._ends(ends)[-1]),))
            return _Stored(column, self._written(texts, texts.shape), known, ends)
        data = self._plain(path)
        shape = data.shape[1:] if column.shape is None else column.shape
        rows = int(self.ptr[-1]) if column.of_atoms else self.num_frames
        data = self._data(path, column.kind, (rows, *shape))
        # Rows of frames before the first that has a label need not be written.
        self._written(data, data.shape if path in NEEDED else (min(rows, 1), *shape))
        return _Stored(column, data, known, self.ptr)

    def _ends(self, data: Any) -> NDArray[np.int64]:
        """Return where the frames end in a column."""
        ends: NDArray[np.int64] = self._written(data, data.shape, unfolds=1)[:]
        if not len(ends) or ends[0] != 0 or (np.diff(ends) < 0).any():
            raise DataError(f"{self.label}: {data.name[1:]} needs to rise from 0; found otherwise; write it anew")
        return ends

    def _written(self, data: Any, shape: tuple[int, ...], unfolds: int = _DEFLATE) -> Any:
        """Return a data set whose bytes in the file are enough for a shape: what it says asks for no more memory."""
        there = min(data.id.get_storage_size(), self.checked.content_size) * (unfolds if _filters(data) else 1)
        needed = math.prod(shape) * data.dtype.itemsize
        if there < needed:
            raise DataError(
                f"{self.label}: {data.name[1:]} of shape {list(data.shape)} needs {needed} bytes; found at most "
                f"{there} in the file; write it anew"
            )
        return data

    def _refuse_links(self, group: Any, prefix: str) -> None:
        """Raise an error where a name leads elsewhere, before anything is looked up by it."""
        h5py = import_h5py(self.label)
        for name in group:
            path = f"{prefix}{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"{self.label}: {path} needs to be a plain data set of the file; found a link")
            if group.get(name, getclass=True) is h5py.Group:
                if path.count("/") >= _DEEPEST:
                    raise DataError(f"{self.label}: needed folders in the layout of irrepnet; found {path:.60}")
                self._refuse_links(group[name], f"{path}/")

    def _data(self, path: str, kind: str, shape: tuple[int, ...]) -> Any:
        data = self._plain(path)
        if data.shape != shape or data.dtype != kind:
            raise DataError(
                f"{self.label}: {path} needs {kind} {list(shape)}; found {data.dtype} {list(data.shape)}; write it anew"
            )
        return data

    def _plain(self, path: str) -> Any:
        """Return a data set that lies in the file itself; that no link leads elsewhere is known."""
        h5py = import_h5py(self.label)
        data = self._root[path]
        plain = (
            isinstance(data, h5py.Dataset)
            and not data.is_virtual
            and data.external is None
            and _filters(data) <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
        )
        if not plain:
            raise DataError(f"{self.label}: {path} needs to be a plain data set of the file; found something else")
        return data

    def frames(self, first: int, last: int) -> list[dict[str, Any]]:
        """Return what the file holds of some frames in a row, by the names of :class:`Frame`."""

        def read() -> list[dict[str, Any]]:
            parts: list[dict[str, Any]] = [{folder: {} for folder in FOLDERS} for _ in range(first, last)]
            for name, stored in self._stored.items():
                for part, value in zip(parts, stored.values(first, last), strict=True):
                    part[name] = value
            for folder, labels in self._labels.items():
                for name, stored in labels.items():
                    for part, value in zip(parts, stored.values(first, last), strict=True):
                        if value is not None:
                            part[folder][name] = value
            return parts

        found: list[dict[str, Any]] = self._guarded(read, f"frames {first} to {last - 1} cannot be read")
        return found

    def texts(self, name: str) -> list[str | None]:
        """Return a text of every frame."""
        if name not in self._stored:
            return [None] * self.num_frames
        stored = self._stored[name]
        found: list[str | None] = self._guarded(lambda: stored.values(0, self.num_frames), f"{name} cannot be read")
        return found


class _Stored(NamedTuple):
    """A column with its data set, that of which frames have it, and where the frames end in it."""

    column: Column
    data: Any
    known: Any
    ends: Any

    def values(self, first: int, last: int) -> list[Any]:
        """Return what some frames in a row have of it; None for one that has not."""
        if self.column.of_atoms or self.column.kind == "text":
            ends = self.ends[first : last + 1].tolist()
            rows = self.data[ends[0] : ends[-1]]
            rows = rows.tobytes() if self.column.kind == "text" else rows
            values = [rows[start - ends[0] : stop - ends[0]] for start, stop in pairwise(ends)]
            values = [value.decode() for value in values] if self.column.kind == "text" else values
        else:
            values = list(self.data[first:last])
        if self.known is None:
            return values
        return [value if known else None for value, known in zip(values, self.known[first:last], strict=True)]


def _filters(data: Any) -> set[int]:
    """Return the codes of what the bytes of a data set go through."""
    plist = data.id.get_create_plist()
    return {plist.get_filter(index)[0] for index in range(plist.get_nfilters())}
