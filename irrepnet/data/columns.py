"""Cut arrays that hold many frames, stacked or concatenated, into the raw values of each frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.formats import check_names
from irrepnet.data.units import Keys
from irrepnet.errors import DataError, ShapeError, did_you_mean

__all__ = ["cut_columns"]

Array = NDArray[Any]

# How many dimensions each has in one frame; stresses and virials have nine numbers or six.
_OF_ATOMS = {"species": 1, "pos": 2, "forces": 2, "selected": 1}
_OF_STRUCTURES = {"cell": 2, "pbc": 1, "energy": 0, "group": 0, "id": 0, "stress": None, "virial": None}
_SHARED = ("species", "selected", "cell", "pbc")
_COLUMN = re.compile(r"(.+)\[(\d+)\]")


class _Layout(NamedTuple):
    """How the frames of a file lie in its arrays."""

    label: str
    ptr: NDArray[np.int64]  # [F + 1], where each frame starts among all atoms
    stacked: bool
    single: bool  # one frame, without an axis of frames

    @property
    def num_frames(self) -> int:
        return len(self.ptr) - 1

    @property
    def num_atoms(self) -> int:
        """Of all frames together."""
        return int(self.ptr[-1])

    def cut(self, rows: Array) -> list[Array]:
        """Return the rows of each frame."""
        return [rows[start:end] for start, end in pairwise(self.ptr)]


def cut_columns(arrays: Mapping[str, Array], keys: Keys, label: str) -> list[dict[str, Any]]:
    """Return the raw values of each frame, by our names, as :func:`frame_from_raw` takes them.

    With ``ptr`` the frames are concatenated: frame f has the atoms ``ptr[f]`` to ``ptr[f + 1]``. Without it they are
    stacked and of equal size; one frame alone needs no axis of frames. A cell ``[3, 3]`` and periods ``[3]`` are those
    of all frames; where there are three frames, and a row may be that of a frame (box lengths), they are refused.

    Args:
        arrays: By the file's names.
        keys: The file's names of what is wanted.
        label: The file, for messages.

    Raises:
        DataError: If a name is missing.
        ShapeError: If the arrays do not fit each other.

    Example:
        >>> arrays = {"species": np.array([1, 1, 2]), "pos": np.zeros((3, 3)), "ptr": np.array([0, 2, 3])}
        >>> [row["species"].tolist() for row in cut_columns(arrays, Keys(), "a.npz")]
        [[1, 1], [2]]
    """
    found = _with_columns(arrays, keys, label)
    check_names(label, keys, (*_OF_ATOMS, *_OF_STRUCTURES, "ptr"), found)
    for name in ("pos", "species"):
        key = getattr(keys, name)
        if key not in found:
            listing = ", ".join(arrays)
            raise DataError(f"{label}: needed key {key!r}; found {listing}.{did_you_mean(key, arrays)} Set keys.{name}")
    layout = _layout(found, keys, label)
    rows: list[dict[str, Any]] = [{} for _ in range(layout.num_frames)]
    for name in (*_OF_ATOMS, *_OF_STRUCTURES):
        key = getattr(keys, name)
        if key not in found:
            continue
        of_atoms = name in _OF_ATOMS
        column = (_atom_column if of_atoms else _structure_column)(found[key], name, key, layout)
        for row, value in zip(rows, layout.cut(column) if of_atoms else column, strict=True):
            row[name] = value
    _add_properties(rows, found, keys, layout)
    return rows


def _with_columns(arrays: Mapping[str, Array], keys: Keys, label: str) -> dict[str, Array]:
    """Return the arrays and, by names such as ``props[3]``, the columns of them that the keys ask for."""
    found = dict(arrays)
    plain = keys.model_dump(exclude={"properties", "atom_properties"}, exclude_none=True)
    for text in (*plain.values(), *keys.properties.values(), *keys.atom_properties.values()):
        name = _COLUMN.fullmatch(text)
        if name is None or text in arrays or name[1] not in arrays:
            continue
        array, column = arrays[name[1]], int(name[2])
        if array.ndim < 2 or column >= array.shape[-1]:
            raise ShapeError(f"{label}: needed column {column} of {name[1]!r}; found shape {list(array.shape)}")
        found[text] = array[..., column]
    return found


def _layout(found: Mapping[str, Array], keys: Keys, label: str) -> _Layout:
    shape = found[keys.pos].shape
    if keys.ptr not in found:
        if len(shape) not in (2, 3) or shape[-1] != 3:
            raise ShapeError(f"{label}: {keys.pos} needs shape [F, N, 3] or [N, 3]; found {list(shape)}")
        num_frames = shape[0] if len(shape) == 3 else 1
        return _Layout(label, np.arange(num_frames + 1) * shape[-2], stacked=True, single=len(shape) == 2)
    ptr = found[keys.ptr]
    if len(shape) != 2 or shape[1] != 3:
        raise ShapeError(f"{label}: {keys.pos} needs shape [atoms of all frames, 3]; found {list(shape)}")
    if ptr.ndim != 1 or ptr.dtype.kind not in "iu" or not len(ptr):
        raise ShapeError(f"{label}: {keys.ptr} needs integers [F + 1]; found {ptr.dtype} {list(ptr.shape)}")
    ptr = ptr.astype(np.int64)
    if ptr[0] != 0 or ptr[-1] != shape[0] or (np.diff(ptr) < 0).any():
        raise ShapeError(
            f"{label}: {keys.ptr} needs to rise from 0 to the {shape[0]} rows of {keys.pos}; found {ptr[0]} to "
            f"{ptr[-1]}{', falling in between' if (np.diff(ptr) < 0).any() else ''}"
        )
    return _Layout(label, ptr, stacked=False, single=False)


def _atom_column(array: Array, name: str, key: str, layout: _Layout) -> Array:
    """Return an array with one row for each atom of all frames."""
    if not layout.stacked:
        if array.ndim != _OF_ATOMS[name] or len(array) != layout.num_atoms:
            wanted = f"{layout.num_atoms} rows of {_OF_ATOMS[name] - 1} dimensions each"
            raise ShapeError(f"{layout.label}: {key} needs {wanted}; found shape {list(array.shape)}")
        return array
    by_frame = _by_frame(array, _OF_ATOMS[name], name, key, layout)
    sizes = np.diff(layout.ptr)
    if len(sizes) and by_frame.shape[1] != sizes[0]:
        raise ShapeError(f"{layout.label}: {key} needs {sizes[0]} atoms in each frame; found {list(array.shape)}")
    return by_frame.reshape(-1, *by_frame.shape[2:])


def _structure_column(array: Array, name: str, key: str, layout: _Layout) -> Array:
    """Return an array with one row for each frame."""
    rank = _OF_STRUCTURES[name]
    if rank is None:
        rank = 2 if array.shape[-2:] == (3, 3) else 1
    if rank == 0 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return _by_frame(array, rank, name, key, layout)


def _by_frame(array: Array, rank: int, name: str, key: str, layout: _Layout) -> Array:
    """Return the array with one row per frame; some may be given once for all frames."""
    if array.ndim == rank and (layout.num_frames == 1 or name in _SHARED):
        if layout.num_frames > 1 and _may_be_by_frame(array, name, layout.num_frames):
            raise ShapeError(
                f"{layout.label}: {key} of shape {list(array.shape)} may be one for all frames or a row for each of "
                f"{layout.num_frames}; write it for each frame, {[layout.num_frames, *array.shape]}"
            )
        return np.broadcast_to(array, (layout.num_frames, *array.shape))
    if array.ndim != rank + 1 or len(array) != layout.num_frames:
        raise ShapeError(
            f"{layout.label}: {key} needs {layout.num_frames} frames of {rank} dimensions each; found shape "
            f"{list(array.shape)}"
        )
    return array


def _may_be_by_frame(array: Array, name: str, num_frames: int) -> bool:
    """Tell whether a cell or periods of three frames may be three numbers per frame instead of one for all.

    Box lengths are positive in every frame, so in each column none or all are zero. A cell of this form has no zero
    beside positive numbers and no negative number, as cells nearly always have. Periods that are all alike mean the
    same in both ways.
    """
    if num_frames != 3 or len(array) != 3:
        return False
    if name == "pbc":
        return bool((array != array[0]).any())
    if name != "cell":
        return False
    whole_columns = (array > 0).all(axis=0) | (array == 0).all(axis=0)
    return bool(whole_columns.all() and array.any())


def _add_properties(rows: list[dict[str, Any]], found: Mapping[str, Array], keys: Keys, layout: _Layout) -> None:
    for ours, key in keys.properties.items():
        values = found[key][None] if layout.single else found[key]
        if values.ndim == 0 or len(values) != layout.num_frames:
            raise ShapeError(
                f"{layout.label}: {key} needs {layout.num_frames} frames; found shape {list(found[key].shape)}"
            )
        for row, value in zip(rows, values, strict=True):
            row.setdefault("properties", {})[ours] = value
    for ours, key in keys.atom_properties.items():
        values = found[key]
        if layout.stacked and not layout.single and values.shape[:2] == found[keys.pos].shape[:2]:
            values = values.reshape(-1, *values.shape[2:])
        selected = np.concatenate([row["selected"] for row in rows]) if keys.selected and rows else None
        values = _all_rows(values, selected, f"{layout.label}: {key}", layout.num_atoms)
        for row, value in zip(rows, layout.cut(values), strict=True):
            row.setdefault("atom_properties", {})[ours] = value
    for row in rows:
        row.pop("selected", None)


def _all_rows(values: Array, selected: Array | None, what: str, num_atoms: int) -> Array:
    """Return labels with a row for each atom, NaN for those that are not selected."""
    if selected is None:
        if values.ndim == 0 or len(values) != num_atoms:
            raise ShapeError(f"{what} needs a row for each of {num_atoms} atoms; found shape {list(values.shape)}")
        return values
    if selected.dtype != bool or values.dtype.kind not in "fiu":
        raise DataError(f"{what} needs numbers and a selection of bools; found {values.dtype} and {selected.dtype}")
    rows = values[selected] if values.shape[:1] == (num_atoms,) else values
    if rows.shape[:1] != (selected.sum(),):
        raise ShapeError(
            f"{what} needs a row for each of {num_atoms} atoms or of {selected.sum()} selected; found shape "
            f"{list(values.shape)}"
        )
    full = np.full((num_atoms, *rows.shape[1:]), np.nan)
    full[selected] = rows
    return full
