"""Read frames from ASE databases: SQLite (``.db``) or JSON files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.data.atoms import ase_names, check_ase_keys, frame_from_atoms, units_of_all
from irrepnet.data.formats import choose_units, said_units
from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError

__all__ = ["read_ase_database", "said_by_schnetpack"]

_SQLITE = b"SQLite format 3\0"


def read_ase_database(file: Path, label: str, keys: Keys, units: Units | None) -> list[Frame]:
    """Read all rows of an ASE database; see :func:`~irrepnet.data.read_frames`.

    Labels are the results that a row holds, its key-value pairs and its data. The id of a frame is the id of its row,
    unless ``keys.id`` names another. Units may be said as ``energy_unit`` and ``length_unit`` in key-value pairs, data
    or metadata, or as SchNetPack does it in the metadata. The file is opened for reading only.

    Args:
        file: The database.
        label: Its name in messages.
        keys: What it calls labels.
        units: What it measures in; None: what it says itself, else eV and Å, as ASE defines.

    Raises:
        DataError: If ase is not installed, the file is empty or cannot be read, a name is missing, units contradict
            each other, or a row has two values of one label.
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
    kind = "json" if file.suffix == ".json" else "db"
    try:
        _refuse_others(file, label, kind)
        database = connect(file, type=kind, use_lock_file=False)
        if kind == "db":  # ASE would make its tables in a file that has none, or is older
            database._connect = lambda: sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        with database:
            rows = list(database.select())
            said = said_by_schnetpack(database.metadata, keys, label)
        return _frames(rows, said, label, keys, units)
    except (DataError, ShapeError):
        raise
    except Exception as error:  # SQLite and the decoders of ASE raise whatever the damaged part raises
        raise DataError(f"{label}: needed an ASE database; found it unreadable ({error})") from error


def _refuse_others(file: Path, label: str, kind: str) -> None:
    """Raise a DataError for a file that is none; ASE takes an empty file for a new database."""
    with file.open("rb") as stream:
        start = stream.read(len(_SQLITE))
    if not start:
        raise DataError(f"{label}: needed an ASE database; found an empty file")
    if kind == "db" and start != _SQLITE:
        raise DataError(f"{label}: needed an ASE database, a file of SQLite; found it to begin with {start!r}")


def said_by_schnetpack(metadata: Mapping[str, Any], keys: Keys, label: str) -> dict[str, str]:
    """Return the units that the metadata of a database say, in the way of SchNetPack or as ``energy_unit``.

    Args:
        metadata: Of the database; SchNetPack has ``_distance_unit`` and, by name, ``_property_unit_dict``.
        keys: What the labels are called.
        label: The file, for messages.

    Raises:
        DataError: If a unit has a name that is not known.

    Example:
        >>> said_by_schnetpack({"_property_unit_dict": {"energy": "kcal/mol"}, "_distance_unit": "Ang"}, Keys(), "a.db")
        {'length_unit': 'Ang', 'energy_unit': 'kcal/mol'}
    """
    of_properties = metadata.get("_property_unit_dict") or {}
    said = said_units(f"{label} metadata", {name: text for name, text in metadata.items() if not name.startswith("_")})
    found = {"length_unit": metadata.get("_distance_unit")}
    found |= {f"{name}_unit": of_properties.get(getattr(keys, name)) for name in ("energy", "forces", "stress")}
    return {**said, **{name: str(text) for name, text in found.items() if text}}


def _frames(rows: list[Any], said: dict[str, str], label: str, keys: Keys, units: Units | None) -> list[Frame]:
    if not rows:
        return []
    sources = [f"{label} row {row.id}" for row in rows]
    entries = [{**row.key_value_pairs, **row.data} for row in rows]
    of_rows = [said_units(source, one) for source, one in zip(sources, entries, strict=True)]
    if said and units is not None:
        units = choose_units(label, units, said)
    of_rows = [{**said, **one} for one in of_rows]
    if units is None:  # what nobody says is as ASE defines
        of_rows = [{"energy_unit": "eV", "length_unit": "angstrom", **one} for one in of_rows]
    units = units_of_all(label, sources, of_rows, units)
    frames = []
    for row, source, extra in zip(rows, sources, entries, strict=True):
        atoms = row.toatoms()
        _refuse_contradictions(ase_names(atoms, {}), row.data, keys, source)
        frames.append(
            frame_from_atoms(atoms, source=source, keys=keys, units=units, extra={"id": str(row.id), **extra})
        )
    return frames


def _refuse_contradictions(results: Mapping[str, Any], data: Mapping[str, Any], keys: Keys, source: str) -> None:
    """Raise a DataError where a label is there twice, among the results and in the data, and differs."""
    wanted = {keys.energy, keys.forces, keys.stress, keys.virial, *keys.properties.values()}
    for name in sorted((wanted | set(keys.atom_properties.values())) & results.keys() & data.keys()):
        one, other = np.asarray(results[name]), np.asarray(data[name])
        if one.size != other.size or not np.allclose(one.ravel(), other.ravel(), rtol=1e-9, atol=1e-12, equal_nan=True):
            raise DataError(
                f"{source}: {name} needs to be the same in the results and in the data of the row; found "
                f"{one.tolist()!s:.40} and {other.tolist()!s:.40}; remove one of them"
            )
