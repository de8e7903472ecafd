"""Read labelled structures from files, in eV and Å, whatever the file calls them and measures them in."""

from __future__ import annotations

import difflib
import importlib
import importlib.resources
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, did_you_mean

__all__ = ["check_names", "choose_units", "locate", "read_frames", "said_units"]

#: Start of a path that means a file shipped with irrepnet.
PACKAGE = "package:"
#: Start of a path that means a registered data set.
SET = "set:"
# Format -> file and function that reads it.
_READERS = {
    "npz": ("npz", "read_npz"),
    "extxyz": ("extxyz", "read_extxyz"),
    "ase": ("ase_database", "read_ase_database"),
    "deepmd": ("deepmd", "read_deepmd"),
    "hdf5": ("hdf5", "read_hdf5"),
}
_SUFFIXES = {
    ".npz": "npz", ".xyz": "extxyz", ".extxyz": "extxyz", ".db": "ase", ".json": "ase", ".h5": "hdf5", ".hdf5": "hdf5",
}  # fmt: skip
_FACTORS = ("to_ev", "to_angstrom", "to_ev_per_angstrom", "to_ev_per_angstrom3")
_UNIT_NAMES = ("energy_unit", "length_unit", "forces_unit", "stress_unit")
# Not every name that begins with unit_ is one: unit_cell.
_LIKE_UNITS = re.compile(
    r".*_units?|units?(_?(energ|length|distance|pos|coord|force|stress|virial|pressure).*)?", re.IGNORECASE
)


def read_frames(
    path: str | Path,
    *,
    format: str = "auto",
    keys: Keys | None = None,
    units: Units | None = None,
    data_dir: str | Path | None = None,
) -> Sequence[Frame]:
    """Read all frames of a file, of a folder or of a registered data set.

    An npz file holds either frames of equal size: ``pos [F, N, 3]`` (or ``[N, 3]``: one frame), ``species [N]`` or
    ``[F, N]``, ``forces [F, N, 3]``; or frames of any size, concatenated: ``pos [T, 3]``, ``species [T]``,
    ``forces [T, 3]`` and ``ptr [F + 1]``, where each of them starts. Beside them, where there are any, ``cell [3, 3]``
    or ``[F, 3, 3]``, ``pbc [3]`` or ``[F, 3]``, ``energy [F]``, ``stress [F, 3, 3]`` or ``[F, 6]``,
    ``virial [F, 3, 3]``, ``group [F]``, ``id [F]`` and what ``keys.properties`` and ``keys.atom_properties`` name.

    npz and extxyz files may say their own units as texts ``energy_unit`` and ``length_unit`` (also ``forces_unit``,
    ``stress_unit``); otherwise they have to be declared. ASE databases may say them too, and are in eV and Å otherwise;
    DeePMD folders are in eV and Å, unless others are declared. Properties keep the unit of the file. Shapes and names
    are checked here, values by :func:`~irrepnet.data.validate_frames`.

    Args:
        path: The file or folder; ``"package:water_xtb/train.npz"`` is a file shipped with irrepnet;
            ``"set:rmd17/ethanol"`` is a registered data set, which has its own keys and units.
        format: ``"npz"``, ``"extxyz"`` and ``"ase"`` (need ase), ``"hdf5"`` (needs h5py), ``"deepmd"`` or ``"auto"``:
            by the end of the name.
        keys: What the file calls things, where not the names above.
        units: What the file measures in; None if the file says it itself.
        data_dir: Where data sets are kept; None for the usual place.

    Returns:
        Frames in the order of the file: eV, Å, eV/Å, eV/Å^3. Those of an hdf5 file are read when they are asked for.

    Raises:
        DataError: If the file is missing, damaged or of another format; a key is missing; units are missing, unknown or
            contradict the file. The message names file, key and frame.
        ShapeError: If the parts of a frame do not fit each other.

    Example:
        >>> frames = read_frames("package:water_xtb/heldout.npz")
        >>> len(frames[0]), frames[0].source
        (192, 'package:water_xtb/heldout.npz frame 0')
    """
    if str(path).startswith(SET):
        from irrepnet.data.sets.registry import read_set

        return read_set(str(path).removeprefix(SET), data_dir)
    if format != "auto" and format not in _READERS:
        raise DataError(
            f"{path}: needed format {' or '.join(_READERS)}; found {format!r}.{did_you_mean(format, _READERS)}"
        )
    place = Path(path).expanduser()
    if format == "deepmd" or (format == "auto" and place.is_dir() and any(place.rglob("type.raw"))):
        if not place.is_dir():
            raise DataError(
                f"{path}: needed a folder of DeePMD data; found {'a file' if place.exists() else 'nothing'}"
            )
        file, format = place, "deepmd"
    else:
        file = locate(path)
    if format == "auto":
        format = _SUFFIXES.get(file.suffix, file.suffix)
    if format not in _READERS:
        raise DataError(
            f"{path}: needed format {' or '.join(_READERS)}; found {format!r}.{did_you_mean(format, _READERS)}"
        )
    return _reader(format)(file, str(path), keys or Keys(), units)


def _reader(format: str) -> Callable[[Path, str, Keys, Units | None], Sequence[Frame]]:
    """Return the function that reads a format; its file is imported when it is wanted."""
    module, function = _READERS[format]
    reader: Callable[[Path, str, Keys, Units | None], Sequence[Frame]]
    reader = getattr(importlib.import_module(f"irrepnet.data.{module}"), function)
    return reader


