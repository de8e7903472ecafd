"""A frame from ASE's Atoms, as its extxyz reader and its databases give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from irrepnet.data.formats import check_names, choose_units
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError

__all__ = ["ase_names", "check_ase_keys", "frame_from_atoms", "units_of_all"]

_LABELS = ("energy", "forces", "stress", "virial", "group", "id", "selected")
_ASE_VOIGT = Units(voigt="xx yy zz yz xz xy")


def check_ase_keys(label: str, keys: Keys, units: Units | None) -> None:
    """Raise a DataError for keys and conventions that ASE's formats fix themselves.

    Example:
        >>> check_ase_keys("a.xyz", Keys(pos="R"), None)
        Traceback (most recent call last):
        irrepnet.errors.DataError: a.xyz: ase has its own names for positions, species and cell; found keys.pos set
    """
    fixed = keys.model_fields_set & {"pos", "species", "cell", "pbc", "ptr"}
    if fixed:
        raise DataError(f"{label}: ase has its own names for positions, species and cell; found keys.{min(fixed)} set")
    if units is not None and units.voigt_places not in (None, _ASE_VOIGT.voigt_places):
        raise DataError(
            f"{label}: ase keeps stresses as {_ASE_VOIGT.voigt}; found units.voigt={units.voigt!r}; omit it"
        )


def ase_names(atoms: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that is known of some ASE Atoms, by name: ``info``, ``arrays``, results of the calculator, extra.

    Example:
        >>> from ase import Atoms
        >>> sorted(ase_names(Atoms("H", info={"charge": 1}), {"id": "7"}))
        ['charge', 'id', 'numbers', 'positions']
    """
    results = {} if atoms.calc is None else atoms.calc.results
    return {**atoms.info, **atoms.arrays, **results, **extra}


def units_of_all(label: str, sources: Sequence[str], said: Sequence[dict[str, str]], declared: Units | None) -> Units:
    """Return the one set of units that all frames of a file are in.

    Args:
        label: The file, for messages.
        sources: Its frames, for messages.
        said: What each of them says, of :func:`~irrepnet.data.formats.said_units`; those of the first are the file's.
        declared: By the caller.

    Raises:
        DataError: If nobody says them, they contradict each other, or frames differ.

    Example:
        >>> said = [{"energy_unit": "eV", "length_unit": "bohr"}, {}]
        >>> units_of_all("a.xyz", ["a.xyz frame 0", "a.xyz frame 1"], said, None).length
        'bohr'
    """
    units = choose_units(label, declared, said[0])
    for source, later in zip(sources, said, strict=True):
        if later and later != said[0]:
            choose_units(source, units, later, by="declared or said by frame 0 as")
    return units


def frame_from_atoms(
    atoms: Any, *, source: str, keys: Keys, units: Units, extra: Mapping[str, Any] | None = None,
    elsewhere: Collection[str] = (),
) -> Frame:  # fmt: skip
    """Return the frame of ASE's Atoms.

    Args:
        atoms: An ``ase.Atoms``; labels are taken from ``info``, ``arrays`` and the results of its calculator.
        source: Where it is from, for messages.
        keys: What the labels are called.
        units: What the numbers are measured in.
        extra: Further labels of the structure by name, which come first.
        elsewhere: Names that other frames of the file have: a property of that name is not known here.

    Raises:
        DataError: If a name that was set is missing, or something is not numbers.
        ShapeError: If a label does not fit the number of atoms.

    Example:
        >>> from ase import Atoms
        >>> frame_from_atoms(Atoms("H", info={"energy": -13.6}), source="H", keys=Keys(), units=Units()).energy
        -13.6
    """
    found = ase_names(atoms, extra or {})
    available = [name for name in found if name not in ("numbers", "positions")]
    check_names(source, keys, _LABELS, available, elsewhere)
    raw = {name: found[getattr(keys, name)] for name in _LABELS if getattr(keys, name) in found}
    if keys.id in atoms.arrays:
        raw.pop("id")  # numbers of the atoms
    selected = raw.pop("selected", None)
    return frame_from_raw(
        {
            **raw,
            "energy": _single(raw.get("energy")),
            "stress": _full_stress(raw.get("stress")),
            "species": atoms.numbers,
            "pos": atoms.positions,
            "cell": atoms.cell.array if atoms.cell.any() else None,
            "pbc": atoms.pbc,
            "properties": {ours: found[key] for ours, key in keys.properties.items() if key in found},
            "atom_properties": {
                ours: _masked(found[key], selected, f"{source}: {key}")
                for ours, key in keys.atom_properties.items()
                if key in found
            },
        },
        source=source,
        keys=keys,
        units=units,
        available=found,
    )


def _single(energy: Any) -> Any:
    """Return an energy of shape [1], as SchNetPack has it, as a number."""
    return energy[0] if energy is not None and np.shape(energy) == (1,) else energy


def _full_stress(stress: Any) -> Any:
    if np.size(stress) == 6 and _ASE_VOIGT.voigt_places is not None:
        return np.ravel(stress)[list(_ASE_VOIGT.voigt_places)].reshape(3, 3)
    return stress


def _masked(values: Any, selected: Any, what: str) -> Any:
    """Return the labels of atoms with NaN for those that are not selected."""
    if selected is None:
        return values
    values, selected = np.asarray(values), np.asarray(selected)
    if selected.dtype != bool or values.dtype.kind not in "fiu":
        raise DataError(f"{what} needs numbers and a selection of bools; found {values.dtype} and {selected.dtype}")
    if selected.shape != values.shape[:1]:
        raise ShapeError(f"{what} needs {len(selected)} rows, as its selection has; found {list(values.shape)}")
    return np.where(selected.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)
