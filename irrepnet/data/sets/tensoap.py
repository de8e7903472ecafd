"""Tensors of water from TENSOAP: dipole, polarizability, hyperpolarizability, dielectric tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.sets.data_set import DataSet, check_count, git_file
from irrepnet.data.units import Keys, Units
from irrepnet.errors import ShapeError

__all__ = ["BULK", "MOLECULES"]

_COMMITS = ("7ee93d0375bb66ece14ebf6ffa345836229762cf",)
_FOLDER = "water_tensors_tensoap"
_STRUCTURES = 1000
_SHAPES = {"mu": (3,), "alpha": (3, 3), "beta": (3, 3, 3), "epsilon": (3, 3)}
_MOLECULES = ("monomer", "dimer", "zundel")
_ATOMIC = Units(energy="Hartree", length="angstrom")


def _file(system: str) -> RemoteFile:
    path = f"example/water_{system}/coords_1000.xyz"
    return git_file(_FOLDER, "dilkins/TENSOAP", _COMMITS, path, f"water_{system}/coords_1000.xyz")


def _read_molecules(data_dir: Path, member: str) -> Sequence[Frame]:
    keys = Keys(energy="potential", properties={name: name for name in ("mu", "alpha", "beta")})
    return _read(data_dir, member, f"{member}_dev.npz", keys)


def _read_bulk(data_dir: Path, member: str) -> Sequence[Frame]:
    keys = Keys(properties={name: name for name in ("mu", "alpha", "epsilon")})
    return _read(data_dir, "bulk", "bulk32_dev.npz", keys)


def _read(data_dir: Path, system: str, copy_name: str, keys: Keys) -> Sequence[Frame]:
    copy = data_dir / _FOLDER / copy_name
    if copy.is_file():
        named = keys.model_copy(update={"species": "z", "id": "frame"})
        return read_frames(copy, keys=named, units=_ATOMIC)
    frames = read_frames(fetch(_file(system), data_dir), keys=keys, units=_ATOMIC)
    check_count(frames, _STRUCTURES, f"set:{_FOLDER} {system}")
    return [
        replace(frame, id=str(place), properties=_shaped(frame.properties, frame.source))
        for place, frame in enumerate(frames)
    ]


def _shaped(properties: Mapping[str, NDArray[np.float64]], source: str) -> dict[str, NDArray[np.float64]]:
    """Give tensors, which an xyz file holds as rows of numbers, their axes."""
    for name, value in properties.items():
        if value.size != np.prod(_SHAPES[name]):
            raise ShapeError(f"{source}: {name} needs shape {list(_SHAPES[name])}; found {list(value.shape)}")
    return {name: value.reshape(_SHAPES[name]) for name, value in properties.items()}


_CITATION = (
    "Grisafi, Wilkins, Csányi, Ceriotti, Phys. Rev. Lett. 120, 036002 (2018), doi:10.1103/PhysRevLett.120.036002"
)
_LICENCE = "LGPL-3.0 (repository)"

MOLECULES = DataSet(
    name="water_tensors",
    description="water molecule, dimer and protonated dimer (zundel): dipole, polarizability, hyperpolarizability",
    structures="1,000 of each",
    units={"energy": "eV", "mu": "e a0", "alpha": "a0^3", "beta": "e^3 a0^3/Hartree^2"},
    licence=_LICENCE,
    citation=_CITATION,
    members={system: (_file(system),) for system in _MOLECULES},
    read=_read_molecules,
    notes="the dipole of the charged zundel depends on the origin",
)
BULK = DataSet(
    name="water_bulk_tensors",
    description="liquid water, 32 molecules in a periodic box: dipole, polarizability, dielectric tensor",
    structures="1,000 of 96 atoms",
    units={"mu": "not stated", "alpha": "Å^3", "epsilon": "1"},
    licence=_LICENCE,
    citation=_CITATION,
    members={"": (_file("bulk"),)},
    read=_read_bulk,
    notes="the unit of alpha follows from its size, 1.39 Å^3 per molecule; alpha and epsilon are symmetric to 0.03",
)
