"""Write frames to numpy's npz, as :mod:`irrepnet.data.npz` reads them: stacked where sizes are equal, else ragged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys
from irrepnet.errors import DataError

__all__ = ["write_npz"]

_LABELS = ("energy", "forces", "stress")
_OF_ATOMS = ("pos", "forces")
_TAKEN = {value for value in Keys().model_dump().values() if isinstance(value, str)}


def write_npz(frames: Iterable[Frame], path: Path) -> int:
    """Write frames to an npz file, in eV and Å; see :func:`~irrepnet.data.write_frames`.

    All frames are held in memory. Numbers come back bit for bit.

    Args:
        frames: The frames.
        path: The file to write; not renamed, so its end need not be ``.npz``.

    Returns:
        The number of frames.

    Raises:
        DataError: If there are no frames, some have a label or group that others lack, which npz has no place for, or a
            property has different shapes or a name that is taken; if an id or group ends in a zero byte, which numpy
            takes away, or a frame without an id would get that of another.

    Example:
        >>> import tempfile
        >>> from irrepnet.data.formats import read_frames
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "h.npz")
        ...     number = write_npz([Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6)], file)
        ...     number, read_frames(file)[0].energy
        (1, -13.6)
    """
    kept = list(frames)
    if not kept:
        raise DataError("npz: needed at least one frame to write; found none")
    sizes = [len(frame) for frame in kept]
    stacked = len(set(sizes)) == 1
    # Rows of atoms of all frames, one below the other; frames of equal size get an axis of their own.
    joined: Callable[[Sequence[Any]], NDArray[Any]] = np.stack if stacked else np.concatenate
    arrays: dict[str, NDArray[Any]] = {"species": joined([frame.species for frame in kept])}
    if not stacked:
        arrays["ptr"] = np.cumsum([0, *sizes])
    if any(frame.cell is not None for frame in kept):
        arrays["cell"] = np.stack([np.zeros((3, 3)) if frame.cell is None else frame.cell for frame in kept])
    arrays["pbc"] = np.stack([frame.pbc for frame in kept])
    for name in ("pos", *_LABELS):
        values = _of_all(kept, name)
        if values is not None:
            arrays[name] = joined(values) if name in _OF_ATOMS else np.stack(values)
    arrays |= _texts(kept) | _properties(kept, joined)
    with path.open("wb") as stream:
        np.savez(stream, energy_unit="eV", length_unit="angstrom", **arrays)  # type: ignore[arg-type]
    return len(kept)


def _of_all(frames: Sequence[Frame], name: str) -> list[Any] | None:
    """Return a label of every frame, None if no frame has it."""
    values = [getattr(frame, name) for frame in frames]
    missing = [place for place, value in enumerate(values) if value is None]
    if len(missing) == len(values):
        return None
    if missing:
        raise DataError(
            f"{frames[missing[0]].source}: npz files hold {name} of all frames or of none; found no {name} here; write "
            ".h5 or .extxyz"
        )
    return values


def _texts(frames: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    texts = {}
    groups = _of_all(frames, "group")
    if groups is not None:
        texts["group"] = groups
    given = {frame.id for frame in frames if frame.id is not None}
    if given:  # a frame without an id is called by its place
        for place, frame in enumerate(frames):
            if frame.id is None and str(place) in given:
                raise DataError(
                    f"{frame.source}: a frame without an id is called by its place, {place}; found another frame of "
                    "that id; give ids to all frames"
                )
        texts["id"] = [str(place) if frame.id is None else frame.id for place, frame in enumerate(frames)]
    for name, values in texts.items():
        for frame, text in zip(frames, values, strict=True):
            if text.endswith("\0"):
                raise DataError(f"{frame.source}: {name} needs a text without a zero at its end; found {text!r}")
    return {name: np.array(values) for name, values in texts.items()}


def _properties(
    frames: Sequence[Frame], joined: Callable[[Sequence[Any]], NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """Return properties by name; NaN where a frame lacks one."""
    found: dict[str, NDArray[np.float64]] = {}
    for kind in ("properties", "atom_properties"):
        of_atoms = kind == "atom_properties"
        for name in dict.fromkeys(name for frame in frames for name in getattr(frame, kind)):
            _refuse_taken(name, found)
            rows = [getattr(frame, kind).get(name) for frame in frames]
            like = next(row for row in rows if row is not None)
            shape = like.shape[1:] if of_atoms else like.shape
            for place, frame in enumerate(frames):
                wanted = (len(frame), *shape) if of_atoms else shape
                rows[place] = np.full(wanted, np.nan) if rows[place] is None else rows[place]
                if rows[place].shape != wanted:
                    raise DataError(
                        f"{frame.source}: property {name!r} needs shape {list(wanted)}, as in the frames before; found "
                        f"{list(rows[place].shape)}"
                    )
            found[name] = joined(rows) if of_atoms else np.stack(rows)
    return found


def _refuse_taken(name: str, found: dict[str, NDArray[np.float64]]) -> None:
    if name in _TAKEN or name in found or name == "file" or re.fullmatch(r".*_units?", name, re.IGNORECASE):
        raise DataError(f"a property needs a name that npz files have no other use for; found {name!r}; rename it")
