"""How irrepnet's HDF5 files lay out frames.

With F frames and A atoms of all frames together (frame f has the rows ``ptr[f]`` to ``ptr[f + 1]``)::

    attributes        format, version, energy_unit, length_unit
    ptr               [F + 1]  int64
    species           [A]      int16
    pos, forces       [A, 3]   float64
    energy            [F]      float64
    cell, stress      [F, 3, 3]
    pbc               [F, 3]   uint8, 0 or 1
    id, group         folders: utf8 [bytes of all frames] uint8 and ptr [F + 1] int64, from where to where
    properties/NAME   [F, ...] float64
    atom_properties/NAME [A, ...]
    known/...         [F]      uint8, for what some frames lack: whether this one has it

All but ``ptr``, ``species``, ``pos`` and ``pbc`` may be absent. Any HDF5 software can read such a file; behind the HDF5
data are the checksums of :mod:`irrepnet.data.checked_file`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from irrepnet.errors import DataError

__all__ = ["CHUNK_CACHE", "COLUMNS", "FOLDERS", "FORMAT", "NEEDED", "VERSION", "Column", "import_h5py"]

FORMAT, VERSION = "irrepnet frames", 1
CHUNK_CACHE = 2**20  # bytes of memory per data set; HDF5 2 would take 8 MiB


class Column(NamedTuple):
    """How one quantity lies in the file: a row per atom or per frame, of some shape and kind.

    Args:
        of_atoms: Rows are atoms, not frames.
        shape: Of a row; None: any.
        kind: A dtype, or ``text``.

    Example:
        >>> COLUMNS["forces"]
        Column(of_atoms=True, shape=(3,), kind='float64')
    """

    of_atoms: bool
    shape: tuple[int, ...] | None
    kind: str = "float64"


COLUMNS = {
    "species": Column(True, (), "int16"),
    "pos": Column(True, (3,)),
    "forces": Column(True, (3,)),
    "cell": Column(False, (3, 3)),
    "pbc": Column(False, (3,), "uint8"),
    "energy": Column(False, ()),
    "stress": Column(False, (3, 3)),
    "id": Column(False, (), "text"),
    "group": Column(False, (), "text"),
}
NEEDED = ("ptr", "species", "pos", "pbc")
FOLDERS = {"properties": Column(False, None), "atom_properties": Column(True, None)}


def import_h5py(label: str) -> Any:
    """Return the module h5py.

    Raises:
        DataError: If it is not installed.

    Example:
        >>> import_h5py("a.h5").__name__
        'h5py'
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{label}: HDF5 files need h5py; found it not installed; pip install 'irrepnet[data]'"
        ) from error
    return h5py
