"""Read frames from extended XYZ through ASE, and check that nothing was lost on the way.

ASE's reader is lenient: it stops at a blank line, ignores columns beyond those announced, takes a frame whose
``Lattice`` or ``Properties`` has a slip for one that has none, any text for ``pbc`` as true, and the second of two
entries of one name. The checks here make each of these an error. It also turns ids such as ``007`` and ``1_23`` into
numbers; ids and groups are taken from the comment line as they stand.
"""

from __future__ import annotations

import difflib
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.data.atoms import ase_names, check_ase_keys, frame_from_atoms, units_of_all
from irrepnet.data.extxyz_text import FrameText, one_text, scan_frames
from irrepnet.data.formats import said_units
from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["read_extxyz"]

_STRESS = "stress"


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
    structures, texts = _parse(file, label)
    if not structures:
        return []
    sources = [f"{label} frame {index}" for index in range(len(structures))]
    said = [said_units(source, text.entries) for source, text in zip(sources, texts, strict=True)]
    units = units_of_all(label, sources, said, units)
    # A property of some frames is not known in the others; a name that no frame has is an error.
    elsewhere = {name for atoms in structures for name in ase_names(atoms, {})}
    frames = []
    for atoms, text, source in zip(structures, texts, sources, strict=True):
        for name in (*atoms.info, *text.entries):
            if _is_slip(name, atoms.info.get(name)):
                raise DataError(
                    f"{source}: needed Lattice, Properties or pbc; found {name!r}, which the format does not know"
                )
        _check_numbers(text.entries, keys, source)
        if text.pbc is not None:
            atoms.pbc = text.pbc
        extra = _word_for_word(text.entries, keys, source)
        frames.append(frame_from_atoms(atoms, source=source, keys=keys, units=units, extra=extra, elsewhere=elsewhere))
    return frames


def _parse(file: Path, label: str) -> tuple[list[Any], list[FrameText]]:
    """Return the file's frames as ASE reads them, none lost, and what each says word for word."""
    try:
        from ase.io import read
    except ImportError as error:
        raise DataError(
            f"{label}: reading extxyz needs ase; found it not installed; pip install 'irrepnet[md]'"
        ) from error
    try:
        content = file.read_text(encoding="utf-8-sig")
        texts = scan_frames(content, label)
        structures: list[Any] = list(read(StringIO(content), index=":", format="extxyz")) if texts else []
    except DataError:
        raise
    except Exception as error:  # ASE raises whatever the damaged token raises
        raise DataError(f"{label}: needed an extended XYZ file; found it unreadable ({error})") from error
    if [len(atoms) for atoms in structures] != [text.num_atoms for text in texts]:
        raise DataError(f"{label}: needed {len(texts)} frames as the file's headers say; ase found {len(structures)}")
    return structures, texts


def _word_for_word(entries: dict[str, str], keys: Keys, source: str) -> dict[str, Any]:
    """Return what ASE's reader would change: texts that look like numbers, and the lower half of a stress."""
    found: dict[str, Any] = {
        key: one_text(entries[key], f"{source}: {key}") for key in (keys.id, keys.group) if key in entries
    }
    stress = entries.get(_STRESS, "").replace(",", " ").split()
    if keys.stress == _STRESS and len(stress) == 9:
        found[_STRESS] = np.array(stress, dtype=float).reshape(3, 3, order="F")  # by columns, as a Lattice
    return found


def _check_numbers(entries: dict[str, str], keys: Keys, source: str) -> None:
    """Raise a DataError for numbers with an underscore: Python reads ``1_0`` as ten."""
    for name in ("Lattice", keys.energy, keys.stress, keys.virial, *keys.properties.values()):
        text = entries.get(name, "")
        if "_" in text and not text.startswith("_JSON "):
            raise DataError(f"{source}: {name} needs numbers; found {text!r:.60}")


def _is_slip(name: str, value: Any) -> bool:
    """Tell whether an unknown entry is a damaged name of the format: it looks like one, or it is three bools."""
    names = ("Lattice", "Properties", "pbc")
    if name in names:
        return False
    if name.lower() == "pbc" or difflib.get_close_matches(name, names[:2], n=1, cutoff=0.8):
        return True
    return len(name) <= 4 and np.asarray(value).dtype == bool and np.size(value) == 3
