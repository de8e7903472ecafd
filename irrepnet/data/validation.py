"""Look at frames before anything learns from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.energy_work import find_wrong_ratios
from irrepnet.data.frame import Frame
from irrepnet.data.graph import check_cell
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.data.oddity import Oddity
from irrepnet.data.outliers import find_outliers
from irrepnet.data.unit_magnitude import find_wrong_magnitudes
from irrepnet.errors import DataError, did_you_mean

__all__ = ["check_frames", "duplicated_frames", "find_oddities", "validate_frames"]

_LABELS = ("energy", "forces", "stress")
# H2, the shortest bond there is, has 0.74 Å; half of it is met by nothing but wrong units, columns or atoms.
_TOO_NEAR = 0.35  # Å
_TOO_FAR = 1e4  # Å: no structure of atoms is a micrometre wide, and counting cells of neighbours would overflow
_SAMPLE = 60  # frames that tell the units of all
_MAX_SHOWN = 5  # findings of one kind


def validate_frames(
    frames: Sequence[Frame],
    *,
    require: Collection[str] = ("energy", "forces"),
    known_species: Collection[int] | None = None,
) -> list[str]:
    """Check all frames; raise on what cannot be learned from, return what looks odd.

    Args:
        frames: Frames of one set.
        require: Which of ``energy``, ``forces``, ``stress`` and of the properties every frame must have.
        known_species: Atomic numbers that a model knows; None: all elements.

    Returns:
        Findings to show to the user, those of :func:`find_oddities`, of each kind the first five. Empty if there are
        none.

    Raises:
        DataError: If there are no frames, a required label is missing, a number is not finite, an element is unknown, a
            cell is singular, or two atoms are nearer than any bond. Names file, frame and atom.

    Example:
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], energy=-2056.3)
        >>> validate_frames([water, water], require=["energy"])
        ['frame and frame are the same structure']
    """
    check_frames(frames, require=require, known_species=known_species)
    sentences: dict[str, list[str]] = {}
    for oddity in find_oddities(frames):
        sentences.setdefault(oddity.kind, []).append(oddity.sentence)
    return [text for found in sentences.values() for text in _first(found)]


def check_frames(
    frames: Sequence[Frame],
    *,
    require: Collection[str] = ("energy", "forces"),
    known_species: Collection[int] | None = None,
) -> None:
    """Raise on frames that cannot be learned from or predicted: what :func:`validate_frames` does before it looks.

    Args:
        frames: Frames of one set.
        require: Which of ``energy``, ``forces``, ``stress`` and of the properties every frame must have.
        known_species: Atomic numbers that a model knows; None: all elements.

    Raises:
        DataError: If there are no frames, a required label is missing, a number is not finite, an element is unknown, a
            cell is singular, or two atoms are nearer than any bond. Names file, frame and atom.

    Example:
        >>> check_frames([Frame(species=[0], pos=[[0, 0, 0]], source="a.npz frame 0")], require=())
        Traceback (most recent call last):
        irrepnet.errors.DataError: a.npz frame 0: species needs atomic numbers 1 to 118; found 0 (no element) at atom 0
    """
    if not len(frames):
        raise DataError("needed at least one frame; found none")
    _check_require(frames, require)
    for frame in frames:
        _check_labels(frame, require, frames)
        _check_finite(frame)
        _check_species(frame, known_species)
        if frame.cell is not None:
            check_cell(torch.tensor(frame.cell), torch.tensor(frame.pbc), frame.source)
        _check_distances(frame)


def find_oddities(frames: Sequence[Frame]) -> list[Oddity]:
    """Return what looks odd in frames: wrong units and signs, outliers, duplicates, labels that are not everywhere.

    Nothing here is an error for sure; each finding says what was seen, what it looks like, and what to change.

    Args:
        frames: Frames of one set, sound enough for :func:`validate_frames`.

    Returns:
        Findings, those about single frames first.

    Example:
        >>> frames = [Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 1.4]], source=f"h2.npz frame {i}") for i in range(2)]
        >>> [oddity.kind for oddity in find_oddities(frames)]
        ['duplicate', 'length_unit']
    """
    same = [
        Oddity(
            "duplicate",
            frames[second].source,
            0.0,
            "Å",
            f"{frames[first].source} and {frames[second].source} are the same structure",
        )
        for first, second in duplicated_frames(frames)
    ]
    sample = [frames[index] for index in range(0, len(frames), max(1, len(frames) // _SAMPLE))]
    single = same + _missing_properties(frames) + find_outliers(frames)
    return single + find_wrong_magnitudes(sample) + find_wrong_ratios(frames)


def _first(sentences: list[str]) -> list[str]:
    more = len(sentences) - _MAX_SHOWN
    return [*sentences[:_MAX_SHOWN], f"and {more} more like the last"] if more > 0 else sentences


def _missing_properties(frames: Sequence[Frame]) -> list[Oddity]:
    """Return one finding for each property that some frames have and some have not."""
    counts: dict[str, int] = {}
    for frame in frames:
        for name in (*frame.properties, *frame.atom_properties):
            counts[name] = counts.get(name, 0) + 1
    source = f"{frames[0].source} to {frames[-1].source}" if len(frames) else ""
    return [
        Oddity("unknown_property", source, count, "", f"{source}: {name} is known in {count} of {len(frames)} frames")
        for name, count in counts.items()
        if count < len(frames)
    ]


def duplicated_frames(frames: Sequence[Frame], others: Sequence[Frame] | None = None) -> list[tuple[int, int]]:
    """Return index pairs of frames with the same atoms at the same places.

    Args:
        frames: Frames of one set.
        others: Frames of another set (validation against training); None: look inside ``frames``.

    Returns:
        Pairs ``(index in frames, index in others)``; inside one set ``(first, later)``.

    Example:
        >>> atom = Frame(species=[1], pos=[[0, 0, 0]])
        >>> duplicated_frames([atom], [Frame(species=[2], pos=[[0, 0, 0]]), atom])
        [(0, 1)]
    """
    first: dict[tuple[bytes, ...], int] = {}
    pairs = []
    if others is not None:
        for index, frame in enumerate(frames):
            first.setdefault(_fingerprint(frame), index)
        return [(first[mark], i) for i, mark in enumerate(map(_fingerprint, others)) if mark in first]
    for index, frame in enumerate(frames):
        earlier = first.setdefault(_fingerprint(frame), index)
        if earlier != index:
            pairs.append((earlier, index))
    return pairs


def _fingerprint(frame: Frame) -> tuple[bytes, ...]:
    cell = b"" if frame.cell is None else frame.cell.tobytes()
    return frame.species.tobytes(), frame.pos.tobytes(), cell, frame.pbc.tobytes()


def _check_require(frames: Sequence[Frame], require: Collection[str]) -> None:
    """Raise a DataError for a name that is neither a label nor a property of any frame."""
    unknown = [name for name in require if name not in _LABELS]
    if not unknown:
        return
    properties = sorted({name for frame in frames for name in (*frame.properties, *frame.atom_properties)})
    for name in unknown:
        if name not in properties:
            options = [*_LABELS, *properties]
            raise DataError(
                f"require needs {', '.join(options)}; found {name!r}.{did_you_mean(name, options)} "
                "Properties are read where keys.properties and keys.atom_properties name them"
            )


def _check_labels(frame: Frame, require: Collection[str], frames: Sequence[Frame]) -> None:
    for name in require:
        if _has(frame, name):
            continue
        near = did_you_mean(name, frame.available)
        without = sum(not _has(other, name) for other in frames)
        if without < len(frames) and not near:  # so the name is right
            raise DataError(
                f"{frame.source}: needed {name}; {without} of {len(frames)} frames have none, this is the first; leave "
                "them out, or do not ask for the label (in a training by its weight in the loss: 0)"
            )
        key = f"keys.{name}" if name in _LABELS else "keys.properties"
        listing = ", ".join(frame.available) or "no other names"
        raise DataError(f"{frame.source}: needed {name}; found {listing}; set {key} to its name in the file.{near}")


def _has(frame: Frame, name: str) -> bool:
    if name in _LABELS:
        return getattr(frame, name) is not None
    return name in frame.properties or not np.isnan(frame.atom_properties.get(name, np.nan)).all()


def _check_finite(frame: Frame) -> None:
    labels = {name: getattr(frame, name) for name in ("pos", *_LABELS)}  # a Frame has looked at its cell
    for name, value in {**labels, **frame.properties}.items():
        if value is None or np.isfinite(value).all():
            continue
        row = np.argwhere(~np.isfinite(np.atleast_1d(value)))[0][0]
        where = f" at atom {row}" if name in ("pos", "forces") else ""
        raise DataError(
            f"{frame.source}: {name} needs finite numbers; found {np.atleast_1d(value)[row].tolist()}{where}"
        )
    for name, value in frame.atom_properties.items():
        flat = value.reshape(len(frame), -1)
        bad = ~(np.isfinite(flat).all(axis=1) | np.isnan(flat).all(axis=1))
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"{frame.source}: {name} needs finite numbers, or NaN throughout where it is not known; found "
                f"{value[row].tolist()} at atom {row}"
            )


def _check_species(frame: Frame, known: Collection[int] | None) -> None:
    if not len(frame):
        raise DataError(f"{frame.source}: needed at least one atom; found none")
    options = range(1, len(SYMBOLS)) if known is None else known
    for atom, number in enumerate(frame.species.tolist()):
        if number not in options:
            name = SYMBOLS[number] if 0 < number < len(SYMBOLS) else "no element"
            listing = "1 to 118" if known is None else ", ".join(f"{n} ({SYMBOLS[n]})" for n in sorted(known))
            raise DataError(
                f"{frame.source}: species needs atomic numbers {listing}; found {number} ({name}) at atom {atom}"
            )


def _check_distances(frame: Frame) -> None:
    off = np.abs(frame.pos - np.median(frame.pos, axis=0)).max(axis=1)
    if off.max() > _TOO_FAR:
        # Of two atoms both are far from their middle; the one far from the origin is the odd one.
        atom = int(np.where(off > _TOO_FAR, np.abs(frame.pos).max(axis=1), -1.0).argmax())
        raise DataError(
            f"{frame.source}: atoms need to be within {_TOO_FAR:.0f} Å of each other; found atom {atom} at "
            f"{frame.pos[atom].tolist()}; look for a damaged number or another length unit"
        )
    if frame.cell is not None and frame.pbc.any():
        _check_heights(frame.cell[frame.pbc], frame.source)
    edge_index, _ = neighbor_list(frame.pos, frame.cell, frame.pbc, _TOO_NEAR)
    if edge_index.shape[1]:
        src, dst = edge_index[:, 0].tolist()
        pair = f"atom {src} and its image" if src == dst else f"atoms {src} and {dst}"
        raise DataError(
            f"{frame.source}: atoms need to be {_TOO_NEAR} Å apart; found {pair} nearer; look for another length unit "
            "(declare units.length), swapped columns or coincident atoms"
        )


def _check_heights(periods: NDArray[np.float64], source: str) -> None:
    """Raise a DataError for lattice planes that are too near each other, before all images between them are listed."""
    lengths = np.linalg.norm(periods, axis=1)
    if lengths.min() < _TOO_NEAR:
        raise DataError(
            f"{source}: atoms need to be {_TOO_NEAR} Å apart; found each atom and its image nearer, by a lattice "
            f"vector of {lengths.min():.3g} Å; look for another length unit (declare units.length) or swapped columns"
        )
    heights = 1 / np.linalg.norm(np.linalg.pinv(periods), axis=0)  # of a vector above the plane of the others
    if heights.min() < _TOO_NEAR:
        raise DataError(
            f"{source}: cell needs lattice planes {_TOO_NEAR} Å apart; found {heights.min():.3g} Å (lattice vectors of "
            f"{', '.join(f'{length:.4g}' for length in lengths)} Å); look for a damaged number, or take shorter "
            "lattice vectors of the same crystal"
        )
