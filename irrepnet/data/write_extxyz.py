"""Write frames to extended XYZ through ASE, so that ASE and other programs find energy, forces and stress."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.extxyz_text import comment_entries
from irrepnet.data.frame import Frame
from irrepnet.errors import DataError

__all__ = ["write_extxyz"]

_UNITS = {"energy_unit": "eV", "length_unit": "angstrom"}
# Columns, entries and labels that the format, ASE or irrepnet give a meaning.
_TAKEN = {
    "Lattice", "Properties", "pbc", "species", "symbols", "numbers", "pos", "positions", "Z", "move_mask", "uid",
    "energy", "forces", "stress", "virial", "group", "id", *_UNITS,
}  # fmt: skip
_TAKEN_COLUMNS = {*_TAKEN, "charge"}  # which ASE reads as "charges"


def write_extxyz(frames: Iterable[Frame], path: Path) -> int:
    """Write frames to an extended XYZ file, in eV and Å; see :func:`~irrepnet.data.write_frames`.

    Frames are written one after the other. Columns have eight decimals, as ASE writes them. Tensors of atoms become
    rows of numbers: the format has columns, but no axes. Properties that only some frames have are not known in the
    others when they are read.

    Args:
        frames: The frames.
        path: The file to write.

    Returns:
        The number of frames.

    Raises:
        DataError: If ase is not installed, a property has a name that is taken, an id or group cannot be written so
            that it comes back as it is, or a species is no element.

    Example:
        >>> import tempfile
        >>> from irrepnet.data.formats import read_frames
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "h.xyz")
        ...     number = write_extxyz([Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6)], file)
        ...     number, read_frames(file)[0].energy
        (1, -13.6)
    """
    try:
        from ase.io.extxyz import write_extxyz as write
    except ImportError as error:
        raise DataError(
            "writing extxyz needs ase; found it not installed; pip install 'irrepnet[md]', or write .npz"
        ) from error
    number = 0
    with path.open("w", encoding="utf-8") as stream:
        for frame in frames:
            write(stream, [_atoms(frame)], write_results=False)
            number += 1
    return number


def _atoms(frame: Frame) -> Any:
    """Return ASE's Atoms with all that the frame knows."""
    from ase import Atoms

    unknown = frame.species[(frame.species < 1) | (frame.species >= len(SYMBOLS))]
    if len(unknown):
        raise DataError(f"{frame.source}: extxyz needs atomic numbers 1 to {len(SYMBOLS) - 1}; found {unknown[0]}")
    atoms = Atoms(frame.species, frame.pos, cell=frame.cell, pbc=frame.pbc, info=dict(_UNITS))
    for name in ("energy", "stress"):
        if getattr(frame, name) is not None:
            atoms.info[name] = getattr(frame, name)
    if frame.forces is not None:
        atoms.arrays["forces"] = frame.forces
    for name in ("id", "group"):
        if getattr(frame, name) is not None:
            atoms.info[name] = _text(getattr(frame, name), f"{frame.source}: {name}")
    for name, value in frame.properties.items():
        _check_name(name, _TAKEN, frame.source)
        atoms.info[name] = value.tolist() if value.shape == (1,) else value  # a row of one would become a number
    for name, value in frame.atom_properties.items():
        _check_name(name, _TAKEN_COLUMNS, frame.source)
        atoms.arrays[name] = value.reshape(len(frame), -1) if value.ndim > 1 else value
    return atoms


def _check_name(name: str, taken: Collection[str], source: str) -> None:
    if name in taken or not name.isidentifier():
        raise DataError(
            f"{source}: a property needs a name of letters, digits and _ that extxyz has no other use for; found "
            f"{name!r}; rename it, or write .npz or .h5"
        )


def _text(text: str, what: str) -> str:
    """Return a text if it comes back as it is."""
    from ase.io.extxyz import key_val_dict_to_str

    line = key_val_dict_to_str({"id": text})
    try:
        found = comment_entries(line, what)
    except DataError:
        found = {}
    if len(line.splitlines()) == 1 and found == {"id": text} and not text.startswith("_JSON "):
        return text
    raise DataError(f"{what} needs a text without line breaks and backslashes; found {text!r}; write .npz or .h5")
