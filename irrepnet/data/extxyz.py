"""Read frames from extended XYZ through ASE, and check that nothing was lost on the way.

ASE's reader is lenient: it stops at a blank line, ignores columns beyond those announced, and takes a frame whose
``Lattice`` or ``Properties`` has a slip for one that has none. The checks here make each of these an error.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.data.atoms import check_ase_keys, frame_from_atoms
from irrepnet.data.formats import choose_units, said_units
from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["read_extxyz"]

_COLUMNS = re.compile(r'Properties="?([^\s"]+)')


def read_extxyz(file: Path, label: str, keys: Keys, units: Units | None) -> list[Frame]:
    """Read all frames of an extended XYZ file; see :func:`~irrepnet.data.read_frames`.

    Args:
        file: The file.
        label: Its name in messages.
        keys: What it calls labels: entries of the comment line or columns; positions, species and cell have fixed
            names.
        units: What it measures in; None if its first comment line says so (``energy_unit=eV length_unit=angstrom``).
            What later frames say has to be the same.

    Raises:
        DataError: If ase is not installed, the file cannot be read or loses something, a name or unit is missing, or
            frames differ in their units.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "h.xyz")
        >>> _ = path.write_text("1\\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-13.6\\nH 0 0 0 0 0 0\\n")
        >>> read_extxyz(path, "h.xyz", Keys(), Units())[0].energy
        -13.6
    """
    check_ase_keys(label, keys, units)
    structures = _parse(file, label)
    if not structures:
        return []
    sources = [f"{label} frame {index}" for index in range(len(structures))]
    said = [said_units(source, atoms.info) for source, atoms in zip(sources, structures, strict=True)]
    units = choose_units(label, units, said[0])
    for source, later in zip(sources, said, strict=True):
        if later and later != said[0]:  # one unit for all frames
            choose_units(source, units, later, by="declared or said by frame 0 as")
    frames = []
    for atoms, source in zip(structures, sources, strict=True):
        for name, value in atoms.info.items():
            if _is_slip(name, value):
                raise DataError(
                    f"{source}: needed Lattice, Properties or pbc; found {name!r}, which the format does not know"
                )
        frames.append(frame_from_atoms(atoms, source=source, keys=keys, units=units))
    return frames


def _parse(file: Path, label: str) -> list[Any]:
    """Return the file's frames as ASE reads them, none lost."""
    try:
        from ase.io import read
    except ImportError as error:
        raise DataError(
            f"{label}: reading extxyz needs ase; found it not installed; pip install 'irrepnet[md]'"
        ) from error
    try:
        sizes = _scan(file.read_text(encoding="utf-8"), label)
        structures: list[Any] = list(read(file, index=":", format="extxyz")) if sizes else []
    except DataError:
        raise
    except Exception as error:  # ASE raises whatever the damaged token raises
        raise DataError(f"{label}: needed an extended XYZ file; found it unreadable ({error})") from error
    if [len(atoms) for atoms in structures] != sizes:
        raise DataError(f"{label}: needed {len(sizes)} frames as the file's headers say; ase found {len(structures)}")
    return structures


def _scan(text: str, label: str) -> list[int]:
    """Return the number of atoms of each frame, read without ASE; every line has to have its columns."""
    lines = text.rstrip().splitlines()
    sizes: list[int] = []
    place = 0
    while place < len(lines):
        source = f"{label} frame {len(sizes)}"
        if not lines[place].strip().isdigit():
            raise DataError(f"{source}: line {place + 1} needs the number of atoms; found {lines[place]!r:.60}")
        size = int(lines[place])
        if place + 2 + size > len(lines):
            raise DataError(f"{source}: needed {size} atoms; found the end of the file after {len(lines) - place - 2}")
        properties = _COLUMNS.search(lines[place + 1])
        described = properties[1] if properties else "species:S:1:pos:R:3"
        width = sum(int(count) for count in described.split(":")[2::3])
        for number, line in enumerate(lines[place + 2 : place + 2 + size], start=place + 3):
            if len(line.split()) != width:
                raise DataError(
                    f"{source}: line {number} needs {width} columns ({described}); found {len(line.split())}"
                )
        sizes.append(size)
        place += 2 + size
    return sizes


def _is_slip(name: str, value: Any) -> bool:
    """Tell whether an unknown entry is a damaged name of the format: it looks like one, or it is three bools."""
    if difflib.get_close_matches(name, ("Lattice", "Properties"), n=1, cutoff=0.8):
        return True
    return len(name) <= 4 and np.asarray(value).dtype == bool and np.size(value) == 3
