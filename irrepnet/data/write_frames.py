"""Write labelled structures to files that :func:`~irrepnet.data.read_frames` reads without being told anything."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.frame import Frame
from irrepnet.errors import DataError, did_you_mean

__all__ = ["frames_format", "write_frames"]

_FORMATS = {".npz": "npz", ".extxyz": "extxyz", ".xyz": "extxyz", ".h5": "hdf5", ".hdf5": "hdf5"}


def frames_format(path: str | os.PathLike[str]) -> str:
    """Return the format in which frames are written to a file, by the end of its name.

    Raises:
        DataError: If no format is known by it.

    Example:
        >>> frames_format("predicted.xyz")
        'extxyz'
    """
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise DataError(
            f"{path}: needed a name that ends in {', '.join(_FORMATS)}; found {suffix or 'none of them'!r}."
            f"{did_you_mean(suffix, _FORMATS)}"
        )
    return _FORMATS[suffix]


def write_frames(frames: Iterable[Frame], path: str | os.PathLike[str]) -> int:
    """Write frames to a file, in eV, Å, eV/Å and eV/Å^3, which the file says.

    The file appears under its name when it is whole; until then what was there before stays. HDF5 and extended XYZ are
    written frame by frame, so that a set may be larger than memory; npz is put together in memory. Properties keep
    their numbers; to read them, name them in ``keys.properties`` or ``keys.atom_properties`` (HDF5: all are read).

    Args:
        frames: The frames, also a generator.
        path: The file: ``.npz``, ``.extxyz`` or ``.xyz`` (needs ase; eight decimals in columns), ``.h5`` or ``.hdf5``
            (needs h5py).

    Returns:
        The number of frames.

    Raises:
        DataError: If the end of the name is none of these, the folder does not exist, the package for the format is
            missing, or the format cannot hold what the frames have; the message names frame and property.
        OSError: If the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from irrepnet.data.formats import read_frames
        >>> frames = read_frames("package:water_xtb/heldout.npz")[:2]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     number = write_frames(frames, f"{folder}/water.npz")
        ...     number, read_frames(f"{folder}/water.npz")[1].energy == frames[1].energy
        (2, True)
    """
    format = frames_format(path)
    if format == "hdf5":
        from irrepnet.data.write_hdf5 import write_hdf5

        return write_hdf5(frames, path)
    write: Callable[[Iterable[Frame], Path], int]
    write = getattr(importlib.import_module(f"irrepnet.data.write_{format}"), f"write_{format}")
    with atomic_file(path) as beside:
        return write(frames, beside)
