"""Tensors of crystals from MatTen: shieldings of 29Si (``si_nmr``) and elastic constants (``elasticity``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.sets.data_set import DataSet, check_count, git_file
from irrepnet.data.sets.pymatgen_structure import parse_structure
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["ELASTICITY", "SI_NMR"]

_REPOSITORY = "wengroup/matten"
_COMMIT = "f2c19c4a6412037c58034fd6e8084353f9d161c8"
_UNITS = Units(energy="eV", length="angstrom")
_NMR_FILE = git_file(
    "si_nmr_tensor", _REPOSITORY, (_COMMIT, "3a70d52858edbe1dda59f5432805d0116e7d947d"), "datasets/si_nmr_data.json"
)
_ELASTICITY_FILE = git_file(
    "elasticity_n100",
    _REPOSITORY,
    (_COMMIT, "2a4835506cc33de36c051990963fc3fb999f0fa0"),
    "datasets/example_crystal_elasticity_tensor_n100.json",
)


def _read_nmr(data_dir: Path, member: str) -> Sequence[Frame]:
    copy = data_dir / "si_nmr_tensor" / "si_nmr_dev.npz"
    if copy.is_file():
        keys = Keys(species="z", selected="selected", atom_properties={"nmr_tensor": "nmr_tensor"})
        return read_frames(copy, keys=keys, units=_UNITS)
    return check_count(_read_table(_NMR_FILE, data_dir, _shieldings), 421, "set:si_nmr")


def _read_elasticity(data_dir: Path, member: str) -> Sequence[Frame]:
    copy = data_dir / "elasticity_n100" / "elasticity_n100.npz"
    if copy.is_file():
        keys = Keys(species="z", properties={"elastic_tensor": "C_full_GPa"})
        return read_frames(copy, keys=keys, units=_UNITS)
    return check_count(_read_table(_ELASTICITY_FILE, data_dir, _constants), 100, "set:elasticity")


def _read_table(
    remote: RemoteFile, data_dir: Path, labels: Callable[[Mapping[str, Any], int], dict[str, Any]]
) -> list[Frame]:
    """Read a table by columns: name of the column -> number of the row -> value."""
    file = fetch(remote, data_dir)
    frames = []
    try:
        columns = json.loads(file.read_text(encoding="utf-8"))
        for number, structure in columns["structure"].items():
            row = {name: column[number] for name, column in columns.items()}
            raw = parse_structure(structure)
            raw |= {"id": number} | labels(row, len(raw["species"]))
            frames.append(frame_from_raw(raw, source=f"{file} {number}", keys=Keys(), units=_UNITS, available=columns))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"{file}: needed a table of structures and tensors; found it unreadable ({error!r})") from error
    return frames


def _shieldings(row: Mapping[str, Any], num_atoms: int) -> dict[str, Any]:
    """Return the tensors of the selected atoms, and NaN for the others."""
    tensors = np.full((num_atoms, 3, 3), np.nan)
    tensors[np.array(row["atom_selector"], dtype=bool)] = row["nmr_tensor"]
    return {"atom_properties": {"nmr_tensor": tensors}}


def _constants(row: Mapping[str, Any], num_atoms: int) -> dict[str, Any]:
    return {"properties": {"elastic_tensor": np.array(row["elastic_tensor_full"], dtype=float)}}


SI_NMR = DataSet(
    name="si_nmr",
    description="magnetic shielding of 29Si in crystals of silicon oxides",
    structures="421 crystals",
    units={"nmr_tensor": "ppm"},
    licence="not stated",
    citation="Venetos, Wen, Persson, J. Phys. Chem. A 127, 2388 (2023), doi:10.1021/acs.jpca.2c07530",
    members={"": (_NMR_FILE,)},
    read=_read_nmr,
    notes="a tensor for some atoms only (NaN for the others); not symmetric",
)
ELASTICITY = DataSet(
    name="elasticity",
    description="elastic constants of crystals, an example of 100",
    structures="100 crystals",
    units={"elastic_tensor": "GPa"},
    licence="not stated",
    citation="Wen, Horton, Munro, Huck, Persson, Digit. Discov. 3, 869 (2024), doi:10.1039/d3dd00233k",
    members={"": (_ELASTICITY_FILE,)},
    read=_read_elasticity,
    notes="too few to judge accuracy",
)
