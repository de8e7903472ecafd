"""Look at frames before anything learns from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.data.graph import check_cell
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.errors import DataError, did_you_mean

__all__ = ["duplicated_frames", "validate_frames"]

_LABELS = ("energy", "forces", "stress")
# H2, the shortest bond there is, has 0.74 Å; half of it is met by nothing but wrong units, columns or atoms.
_TOO_NEAR = 0.35  # Å
# Forces of thermal matter stay within some 6 RMS (their components are near normal).
_OUTLIER = 20.0  # times the RMS


def validate_frames(
    frames: Sequence[Frame],
    *,
    require: Collection[str] = ("energy", "forces"),
    known_species: Collection[int] | None = None,
) -> list[str]:
    """Check all frames; raise on what cannot be learned from, return what looks odd.

    Args:
        frames: Frames of one set.
        require: Which of ``energy``, ``forces``, ``stress`` every frame must have.
        known_species: Atomic numbers that a model knows; None: all elements.

    Returns:
        Findings to show to the user: duplicated frames, forces far beyond the rest. Empty if there are none.

    Raises:
        DataError: If there are no frames, a required label is missing, a number is not finite, an element is unknown, a
            cell is singular, or two atoms are nearer than any bond. Names file, frame and atom.

    Example:
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], energy=-2056.3)
        >>> validate_frames([water, water], require=["energy"])
        ['frame and frame are the same structure']
    """
    for name in require:
        if name not in _LABELS:
            raise DataError(f"require needs {', '.join(_LABELS)}; found {name!r}.{did_you_mean(name, _LABELS)}")
    if not frames:
        raise DataError("needed at least one frame; found none")
    for frame in frames:
        _check_labels(frame, require)
        _check_finite(frame)
        _check_species(frame, known_species)
        if frame.cell is not None:
            check_cell(torch.tensor(frame.cell), torch.tensor(frame.pbc), frame.source)
        _check_distances(frame)
    same = [
        f"{frames[first].source} and {frames[second].source} are the same structure"
        for first, second in duplicated_frames(frames)
    ]
    return same + _force_outliers(frames)


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


def _check_labels(frame: Frame, require: Collection[str]) -> None:
    for name in require:
        if getattr(frame, name) is None:
            listing = ", ".join(frame.available) or "no other names"
            near = did_you_mean(name, frame.available)
            raise DataError(
                f"{frame.source}: needed {name}; found {listing}; set keys.{name} to its name in the file.{near}"
            )


def _check_finite(frame: Frame) -> None:
    for name in ("pos", *_LABELS):  # a Frame has looked at its cell
        value = getattr(frame, name)
        if value is None or np.isfinite(value).all():
            continue
        row = np.argwhere(~np.isfinite(np.atleast_1d(value)))[0][0]
        where = f" at atom {row}" if name in ("pos", "forces") else ""
        raise DataError(
            f"{frame.source}: {name} needs finite numbers; found {np.atleast_1d(value)[row].tolist()}{where}"
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
    edge_index, _ = neighbor_list(frame.pos, frame.cell, frame.pbc, _TOO_NEAR)
    if edge_index.shape[1]:
        src, dst = edge_index[:, 0].tolist()
        pair = f"atom {src} and its image" if src == dst else f"atoms {src} and {dst}"
        raise DataError(
            f"{frame.source}: atoms need to be {_TOO_NEAR} Å apart; found {pair} nearer; look for another length unit "
            "(declare units.length), swapped columns or coincident atoms"
        )


def _force_outliers(frames: Sequence[Frame]) -> list[str]:
    labelled = [(frame, np.linalg.norm(frame.forces, axis=1)) for frame in frames if frame.forces is not None]
    if not labelled:
        return []
    # The median of the frames' RMS: one wild frame must not raise the bar for itself.
    typical = float(np.median([np.sqrt(np.mean(norm**2)) for _, norm in labelled]))
    return [
        f"{frame.source}: force of {norm.max():.3g} eV/Å at atom {int(norm.argmax())}, where {typical:.3g} is typical"
        for frame, norm in labelled
        if typical > 0 and norm.max() > _OUTLIER * typical
    ]
