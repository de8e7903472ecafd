"""Data in the repository of DeePMD-kit: liquid water (``water_dft``) and GeTe (``gete``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.sets.data_set import DataSet, check_count, git_file
from irrepnet.data.units import Keys, Units

__all__ = ["GETE", "WATER"]

_REPOSITORY = "deepmodeling/deepmd-kit"
_LICENCE = "LGPL-3.0 (repository)"
_UNITS = Units(energy="eV", length="angstrom")
_ARRAYS = ("box", "coord", "energy", "force")

_WATER_COMMITS = ("bc902daf747d93c5d7314338d287fd2dd0a7e32c",)
_WATER_SETS = {"data_0": 1, "data_1": 2, "data_2": 1, "data_3": 1}  # of 80 structures each
_WATER_MEMBERS = {"train": ("data_0", "data_1", "data_2"), "valid": ("data_3",)}
_WATER_COPIES = {"train": "water_train320.npz"}

_GETE_COMMITS = ("182c6d512baf75fb7338070fb0f5664f9153093e", "8753504a4af9daa4f897b6a7b6e6e2918fcb9c8d")
_GETE_SYSTEMS = ("data-train-gete", *(f"data.{number:03d}" for number in (*range(1, 16), *range(19, 38))))
_GETE_STRUCTURES = 5_025


def _water_files(system: str) -> tuple[RemoteFile, ...]:
    return tuple(
        git_file("water_deepmd", _REPOSITORY, _WATER_COMMITS, f"examples/water/data/{place}", place)
        for number in range(_WATER_SETS[system])
        for place in (f"{system}/set.{number:03d}/{name}.npy" for name in _ARRAYS)
    )


def _gete_files(system: str) -> tuple[RemoteFile, ...]:
    return tuple(
        git_file("gete", _REPOSITORY, _GETE_COMMITS, f"examples/nvnmd/data/GeTe/{place}", place)
        for place in (f"{system}/{name}.raw" for name in _ARRAYS)
    )


def _read_water(data_dir: Path, member: str) -> Sequence[Frame]:
    copy = data_dir / "water_deepmd" / _WATER_COPIES.get(member, "no copy")
    if copy.is_file():
        frames = read_frames(copy, keys=Keys(species="z", group="source"), units=_UNITS)
        return _numbered([replace(frame, group=str(frame.group).partition("/")[0]) for frame in frames])
    systems = _WATER_MEMBERS[member]
    found = [
        frame
        for system in systems
        for frame in _read_system(data_dir / "water_deepmd" / system, _water_files(system), {"O": 64, "H": 128})
    ]
    return check_count(_numbered(found), 80 * sum(_WATER_SETS[system] for system in systems), f"set:water_dft/{member}")


def _read_gete(data_dir: Path, member: str) -> Sequence[Frame]:
    copy = data_dir / "gete" / "gete_dev.npz"
    if copy.is_file() and not member:  # a part of the structures, without their places in the set
        return read_frames(copy, keys=Keys(species="z", group="system"), units=_UNITS)
    found = [
        frame
        for system in _GETE_SYSTEMS
        for frame in _read_system(data_dir / "gete" / system, _gete_files(system), {"Ge": 32, "Te": 32})
    ]
    return check_count(_numbered(found), _GETE_STRUCTURES, "set:gete")


def _read_system(folder: Path, files: Sequence[RemoteFile], atoms: Mapping[str, int]) -> Sequence[Frame]:
    """Fetch one system and read it; what is what atom is the same in all of them."""
    root = folder.parents[1]
    for file in files:
        fetch(file, root)
    kinds = [str(kind) for kind, number in enumerate(atoms.values()) for _ in range(number)]
    for name, lines in {"type.raw": kinds, "type_map.raw": list(atoms)}.items():
        if not (folder / name).exists():
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_frames(folder, format="deepmd", units=_UNITS)


def _numbered(frames: Sequence[Frame]) -> list[Frame]:
    """Name each frame after its system and its place in it: ``data_1/159``."""
    seen: Counter[str | None] = Counter()
    named = []
    for frame in frames:
        named.append(replace(frame, id=f"{frame.group}/{seen[frame.group]}"))
        seen[frame.group] += 1
    return named


WATER = DataSet(
    name="water_dft",
    description="liquid water, 64 molecules in a periodic box of 12.44 Å (commonly given as PBE0+TS)",
    structures="320 for training, 80 for validation, of 192 atoms",
    units={"energy": "eV", "forces": "eV/Å"},
    licence=_LICENCE,
    citation="Zhang, Han, Wang, Car, E, Phys. Rev. Lett. 120, 143001 (2018), doi:10.1103/PhysRevLett.120.143001",
    members={
        member: tuple(file for system in systems for file in _water_files(system))
        for member, systems in _WATER_MEMBERS.items()
    },
    read=_read_water,
    notes="energies are float32 near -29,944 eV: exact to 2 meV per structure; no stress",
)
GETE = DataSet(
    name="gete",
    description="GeTe, 64 atoms in periodic boxes of 11.7 to 12.4 Å: solid, liquid, amorphous",
    structures="5,025 of 35 systems",
    units={"energy": "eV", "forces": "eV/Å"},
    licence=_LICENCE,
    citation="Mo et al., npj Comput. Mater. 8, 107 (2022), doi:10.1038/s41524-022-00773-z",
    members={"": tuple(file for system in _GETE_SYSTEMS for file in _gete_files(system))},
    read=_read_gete,
    notes="the group of a structure is its system: hold back whole systems",
)
