"""Two flexible molecules sampled at several temperatures: 3BPA (``threebpa``) and acetylacetone (``acac``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.elements import atomic_number
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.sets.data_set import DataSet, check_count, git_file, with_ids
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["ACAC", "THREEBPA"]

_COMMITS = ("29e6d467317e4b5967b7ea5cbee54de953fa0d45", "4a5ea06c3f514f24164428823ba1f5e2d2233b58")
_UNITS = Units(energy="eV", length="angstrom")
_Files = dict[str, tuple[str, int | None]]
# Member -> its file, and how many structures it has; None: not stated where the files are published.
_THREEBPA: _Files = {
    "train_300K": ("train_300K.xyz", 500),
    "train_mixedT": ("train_mixedT.xyz", 500),
    "test_300K": ("test_300K.xyz", None),
    "test_600K": ("test_600K.xyz", None),
    "test_1200K": ("test_1200K.xyz", None),
    "test_dih": ("test_dih.xyz", None),
    "isolated_atoms": ("iso_atoms.xyz", 4),
}
_ACAC: _Files = {
    "train_300K": ("train_300K.xyz", 500),
    "train_600K": ("train_600K.xyz", 500),
    "test_MD_300K": ("test_MD_300K.xyz", 650),
    "test_MD_600K": ("test_MD_600K.xyz", 650),
    "test_H_transfer": ("test_H_transfer.xyz", 15),
    "test_dihedral": ("test_dihedral.xyz", 45),
    "isolated_atoms": ("isolated_atoms.xyz", 3),
}


def _file(folder: str, directory: str, name: str) -> RemoteFile:
    return git_file(folder, "davkovacs/BOTNet-datasets", _COMMITS, f"{directory}/{name}")


def _read(
    data_dir: Path, member: str, *, folder: str, directory: str, files: dict[str, tuple[str, int | None]]
) -> Sequence[Frame]:
    copy = data_dir / folder / f"{member}.npz"
    copied_atoms = data_dir / folder / "isolated_atoms_eV.json"
    if copy.is_file():
        frames: Sequence[Frame] = read_frames(copy, keys=Keys(species="z"), units=_UNITS)
    elif member == "isolated_atoms" and copied_atoms.is_file():
        frames = _atoms(copied_atoms)
    else:
        name, count = files[member]
        frames = read_frames(fetch(_file(folder, directory, name), data_dir), units=_UNITS)
        if count is not None:
            check_count(frames, count, f"set:{folder}/{member}")
    # The published files put the molecule into a box of 50 Å that is no period.
    ids = [f"{member}/{place}" for place in range(len(frames))]
    return with_ids(frames, ids, group=member, cell=None)


def _atoms(file: Path) -> list[Frame]:
    """Read energies of isolated atoms, by symbol, eV."""
    try:
        energies = json.loads(file.read_text(encoding="utf-8"))
        numbers = [np.array([atomic_number(symbol)]) for symbol in energies]
        return [
            Frame(species=number, pos=np.zeros((1, 3)), energy=energy, source=f"{file.name} {symbol}")
            for number, (symbol, energy) in zip(numbers, energies.items(), strict=True)
        ]
    except (ValueError, AttributeError) as error:
        raise DataError(f"{file}: needed energies of atoms by symbol; found it unreadable ({error})") from error


def _set(name: str, directory: str, files: _Files, **facts: str) -> DataSet:
    return DataSet(
        name=name,
        units={"energy": "eV", "forces": "eV/Å"},
        licence="MIT",
        members={member: (_file(name, directory, file),) for member, (file, _) in files.items()},
        read=partial(_read, folder=name, directory=directory, files=files),
        **facts,
    )


THREEBPA = _set(
    "threebpa",
    "dataset_3BPA",
    _THREEBPA,
    description="3-(benzyloxy)pyridin-2-amine, 27 atoms, flexible, sampled at 300, 600 and 1200 K",
    structures="500 for training at 300 K, 500 mixed; tests by temperature; isolated atoms",
    citation="Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021), doi:10.1021/acs.jctc.1c00647",
    notes="isolated_atoms has one structure of one atom for each element",
)
ACAC = _set(
    "acac",
    "dataset_acac",
    _ACAC,
    description="acetylacetone, 15 atoms, sampled at 300 and 600 K, PBE+D3/def2-SVP",
    structures="500 for training at each temperature; tests of 650, 650, 15 and 45; isolated atoms",
    citation="Batatia et al., arXiv:2205.06643 (2022)",
    notes="test_H_transfer and test_dihedral have energies only; isolated_atoms one structure for each element",
)
