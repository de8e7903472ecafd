"""Read frames from numpy's npz: frames of equal size, stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.formats import check_names, choose_units, said_units
from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError, did_you_mean

__all__ = ["read_npz"]


def read_npz(file: Path, label: str, keys: Keys, units: Units | None) -> list[Frame]:
    """Read all frames of an npz file; see :func:`~irrepnet.data.read_frames`.

    Args:
        file: The file.
        label: Its name in messages.
        keys: What it calls things.
        units: What it measures in; None if it says so itself.

    Raises:
        DataError: If the file cannot be read, or a name or unit is missing.
        ShapeError: If the arrays do not fit each other.

    Example:
        >>> from irrepnet.data.formats import locate
        >>> len(read_npz(locate("package:water_xtb/heldout.npz"), "heldout.npz", Keys(), None)[0])
        192
    """
    arrays = _load(file, label)
    check_names(label, keys, Keys.model_fields, arrays)
    for name in ("pos", "species"):
        if getattr(keys, name) not in arrays:
            key, found = getattr(keys, name), ", ".join(arrays)
            raise DataError(f"{label}: needed key {key!r}; found {found}.{did_you_mean(key, arrays)} Set keys.{name}")
    units = choose_units(label, units, said_units(label, arrays))

    shape = arrays[keys.pos].shape
    if len(shape) not in (2, 3) or shape[-1] != 3:
        raise ShapeError(f"{label}: {keys.pos} needs shape [F, N, 3] or [N, 3]; found {list(shape)}")
    num_frames = shape[0] if len(shape) == 3 else 1
    # How many dimensions each has in one frame.
    ranks = {"species": 1, "pos": 2, "cell": 2, "pbc": 1, "energy": 0, "forces": 2, "stress": 2, "group": 0}
    columns = {
        name: _by_frame(arrays[getattr(keys, name)], rank, num_frames, f"{label}: {getattr(keys, name)}", name)
        for name, rank in ranks.items()
        if getattr(keys, name) in arrays
    }
    factors = {"pos": units.to_angstrom, "cell": units.to_angstrom, "energy": units.to_ev}
    factors |= {"forces": units.to_ev_per_angstrom, "stress": units.to_ev_per_angstrom3}
    frames = []
    for index in range(num_frames):
        row = {name: column[index] for name, column in columns.items()}
        source = f"{label} frame {index}"
        for name in factors.keys() & row.keys():
            row[name] = _scaled(row[name], factors[name], f"{source}: {getattr(keys, name)}")
        if "cell" in row:
            row.setdefault("pbc", row["cell"].any(axis=-1))  # a vector of zeros is no period
            row["cell"] = row["cell"] if row["cell"].any() else None
        group = str(row.pop("group")) if "group" in row else None
        frames.append(Frame(**row, source=source, group=group, available=tuple(arrays)))
    return frames


def _load(file: Path, label: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged files raise whatever the damaged part raises, from zlib to the tokeniser
        raise DataError(f"{label}: needed a whole npz file of plain arrays; found it unreadable ({error})") from error


def _by_frame(array: NDArray[Any], rank: int, num_frames: int, what: str, name: str) -> NDArray[Any]:
    """Return the array with one row per frame; what belongs to a structure may be given once for all frames."""
    if rank == 0 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    shared = array.ndim == rank and (num_frames == 1 or name in ("species", "cell", "pbc"))
    if shared:
        return np.broadcast_to(array, (num_frames, *array.shape))
    if array.ndim != rank + 1 or array.shape[0] != num_frames:
        raise ShapeError(f"{what} needs {num_frames} frames of {rank} dimensions each; found shape {list(array.shape)}")
    return array


def _scaled(value: NDArray[Any], factor: float, what: str) -> NDArray[np.float64]:
    if value.dtype.kind not in "fiu":
        raise DataError(f"{what} needs numbers; found dtype {value.dtype}")
    return value.astype(np.float64) * factor
