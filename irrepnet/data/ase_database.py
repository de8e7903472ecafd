"""Read frames from ASE databases: SQLite (``.db``) or JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from irrepnet.data.atoms import check_ase_keys, frame_from_atoms
from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError

__all__ = ["read_ase_database"]


def read_ase_database(file: Path, label: str, keys: Keys, units: Units | None) -> list[Frame]:
    """Read all rows of an ASE database; see :func:`~irrepnet.data.read_frames`.

    Labels are the results that a row holds, its key-value pairs and its data. The id of a frame is the id of its row,
    unless ``keys.id`` names another.

    Args:
        file: The database.
        label: Its name in messages.
        keys: What it calls labels.
        units: What it measures in; None: eV and Å, as ASE defines.

    Raises:
        DataError: If ase is not installed, the file cannot be read, or a name is missing.
        ShapeError: If a label does not fit the number of atoms.

    Example:
        >>> import tempfile
        >>> from ase import Atoms
        >>> from ase.db import connect
        >>> path = Path(tempfile.mkdtemp(), "h.db")
        >>> connect(path).write(Atoms("H"), key_value_pairs={"gap": 1.5})
        1
        >>> read_ase_database(path, "h.db", Keys(properties={"gap": "gap"}), None)[0].properties
        {'gap': array(1.5)}
    """
    check_ase_keys(label, keys, units)
    try:
        from ase.db import connect
    except ImportError as error:
        raise DataError(
            f"{label}: reading an ASE database needs ase; found it not installed; pip install ase"
        ) from error
    frames = []
    try:
        kind = "json" if file.suffix == ".json" else "db"
        with connect(file, type=kind, use_lock_file=False) as database:
            for row in database.select():
                extra: dict[str, Any] = {"id": str(row.id), **row.key_value_pairs, **row.data}
                source = f"{label} row {row.id}"
                frames.append(
                    frame_from_atoms(row.toatoms(), source=source, keys=keys, units=units or Units(), extra=extra)
                )
    except (DataError, ShapeError):
        raise
    except Exception as error:  # SQLite and the decoders of ASE raise whatever the damaged part raises
        raise DataError(f"{label}: needed an ASE database; found it unreadable ({error})") from error
    return frames
