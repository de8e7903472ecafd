"""QM9: 133,885 molecules of H, C, N, O, F in their minima, with 15 properties by B3LYP/6-31G(2df,p).

The published files measure energies in Hartree; here they are in eV. ``u0``, ``u298``, ``h298`` and ``g298`` are
*total*, ``u0_atom`` and so on are less the same quantity of the isolated atoms (negative: bound): both are there, under
names of their own, so that none is taken for the other. ``u0`` includes the zero-point energy and is no point of a
potential energy surface, therefore ``Frame.energy`` is None.

The 3,054 molecules that failed the publishers' consistency check are left out, except in ``set:qm9/all``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.archive import read_members
from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.columns import cut_columns
from irrepnet.data.download import Checksum, RemoteFile, fetch
from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.sets.data_set import DataSet, load_arrays
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["ATOM_REFERENCES", "SET", "parse_molecule"]

Arrays = dict[str, NDArray[Any]]

_NUM_MOLECULES, _NUM_UNCHARACTERISED = 133_885, 3_054
# Columns of the second line of a file and the units that they are published in.
_PUBLISHED = {
    "A": "GHz", "B": "GHz", "C": "GHz", "mu": "D", "alpha": "a0^3", "homo": "Ha", "lumo": "Ha", "gap": "Ha",
    "r2": "a0^2", "zpve": "Ha", "u0": "Ha", "u298": "Ha", "h298": "Ha", "g298": "Ha", "cv": "cal/mol/K",
}  # fmt: skip
#: Energies of isolated atoms, Hartree, by atomic number: atomref.txt of the set,
#: https://doi.org/10.6084/m9.figshare.1057643.
ATOM_REFERENCES = {
    "u0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "u298": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "h298": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "g298": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
}
_ORBITALS = ("homo", "lumo", "gap")
# Sizes and MD5 as figshare publishes them, https://doi.org/10.6084/m9.figshare.c.978904.
_ARCHIVE = RemoteFile(
    "qm9/dsgdb9nsd.xyz.tar.bz2",
    ("https://ndownloader.figshare.com/files/3195389", "https://springernature.figshare.com/ndownloader/files/3195389"),
    86_144_227,
    Checksum("md5", "ad1ebd51ee7f5b3a6e32e974e5d54012"),
)
_UNCHARACTERISED = RemoteFile(
    "qm9/uncharacterized.txt",
    ("https://ndownloader.figshare.com/files/3195404", "https://springernature.figshare.com/ndownloader/files/3195404"),
    486_752,
    Checksum("md5", "a361887bacb427b8a0ce7903d92a53b4"),
)
_UNPACKED = "dsgdb9nsd.npz"  # what was parsed once, in the published units
_COPIES = {"": ("qm9_full15_dev.npz",), "orbitals": ("qm9_full15_dev.npz", "qm9_homo_lumo_gap_ext_dev.npz")}


def parse_molecule(text: str, label: str) -> tuple[int, list[float], NDArray[np.int64], NDArray[np.float64]]:
    """Return what one file of the set holds, in the units in which it is published.

    Line 1 is the number of atoms; line 2 ``gdb``, the molecule's number and 15 properties; then each atom's symbol,
    position in Å and Mulliken charge; vibrations, SMILES and InChI follow. Exponents may be written ``*^``.

    Args:
        text: The file.
        label: Its name, for messages.

    Returns:
        The molecule's number, its 15 properties, atomic numbers ``[N]``, positions and charges ``[N, 4]``, Å and e.

    Raises:
        DataError: If it is not such a file.

    Example:
        >>> atom = "H\\t 0.\\t 0.\\t 3.7*^-1\\t 0.\\t\\n"
        >>> number, properties, species, rows = parse_molecule(f"1\\ngdb 7\\t{15 * '1. '}\\n{atom}", "7.xyz")
        >>> number, len(properties), species.tolist(), rows.tolist()
        (7, 15, [1], [[0.0, 0.0, 0.37, 0.0]])
    """
    lines = text.replace("*^", "e").splitlines()
    try:
        size = int(lines[0])
        name, number, *values = lines[1].split()
        atoms = [line.split() for line in lines[2 : 2 + size]]
        rows = np.array([[float(value) for value in atom[1:]] for atom in atoms])
        species = np.array([atomic_number(atom[0]) for atom in atoms])
        if name != "gdb" or len(values) != len(_PUBLISHED) or rows.shape != (size, 4):
            raise ValueError(f"{len(values)} properties of {name!r}, atoms of shape {list(rows.shape)}")
        properties = [float(value) for value in values]
        if not np.isfinite(properties).all() or not np.isfinite(rows).all():
            raise ValueError("numbers that are not finite")
        return int(number), properties, species, rows
    except (ValueError, IndexError) as error:
        raise DataError(f"{label}: needed a molecule in the format of QM9; found it unreadable ({error})") from error


def _read(data_dir: Path, member: str) -> Sequence[Frame]:
    folder = data_dir / "qm9"
    copies = [folder / name for name in _COPIES.get(member, ()) if (folder / name).is_file()]
    if copies and not (data_dir / _ARCHIVE.path).exists():
        names = _ORBITALS if member == "orbitals" else tuple(_PUBLISHED)
        return [frame for copy in copies for frame in _frames(load_arrays(copy), copy.name, names)]
    arrays = _published(data_dir)
    if member != "all":
        numbers = _split(_characterised(data_dir), member)
        arrays = _select(arrays, np.isin(arrays["gdb_id"], numbers))
    return _frames(arrays, "qm9", _ORBITALS if member == "orbitals" else tuple(_PUBLISHED))


def _published(data_dir: Path) -> Arrays:
    """Return all molecules as published; what was parsed is kept beside the archive."""
    archive = fetch(_ARCHIVE, data_dir)
    unpacked = archive.with_name(_UNPACKED)
    checksum = str(_ARCHIVE.checksum)
    if unpacked.is_file():
        arrays = load_arrays(unpacked)
        if arrays.get("archive") == checksum:
            return arrays
    arrays = {**_parse_archive(archive), "archive": np.array(checksum)}
    # A folder that cannot be written costs a minute the next time, and nothing else.
    with contextlib.suppress(OSError), atomic_file(unpacked) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    return arrays


def _parse_archive(archive: Path) -> Arrays:
    members = read_members(archive, lambda name: name.endswith(".xyz"), most_of_member=2**20)
    molecules = [
        parse_molecule(content.decode(errors="replace"), f"{archive.name} {name}") for name, content in members
    ]
    numbers = np.array([number for number, *_ in molecules])
    order = np.argsort(numbers)
    if not np.array_equal(numbers[order], np.arange(1, _NUM_MOLECULES + 1)):
        raise DataError(f"{archive}: needed the molecules 1 to {_NUM_MOLECULES}; found {len(molecules)}, others")
    molecules = [molecules[index] for index in order]
    rows = np.concatenate([row for *_, row in molecules])
    return {
        "gdb_id": numbers[order],
        "props": np.array([values for _, values, _, _ in molecules]),
        "prop_names": np.array(list(_PUBLISHED)),
        "prop_units": np.array(list(_PUBLISHED.values())),
        "z": np.concatenate([species for _, _, species, _ in molecules]).astype(np.uint8),
        "pos": rows[:, :3],
        "mulliken": rows[:, 3],
        "ptr": np.cumsum([0, *(len(species) for _, _, species, _ in molecules)]),
    }


def _characterised(data_dir: Path) -> NDArray[np.int64]:
    """Return the numbers of the molecules that passed the publishers' check, in order."""
    file = fetch(_UNCHARACTERISED, data_dir)
    text = file.read_text(encoding="utf-8", errors="replace")
    excluded = {int(number) for number in re.findall(r"^\s*(\d+)\s", text, re.MULTILINE)}
    if len(excluded) != _NUM_UNCHARACTERISED:
        raise DataError(f"{file}: needed {_NUM_UNCHARACTERISED} numbers of molecules; found {len(excluded)}")
    return np.setdiff1d(np.arange(1, _NUM_MOLECULES + 1), list(excluded))


