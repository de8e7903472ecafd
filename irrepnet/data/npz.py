"""Read frames from numpy's npz: frames of equal size stacked, or frames of any size concatenated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.columns import cut_columns
from irrepnet.data.formats import choose_units, said_units
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["load_npz", "read_npz"]


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
    arrays = load_npz(file, label)
    rows = cut_columns(arrays, keys, label)
    units = choose_units(label, units, said_units(label, arrays))
    return [
        frame_from_raw(row, source=f"{label} frame {index}", keys=keys, units=units, available=arrays)
        for index, row in enumerate(rows)
    ]


def load_npz(file: Path, label: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name; nothing is unpickled.

    Args:
        file: The file.
        label: Its name in messages.

    Raises:
        DataError: If it is damaged, holds Python objects, or two arrays of one name.

    Example:
        >>> from irrepnet.data.formats import locate
        >>> load_npz(locate("package:water_xtb/heldout.npz"), "heldout.npz")["energy_unit"].item()
        'eV'
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            names = list(archive.files)
            arrays = {name: archive[name] for name in names}
    except Exception as error:  # damaged files raise whatever the damaged part raises, from zlib to the tokeniser
        raise DataError(f"{label}: needed a whole npz file of plain arrays; found {_what(error)}") from error
    if len(arrays) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{label}: needed each array once; found {twice!r} {names.count(twice)} times; write it again")
    return arrays


def _what(error: Exception) -> str:
    """Say what is wrong without numpy's advice to allow pickles, which would run what a file says."""
    if "Object arrays" in str(error):
        return "Python objects in it, which are never loaded; write arrays of numbers or texts"
    if "pickle" in str(error):
        return "no npz file"
    return f"it unreadable ({error})"
