"""What the numbers of a file mean (`Units`) and what they are called in it (`Keys`)."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from irrepnet.errors import DataError, did_you_mean

__all__ = ["Keys", "Units"]

# CODATA 2022, https://physics.nist.gov/cuu/Constants; e, N_A and the thermochemical calorie are exact.
_ELECTRON_VOLT = 1.602176634e-19  # J
_AVOGADRO = 6.02214076e23  # 1/mol
_HARTREE = 27.211386245981  # eV
_BOHR = 0.529177210544  # Å

_ENERGY = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": _HARTREE,
    "kJ/mol": 1e3 / _AVOGADRO / _ELECTRON_VOLT,
    "kcal/mol": 4184.0 / _AVOGADRO / _ELECTRON_VOLT,
}
_LENGTH = {"angstrom": 1.0, "bohr": _BOHR, "nm": 10.0}
# 1 eV/Å^3 = 1.602176634e-19 J / 1e-30 m^3
_PRESSURE = {"GPa": 1e9 * 1e-30 / _ELECTRON_VOLT, "kbar": 1e8 * 1e-30 / _ELECTRON_VOLT}
_COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
_OTHER_NAMES = {
    "Ha": "Hartree",
    "hartree": "Hartree",
    "ev": "eV",
    "Å": "angstrom",
    "A": "angstrom",
    "Angstrom": "angstrom",
    "Ang": "angstrom",
    "Bohr": "bohr",
}


class Units(BaseModel):
    """Units of the numbers in a file, with the factors that bring them to eV, Å, eV/Å and eV/Å^3.

    Args:
        energy: ``eV``, ``meV``, ``Hartree``, ``kJ/mol`` or ``kcal/mol``.
        length: ``angstrom``, ``bohr`` or ``nm``.
        forces: ``<energy>/<length>``; None for the units above.
        stress: ``<energy>/<length>^3``, ``GPa`` or ``kbar``; None for the units above. A minus in front (``-kbar``, as
            VASP prints it) says that the file holds -dE/dstrain / V, which is positive under compression.
        voigt: Order of stresses or virials that are given as six numbers, such as ``"xx yy zz yz xz xy"`` (ASE) or
            ``"xx yy zz xy yz xz"`` (VASP); None: six numbers are an error, because the orders differ.

    Raises:
        DataError: If a unit or order is not one of these.

    Example:
        >>> Units(energy="kcal/mol").to_ev_per_angstrom
        0.0433641...
        >>> Units(energy="Hartree", length="angstrom", forces="Hartree/bohr", stress="GPa").to_ev
        27.211386245981
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy: str = Field(default="eV", description="eV, meV, Hartree, kJ/mol or kcal/mol")
    length: str = Field(default="angstrom", description="angstrom, bohr or nm")
    forces: str | None = Field(default=None, description="<energy>/<length>; null: the units above")
    stress: str | None = Field(
        default=None,
        description="<energy>/<length>^3, GPa or kbar, with a minus in front if it is positive under compression; "
        "null: the units above",
    )
    voigt: str | None = Field(default=None, description="order of stresses of six numbers, such as xx yy zz yz xz xy")

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)
        _ = self.to_ev, self.to_angstrom, self.to_ev_per_angstrom, self.to_ev_per_angstrom3, self.voigt_places

    @property
    def to_ev(self) -> float:
        """Factor that brings energies to eV."""
        return _factor("energy", self.energy, _ENERGY)

    @property
    def to_angstrom(self) -> float:
        """Factor that brings lengths to Å."""
        return _factor("length", self.length, _LENGTH)

    @property
    def to_ev_per_angstrom(self) -> float:
        """Factor that brings forces to eV/Å."""
        if self.forces is None:
            return self.to_ev / self.to_angstrom
        energy, length = _split("forces", self.forces, "<energy>/<length>, such as eV/angstrom")
        return _factor("energy", energy, _ENERGY) / _factor("length", length, _LENGTH)

    @property
    def to_ev_per_angstrom3(self) -> float:
        """Factor that brings stresses to dE/dstrain / V in eV/Å^3; negative where the unit bears a minus."""
        if self.stress is None:
            return self.to_ev / self.to_angstrom**3
        sign, unit = (-1.0, self.stress[1:]) if self.stress.startswith("-") else (1.0, self.stress)
        if unit in _PRESSURE:
            return sign * _PRESSURE[unit]
        form = "GPa, kbar or <energy>/<length>^3, such as eV/angstrom^3"
        energy, _, volume = unit.rpartition("/")
        length = re.fullmatch(r"(.*?)(\^|\*\*)?3", volume)
        if not energy or length is None:
            raise DataError(f"stress unit: needed {form}; found {self.stress!r}.{did_you_mean(unit, _PRESSURE)}")
        return sign * _factor("energy", energy, _ENERGY) / _factor("length", length[1], _LENGTH) ** 3

    @property
    def voigt_places(self) -> tuple[int, ...] | None:
        """Where the nine components of the matrix, row by row, are among six numbers; None if that was not said."""
        if self.voigt is None:
            return None
        said = ["".join(sorted(name)) for name in self.voigt.split()]
        if sorted(said) != sorted(_COMPONENTS):
            raise DataError(
                f"voigt: needed each of xx yy zz yz xz xy once, in the order of the file; found {self.voigt!r}"
            )
        return tuple(said.index("".join(sorted(row + column))) for row in "xyz" for column in "xyz")