def _split(numbers: NDArray[np.int64], member: str) -> NDArray[np.int64]:
    """Return the molecules of a part: 100,000 for training, a tenth of all for test, the rest for validation.

    Reference: Anderson et al. 2019, arXiv:1906.04015, whose permutation LieConv, EGNN and others share.
    """
    if member not in ("train", "valid", "test"):
        return numbers
    num_test = len(numbers) // 10
    order = np.random.RandomState(0).permutation(len(numbers))  # numpy keeps this stream as it is
    train, valid, test = np.split(order, [100_000, len(numbers) - num_test])
    return numbers[{"train": train, "valid": valid, "test": test}[member]]


def _select(arrays: Arrays, chosen: NDArray[np.bool_]) -> Arrays:
    """Return some of the molecules."""
    sizes = np.diff(arrays["ptr"])
    of_atoms = np.repeat(chosen, sizes)
    taken = dict(arrays)
    taken |= {name: arrays[name][of_atoms] for name in ("z", "pos", "mulliken")}
    taken |= {name: arrays[name][chosen] for name in ("gdb_id", "props")}
    return {**taken, "ptr": np.cumsum([0, *sizes[chosen]])}


def _frames(arrays: Arrays, label: str, names: Sequence[str]) -> list[Frame]:
    """Return frames with the named properties of arrays in their published units."""
    held = [str(name) for name in arrays["prop_names"]]
    columns = {}
    for name in names:
        place = held.index(name)
        unit = str(arrays["prop_units"][place])
        factor = Units(energy=unit).to_ev if _PUBLISHED[name] == "Ha" else 1.0
        columns[name] = arrays["props"][:, place] * factor
    for name in ATOM_REFERENCES.keys() & columns.keys():
        columns[f"{name}_atom"] = columns[name] - _of_atoms(arrays, name)
    charges = {"mulliken": "mulliken"} if "mulliken" in arrays else {}
    keys = Keys(species="z", id="gdb_id", properties={name: name for name in columns}, atom_properties=charges)
    rows = cut_columns({**arrays, **columns}, keys, label)
    return [
        frame_from_raw(row, source=f"{label} gdb {row['id']}", keys=keys, units=Units(), available=arrays)
        for row in rows
    ]


