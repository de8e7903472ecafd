"""mlearn: Si and Ge (diamond), Li and Mo (bcc), PBE: bulk, strained, vacancies, surfaces, molecular dynamics.

Stresses are published as six numbers in kbar, positive under compression, in an order that is not stated and not the
same throughout. Sheared cells (the stress opposes the shear), pair potentials fitted to the forces (their virials
correlate with the stress by 0.9 in one order and by 0.1 in the other) and the symmetry of surfaces tell which: the last
three numbers are xy, yz, xz for Li and for the strained cells of Si and Ge, and xy, xz, yz for all others. Cu and Ni,
which were not verified so, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.sets.data_set import DataSet, check_count, git_file, with_ids
from irrepnet.data.sets.pymatgen_structure import parse_structure
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError

__all__ = ["SET"]

_COMMITS = ("10c427a5480c6281c15c64efaf869b03be04818f", "a04d3b6ecaac47c27aa8f7e452c16a5c9a2a8cff")
_YZ_XZ = Units(energy="eV", length="angstrom", stress="-kbar", voigt="xx yy zz xy yz xz")
_XZ_YZ = Units(energy="eV", length="angstrom", stress="-kbar", voigt="xx yy zz xy xz yz")
_COUNTS = {
    "Si/train": 214, "Si/test": 25, "Ge/train": 228, "Ge/test": 25,
    "Li/train": 241, "Li/test": 29, "Mo/train": 194, "Mo/test": 23,
}  # fmt: skip
_FILES = {"train": "training.json", "test": "test.json"}


def _file(member: str) -> RemoteFile:
    element, part = member.split("/")
    path = f"{element}/{_FILES[part]}"
    return git_file("mlearn", "materialsvirtuallab/mlearn", _COMMITS, f"data/{path}", path)


def _units(element: str, group: str | None) -> Units:
    return _YZ_XZ if element == "Li" or (element in ("Si", "Ge") and group == "Elastic") else _XZ_YZ


def _read(data_dir: Path, member: str) -> Sequence[Frame]:
    element = member.partition("/")[0]
    copy = data_dir / "mlearn" / f"{member.replace('/', '_')}.npz"
    if copy.is_file():
        keys = Keys(species="z", stress="virial_stress_voigt")
        either, other = (read_frames(copy, keys=keys, units=units) for units in (_YZ_XZ, _XZ_YZ))
        pairs = zip(either, other, strict=True)
        frames = [one if _units(element, one.group) is _YZ_XZ else two for one, two in pairs]
    else:
        file = fetch(_file(member), data_dir)
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            frames = [_frame(entry, f"{file} {place}", element) for place, entry in enumerate(entries)]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{file}: needed structures with outputs; found it unreadable ({error!r})") from error
    check_count(frames, _COUNTS[member], f"set:mlearn/{member}")
    return with_ids(frames, [f"{member}/{place}" for place in range(len(frames))])


def _frame(entry: Mapping[str, Any], source: str, element: str) -> Frame:
    outputs, units = entry["outputs"], _units(element, entry["group"])
    raw = parse_structure(entry["structure"]) | {
        "energy": outputs["energy"],
        "forces": outputs["forces"],
        "stress": outputs["virial_stress"],
        "group": entry["group"],
    }
    return frame_from_raw(raw, source=source, keys=Keys(stress="virial_stress"), units=units, available=outputs)


SET = DataSet(
    name="mlearn",
    description="Si, Ge, Li, Mo: bulk, strained, vacancies, surfaces, molecular dynamics, PBE",
    structures="877 for training (Si 214, Ge 228, Li 241, Mo 194), 102 for test",
    units={"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"},
    licence="BSD-3-Clause",
    citation="Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi:10.1021/acs.jpca.9b08723",
    members={member: (_file(member),) for member in _COUNTS},
    read=_read,
    notes="the six published stresses are in two different orders, told apart here; groups are kinds of structures",
)