class Keys(BaseModel):
    """Names under which a file holds its numbers.

    A name that is set here must be in the file; a name left at its default is read where it is there. In npz and hdf5
    files ``"props[3]"`` is the column 3 of ``props``.

    Args:
        species: Atomic numbers (npz only, as are ``pos``, ``cell`` and ``pbc``: extxyz names these itself).
        pos: Positions.
        cell: Lattice vectors as rows.
        pbc: Periodic directions; absent: the lattice vectors that are not zero.
        energy: Total energies.
        forces: Forces.
        stress: Stresses.
        virial: Virials, -dE/dstrain in the unit of energy: the stress, where a file has no stresses.
        group: Label of the trajectory that a frame belongs to.
        id: Name of a frame; absent: its place in the file.
        ptr: Start of each frame among the atoms, and the end, shape ``[F + 1]``: npz and hdf5 files of structures of
            many sizes, in which ``pos``, ``species``, ``forces`` and labels of atoms are concatenated.
        properties: Labels of structures that are to be read: our name -> the file's name.
        atom_properties: Labels of atoms that are to be read: our name -> the file's name.
        selected: One bool per atom, true where ``atom_properties`` are known; the others become NaN. The labels have a
            row for every atom or for the selected ones only. None: all are known.

    Example:
        >>> Keys(species="z", group="source", properties={"dipole": "mu"}).energy
        'energy'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    species: str = Field(default="species", description="atomic numbers (npz)")
    pos: str = Field(default="pos", description="positions (npz)")
    cell: str = Field(default="cell", description="lattice vectors as rows (npz)")
    pbc: str = Field(default="pbc", description="periodic directions (npz); absent: lattice vectors that are not zero")
    energy: str = Field(default="energy", description="total energies")
    forces: str = Field(default="forces", description="forces")
    stress: str = Field(default="stress", description="stresses; see units.stress for their sign")
    virial: str = Field(default="virial", description="virials, -dE/dstrain, read where there is no stress")
    group: str = Field(default="group", description="trajectory that a frame belongs to")
    id: str = Field(default="id", description="name of a frame, which files of ids list")
    ptr: str = Field(default="ptr", description="first row of each frame, and the end, where frames are concatenated")
    properties: dict[str, str] = Field(default={}, description="labels of structures: our name -> name in the file")
    atom_properties: dict[str, str] = Field(default={}, description="labels of atoms: our name -> name in the file")
    selected: str | None = Field(default=None, description="for which atoms atom_properties are known; null: for all")


def _factor(kind: str, unit: str, table: dict[str, float]) -> float:
    name = _OTHER_NAMES.get(unit, unit)
    if name not in table:
        raise DataError(f"{kind} unit: needed one of {', '.join(table)}; found {unit!r}.{did_you_mean(unit, table)}")
    return table[name]


def _split(kind: str, unit: str, form: str) -> tuple[str, str]:
    """Cut ``kcal/mol/angstrom`` into ``kcal/mol`` and ``angstrom``."""
    energy, slash, length = unit.rpartition("/")
    if not slash:
        raise DataError(f"{kind} unit: needed {form}; found {unit!r}")
    return energy, length