def _of_atoms(arrays: Arrays, name: str) -> NDArray[np.float64]:
    """Return the sum of a molecule's atoms, each by itself, shape [F], eV."""
    table = np.full(max(ATOM_REFERENCES[name]) + 1, np.nan)
    for number, energy in ATOM_REFERENCES[name].items():
        table[number] = energy * Units(energy="Hartree").to_ev
    return np.add.reduceat(table[arrays["z"]], arrays["ptr"][:-1])


SET = DataSet(
    name="qm9",
    description="small organic molecules of H, C, N, O, F in their minima, B3LYP/6-31G(2df,p)",
    structures="130,831 molecules (133,885 with those that failed the publishers' check: qm9/all)",
    units={
        **{name: "eV" if unit == "Ha" else unit for name, unit in _PUBLISHED.items()},
        **{f"{name}_atom": "eV" for name in ATOM_REFERENCES},
        "mulliken": "e",
    },
    licence="CC0",
    citation="Ramakrishnan, Dral, Rupp, von Lilienfeld, Sci. Data 1, 140022 (2014), doi:10.1038/sdata.2014.22",
    members={
        **{name: (_ARCHIVE, _UNCHARACTERISED) for name in ("", "train", "valid", "test", "orbitals")},
        "all": (_ARCHIVE,),
    },
    read=_read,
    notes="u0, u298, h298, g298 are total, *_atom less the isolated atoms; train, valid and test are the 100,000, "
    "17,748 and 13,083 molecules of Cormorant, LieConv and EGNN; ids are numbers in GDB-9",
)
