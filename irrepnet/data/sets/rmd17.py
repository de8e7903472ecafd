"""rMD17: ten molecules of MD17, 100,000 structures each, computed again by PBE/def2-SVP without numerical noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from irrepnet.data.columns import cut_columns
from irrepnet.data.download import Checksum, RemoteFile, fetch
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.sets.data_set import DataSet, load_arrays
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["SET"]

_UNITS = Units(energy="kcal/mol", length="angstrom")
# As published, and as in re-packed copies of single splits.
_PUBLISHED = Keys(species="nuclear_charges", pos="coords", energy="energies", forces="forces", id="old_indices")
_COPY = Keys(species="z", pos="pos", energy="energy", forces="forces", id="old_index")
# Figshare's number, size and MD5 of rmd17_<molecule>.npz, https://doi.org/10.6084/m9.figshare.12672038.
_MOLECULES = {
    "aspirin": (62265757, 153_601_803, "17fd6fb69066888613f7e16b358a7553"),
    "azobenzene": (62265754, 175_180_782, "be79df918468eb3579aa73a0becf7390"),
    "benzene": (62265739, 88_801_794, "18c9242bc90fbf28215f6dd81e650f16"),
    "ethanol": (62265733, 67_201_791, "eb837fb8deb27d4e0d52f71a03aff776"),
    "malonaldehyde": (62265736, 67_201_791, "cdc1d70c0c34062ddde6e5071eb6fe21"),
    "naphthalene": (62265751, 132_001_800, "0efba19c9907e3852318b1e6008b3b9e"),
    "paracetamol": (62265760, 146_401_802, "ba10784f7b67635427085f6d7ec2dd97"),
    "salicylic": (62265748, 117_601_798, "900fedf242da438400fa4293348d7dd1"),
    "toluene": (62265742, 110_401_797, "0f2913d51f8149c90ab28d697a076f64"),
    "uracil": (62265745, 88_801_794, "992a4479c28a07e0cce6da964805be31"),
}
# The same of index_<split>.csv, 1000 rows of the arrays each.
_SPLITS = {
    "train_01": (62265793, "22264dcf2e42d6133362411abbbe4ce8"),
    "train_02": (62265772, "28dbc9a3d5e7c47e653b1cc01809df35"),
    "train_03": (62265775, "8de68b1b288c790e633c9d05ff5f04dd"),
    "train_04": (62265766, "3764257abf8121a0905f364468ba83da"),
    "train_05": (62265778, "4670362bd554c9c22581c936432236b3"),
    "test_01": (62265781, "124c8a0849e84e244d6ce8424e1c05cf"),
    "test_02": (62265769, "9dc098724c1680daca038b785ee4f602"),
    "test_03": (62265787, "fd96f4623291dc23dd80b24dd634ca0b"),
    "test_04": (62265790, "f0acce759fa4fe46b3a0b2a450e7e260"),
    "test_05": (62265784, "4892da12e88a3c30c9a15f1f95e6eaac"),
}
_FIGSHARE = "https://ndownloader.figshare.com/files"


def _molecule_file(molecule: str) -> RemoteFile:
    number, size, md5 = _MOLECULES[molecule]
    return RemoteFile(f"rmd17/rmd17_{molecule}.npz", (f"{_FIGSHARE}/{number}",), size, Checksum("md5", md5))


def _split_file(split: str) -> RemoteFile:
    number, md5 = _SPLITS[split]
    return RemoteFile(f"rmd17/index_{split}.csv", (f"{_FIGSHARE}/{number}",), None, Checksum("md5", md5))


def _members() -> dict[str, tuple[RemoteFile, ...]]:
    members: dict[str, tuple[RemoteFile, ...]] = {molecule: (_molecule_file(molecule),) for molecule in _MOLECULES}
    for molecule in _MOLECULES:
        members |= {f"{molecule}/{split}": (_molecule_file(molecule), _split_file(split)) for split in _SPLITS}
    return members


def _read(data_dir: Path, member: str) -> Sequence[Frame]:
    molecule, _, split = member.partition("/")
    copy = data_dir / "rmd17" / f"rmd17_{molecule}_{split}.npz"
    if split and copy.is_file():
        return _frames(copy, molecule, None)
    file = fetch(_molecule_file(molecule), data_dir)
    return _frames(file, molecule, fetch(_split_file(split), data_dir) if split else None)


def _frames(file: Path, molecule: str, index: Path | None) -> list[Frame]:
    arrays = load_arrays(file)
    keys = _PUBLISHED if _PUBLISHED.pos in arrays else _COPY
    wanted = {
        name: arrays[name] for name in (keys.species, keys.pos, keys.energy, keys.forces, keys.id) if name in arrays
    }
    places: Sequence[int] = range(len(wanted[keys.pos]))
    if index is not None:
        rows = np.loadtxt(index, dtype=np.int64, ndmin=1)
        if rows.min() < 0 or rows.max() >= len(places):
            raise DataError(f"{index}: needed rows 0 to {len(places) - 1} of {file.name}; found {rows.max()}")
        places = rows.tolist()
        wanted = {name: array if name == keys.species else array[rows] for name, array in wanted.items()}
    raws = cut_columns(wanted, keys, file.name)
    return [
        frame_from_raw({**raw, "group": molecule}, source=f"{file.name} frame {place}", keys=keys, units=_UNITS)
        for place, raw in zip(places, raws, strict=True)
    ]


SET = DataSet(
    name="rmd17",
    description="ten small molecules, structures of MD17, PBE/def2-SVP without numerical noise",
    structures="100,000 of each molecule (azobenzene 99,988); 1,000 in each official split",
    units={"energy": "eV", "forces": "eV/Å"},
    licence="CC0",
    citation="Christensen, von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020), doi:10.1088/2632-2153/abba6f",
    members=_members(),
    read=_read,
    notes="rmd17/ethanol/train_01 is an official split; the authors warn against training on more than 1,000 "
    "structures, which are neighbours in time; ids are indices in MD17",
)
