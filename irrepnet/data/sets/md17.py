"""MD17: trajectories of eight molecules at 500 K, PBE+vdW-TS, as first published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from irrepnet.data.columns import cut_columns
from irrepnet.data.download import RemoteFile, fetch
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.sets.data_set import DataSet, check_count, load_arrays
from irrepnet.data.units import Keys, Units

__all__ = ["SET"]

_KEYS = Keys(species="z", pos="R", energy="E", forces="F")
_UNITS = Units(energy="kcal/mol", length="angstrom")
# The name of the file, and how many structures it has: no checksums are published.
_MOLECULES = {
    "aspirin": ("md17_aspirin", 211_762),
    "benzene": ("md17_benzene2017", 627_983),
    "ethanol": ("md17_ethanol", 555_092),
    "malonaldehyde": ("md17_malonaldehyde", 993_237),
    "naphthalene": ("md17_naphthalene", 326_250),
    "salicylic": ("md17_salicylic", 320_231),
    "toluene": ("md17_toluene", 442_790),
    "uracil": ("md17_uracil", 133_770),
}


def _file(molecule: str) -> RemoteFile:
    name = f"{_MOLECULES[molecule][0]}.npz"
    addresses = (
        f"https://sgdml.org/secure_proxy.php?file=data/npz/{name}",
        f"http://www.quantum-machine.org/gdml/data/npz/{name}",
    )
    return RemoteFile(f"md17/{name}", addresses)


def _read(data_dir: Path, member: str) -> Sequence[Frame]:
    file = fetch(_file(member), data_dir)
    arrays = load_arrays(file)
    wanted = {name: arrays[name] for name in (_KEYS.species, _KEYS.pos, _KEYS.energy, _KEYS.forces) if name in arrays}
    frames = []
    for place, raw in enumerate(cut_columns(wanted, _KEYS, file.name)):
        named = {**raw, "id": str(place), "group": member}
        frames.append(frame_from_raw(named, source=f"{file.name} frame {place}", keys=_KEYS, units=_UNITS))
    return check_count(frames, _MOLECULES[member][1], f"set:md17/{member}")


SET = DataSet(
    name="md17",
    description="trajectories of eight small molecules at 500 K, PBE+vdW-TS",
    structures="133,770 (uracil) to 993,237 (malonaldehyde) of each molecule",
    units={"energy": "eV", "forces": "eV/Å"},
    licence="not stated",
    citation="Chmiela et al., Sci. Adv. 3, e1603015 (2017), doi:10.1126/sciadv.1603015",
    members={molecule: (_file(molecule),) for molecule in _MOLECULES},
    read=_read,
    notes="rmd17 has the same structures without numerical noise and with official splits; ids are places in the file",
)