def locate(path: str | Path) -> Path:
    """Return the file that a path means.

    Raises:
        DataError: If there is no such file.

    Example:
        >>> locate("package:water_xtb/train.npz").name
        'train.npz'
    """
    text = str(path)
    if not text.startswith(PACKAGE):
        file = Path(path).expanduser()
        if not file.is_file():
            found = "a folder, in which no type.raw says that it is DeePMD data" if file.is_dir() else "nothing there"
            raise DataError(f"{path}: needed a file; found {found}")
        return file
    shelf = Path(str(importlib.resources.files("irrepnet.data")))
    shipped = sorted(f"{PACKAGE}{file.relative_to(shelf).as_posix()}" for file in shelf.glob("*/*.npz"))
    if text not in shipped:
        raise DataError(
            f"{path}: needed a shipped file, {', '.join(shipped)}; found no such.{did_you_mean(text, shipped)}"
        )
    return shelf / text.removeprefix(PACKAGE)


def said_units(label: str, entries: Mapping[str, Any]) -> dict[str, str]:
    """Return the units that a file says, as texts, whether it holds a text, bytes or an array of one of these.

    Args:
        label: The file (and frame), for messages.
        entries: What the file holds, by name.

    Raises:
        DataError: If a name looks like that of a unit (``energy_units``, ``unit_energy``, ``units``) but is not known:
            numbers would be taken for others.

    Example:
        >>> said_units("a.npz", {"energy_unit": np.array(["eV"]), "length_unit": b"bohr", "pos": 1})
        {'energy_unit': 'eV', 'length_unit': 'bohr'}
    """
    said = {}
    for name, value in entries.items():
        if not _LIKE_UNITS.fullmatch(name):
            continue
        if name not in _UNIT_NAMES and np.size(value) != 1:
            continue  # units of many things, such as the columns of a table
        if name not in _UNIT_NAMES:
            raise DataError(
                f"{label}: units need to be called {', '.join(_UNIT_NAMES)}; found {name!r}."
                f"{did_you_mean(name, _UNIT_NAMES)} Rename or remove it"
            )
        single = np.asarray(value).item() if np.size(value) == 1 else value
        said[name] = single.decode(errors="replace") if isinstance(single, bytes) else str(single)
    return said


def choose_units(label: str, declared: Units | None, said: dict[str, str], *, by: str = "declared") -> Units:
    """Return the units of a file from what was declared and what the file says.

    Args:
        label: The file, for messages.
        declared: By the caller.
        said: ``energy_unit``, ``length_unit``, ... that are in the file.
        by: How they were declared, for messages.

    Raises:
        DataError: If nobody says them or they contradict each other.

    Example:
        >>> choose_units("a.npz", None, {"energy_unit": "kcal/mol", "length_unit": "angstrom"}).energy
        'kcal/mol'
    """
    found = {name.removesuffix("_unit"): said[name] for name in _UNIT_NAMES if name in said}
    if declared is None:
        missing = [name for name in ("energy", "length") if name not in found]
        if missing:
            raise DataError(
                f"{label}: needed the units of {' and '.join(missing)}; found none in the file; declare them: "
                "--set data.units.energy=eV --set data.units.length=angstrom; data.units of a configuration; or "
                "units=Units(energy='eV', length='angstrom')"
            )
        try:
            return Units(**found)
        except DataError as error:
            raise DataError(f"{label}: {error}") from error
    for name, text in found.items():
        in_file = Units(**{**declared.model_dump(), name: text})
        if any(getattr(in_file, factor) != getattr(declared, factor) for factor in _FACTORS):
            mine = getattr(declared, name) or "by energy and length"
            raise DataError(
                f"{label}: {name} unit was {by} {mine!r}; found {text!r} in the file; declare what the file says, "
                "or nothing"
            )
    return declared


def check_names(
    label: str, keys: Keys, wanted: Iterable[str], available: Collection[str], elsewhere: Collection[str] = ()
) -> None:
    """Raise a DataError where a key was set but is not there, or is there under a name that is one slip away.

    A slip (``force`` for ``forces``, a damaged ``enXrgy``) would otherwise drop labels without a word.

    Args:
        label: The file (and frame), for messages.
        keys: Names that the caller knows.
        wanted: Which fields of ``keys`` the format reads.
        available: Names that the file (or the frame) holds.
        elsewhere: Names that other frames of the file hold: a property may be known in some frames only.

    Raises:
        DataError: Names the key that is missing, and what it may be called.

    Example:
        >>> check_names("a.npz", Keys(), ["forces"], ["pos", "force"])
        Traceback (most recent call last):
        irrepnet.errors.DataError: a.npz: needed key 'forces'; found pos, force. If 'force' is meant, set keys.forces
    """
    listing = ", ".join(available) or "nothing"
    known = [*keys.properties.values(), *keys.atom_properties.values()]
    known += keys.model_dump(exclude={"properties", "atom_properties"}, exclude_none=True).values()
    for kind in ("properties", "atom_properties"):
        for ours, key in getattr(keys, kind).items():
            if key not in available and (key not in elsewhere or _slip_of(key, available, known)):
                raise DataError(
                    f"{label}: needed key {key!r} (keys.{kind}[{ours!r}]); found {listing}."
                    f"{did_you_mean(key, available)}"
                )
    for name in wanted:
        key = getattr(keys, name)
        if key is None or key in available:
            continue
        if name in keys.model_fields_set:
            raise DataError(
                f"{label}: needed key {key!r} (keys.{name}); found {listing}.{did_you_mean(key, available)}"
            )
        near = _slip_of(key, available, known)
        if near:
            raise DataError(f"{label}: needed key {key!r}; found {listing}. If {near!r} is meant, set keys.{name}")


def _slip_of(key: str, available: Collection[str], known: Collection[str]) -> str | None:
    """Return a name that is there and looks like a slip of the key; None if there is none."""
    near = difflib.get_close_matches(key, available, n=1, cutoff=0.8)
    return near[0] if near and near[0] not in known else None
