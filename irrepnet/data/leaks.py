"""Structures of training that come back in validation: copies, turned copies, next steps of one trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.neighborhood import neighbor_list

__all__ = ["find_leaks", "similar_frames"]

Array = NDArray[np.float64]

# Smooth bins of distance around each atom find the few structures that may be equal; the sorted distances of each pair
# of elements then decide. They do not change by rotation, translation, reflection and the order of like atoms.
_CENTRES = np.linspace(0.8, 5.0, 8)  # Å
_WIDTH = 0.6  # Å
_CUTOFF = 6.0  # Å
_STEEPEST = 1.5 / _WIDTH  # of a bin times the envelope, 1/Å
# Thermal atoms move 0.01 (C) to 0.03 Å (H) in a step of 1 fs; independent frames of benzene come as near as 0.05 Å.
_STEP = 0.03  # Å, RMS
_MAX_QUERIES = 200
_CANDIDATES = 4


def find_leaks(train: Sequence[Frame], held: Sequence[Frame], *, tolerance: float = 1e-3) -> list[str]:
    """Return sentences about held-back frames that training has seen, or nearly; empty if there are none.

    Args:
        train: Frames that are trained on.
        held: Frames of validation or test.
        tolerance: How far any atom may be from its place in a copy, Å.

    Returns:
        Findings: copies up to rotation, reflection, translation, order of like atoms; frames one step away; shared
        trajectories.

    Example:
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], source="a.xyz frame 0")
        >>> turned = Frame(species=[1, 8, 1], pos=[[0, 0.96, 5], [0, 0, 5], [0, -0.24, 5.93]], source="b.xyz frame 3")
        >>> find_leaks([water], [turned])
        ['1 of 1 held-back frames is also in training: b.xyz frame 3 is a.xyz frame 0']
    """
    copies = similar_frames(train, held, tolerance=tolerance)
    near, num_looked = _near_steps(train, held, {index for _, index in copies})
    leaks = []
    for pairs, total, verb, which in (
        (copies, len(held), "also in training", "is"),
        (near, num_looked, f"within {_STEP} Å of one in training", "is near"),
    ):
        if pairs:
            first, second = pairs[0]
            leaks.append(
                f"{len(pairs)} of {total} held-back frames {'is' if len(pairs) == 1 else 'are'} {verb}: "
                f"{held[second].source} {which} {train[first].source}"
            )
    shared = sorted(_groups(train) & _groups(held))
    if shared:
        listing = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        leaks.append(f"{len(shared)} trajectories are in training and held back ({listing}); split by group")
    return leaks


def similar_frames(
    frames: Sequence[Frame], others: Sequence[Frame], *, tolerance: float = 1e-3
) -> list[tuple[int, int]]:
    """Return index pairs of structures that are equal up to rotation, reflection, translation and order of like atoms.

    Args:
        frames: Frames of one set.
        others: Frames of another set.
        tolerance: How far any atom may be from its place in the copy, Å.

    Returns:
        Pairs ``(index in frames, index in others)``, one for each of the others that has a copy.

    Example:
        >>> pair = Frame(species=[1, 9], pos=[[0, 0, 0], [0, 0, 0.92]])
        >>> similar_frames([pair], [Frame(species=[9, 1], pos=[[0.92, 0, 0], [0, 0, 0]])])
        [(0, 0)]
    """
    index: dict[bytes, list[int]] = {}
    for place, frame in enumerate(frames):
        index.setdefault(_formula(frame), []).append(place)
    wanted = {_formula(other) for other in others}
    tables = {
        key: _Table([frames[place] for place in places], places) for key, places in index.items() if key in wanted
    }
    pairs = []
    for place, other in enumerate(others):
        table = tables.get(_formula(other))
        match = None if table is None else table.find(other, tolerance)
        if match is not None:
            pairs.append((match, place))
    return pairs


class _Table:
    """Environments of frames of one composition, sorted by their mean so that near ones are found at once."""

    def __init__(self, frames: Sequence[Frame], places: Sequence[int]) -> None:
        self.frames = frames
        rows = np.stack([_sorted_environments(frame)[0] for frame in frames])
        means = rows.mean(axis=1)
        order = np.argsort(means, kind="stable")
        self.rows, self.means, self.order, self.places = rows[order], means[order], order, places

    def find(self, frame: Frame, tolerance: float) -> int | None:
        """Return the place of a frame that is the same structure within the tolerance."""
        row, weight = _sorted_environments(frame)
        # Every distance changes by at most two displacements.
        allowed = 2 * tolerance * _STEEPEST * weight + 1e-9
        mean = row.mean()
        start, end = np.searchsorted(self.means, (mean - allowed, mean + allowed))
        off = np.abs(self.rows[start:end] - row).max(axis=1, initial=0.0)
        for hit in np.argsort(off, kind="stable")[:_CANDIDATES]:
            place = self.order[start + hit]
            if off[hit] <= allowed and _same_distances(self.frames[place], frame, 2 * tolerance):
                return self.places[place]
        return None


def _same_distances(frame: Frame, other: Frame, tolerance: float) -> bool:
    """Tell whether the sorted distances of each pair of elements are equal, up to those at the cutoff."""
    mine, theirs = _distances(frame), _distances(other)
    for pair in mine.keys() | theirs.keys():
        one, two = mine.get(pair, np.empty(0)), theirs.get(pair, np.empty(0))
        both = min(len(one), len(two))
        rest = np.concatenate([one[both:], two[both:]])
        if np.abs(one[:both] - two[:both]).max(initial=0.0) > tolerance or (rest < _CUTOFF - tolerance).any():
            return False
    return True


def _distances(frame: Frame) -> dict[tuple[int, int], Array]:
    src, dst, length = _edges(frame)
    ends = np.sort(np.stack([frame.species[src], frame.species[dst]], axis=1), axis=1)
    return {
        (int(pair[0]), int(pair[1])): np.sort(length[(ends == pair).all(axis=1)]) for pair in np.unique(ends, axis=0)
    }


def _sorted_environments(frame: Frame) -> tuple[Array, float]:
    """Return the bins of all atoms, each sorted among like atoms, and the weight of the fullest environment."""
    bins, weight = _environments(frame)
    by_species = [np.sort(bins[frame.species == number], axis=0) for number in np.unique(frame.species)]
    return np.concatenate([part.ravel() for part in by_species]), weight


def _environments(frame: Frame) -> tuple[Array, float]:
    """Return how much of which species is how far from each atom, [N, bins]."""
    src, dst, length = _edges(frame)
    weight = 1 + 0.1 * frame.species[dst]
    envelope = (1 - (length / _CUTOFF) ** 2) ** 2
    shares = np.exp(-(((length[:, None] - _CENTRES) / _WIDTH) ** 2)) * (weight * envelope)[:, None]
    bins = np.stack([np.bincount(src, share, minlength=len(frame)) for share in shares.T], axis=1)
    return np.asarray(bins, dtype=np.float64), float(np.bincount(src, weight, minlength=len(frame)).max(initial=0.0))


def _edges(frame: Frame) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return pairs of atoms and their distances up to the cutoff."""
    if frame.pbc.any():
        edge_index, edge_shift = neighbor_list(frame.pos, frame.cell, frame.pbc, _CUTOFF)
        src, dst = edge_index.numpy()
        vec = frame.pos[dst] - frame.pos[src] + edge_shift.numpy() @ np.asarray(frame.cell)
    else:
        src, dst = np.nonzero(~np.eye(len(frame), dtype=bool))
        vec = frame.pos[dst] - frame.pos[src]
    length = np.sqrt(np.einsum("ea,ea->e", vec, vec))
    near = length < _CUTOFF
    return src[near], dst[near], length[near]


def _near_steps(train: Sequence[Frame], held: Sequence[Frame], copies: set[int]) -> tuple[list[tuple[int, int]], int]:
    """Return pairs of frames one step of molecular dynamics apart among a sample of held-back ones, and its size."""
    places = [place for place in range(0, len(held), max(1, len(held) // _MAX_QUERIES)) if place not in copies]
    systems: dict[bytes, list[int]] = {}
    for place, frame in enumerate(train):
        systems.setdefault(_system(frame), []).append(place)
    means = {
        key: np.stack([_environments(train[place])[0].ravel() for place in systems[key]])
        for key in {_system(held[place]) for place in places} & systems.keys()
    }
    pairs = []
    for place in places:
        key = _system(held[place])
        if key not in means:
            continue
        far = ((means[key] - _environments(held[place])[0].ravel()) ** 2).sum(axis=1)
        for candidate in np.argsort(far)[:_CANDIDATES]:
            if _rmsd(train[systems[key][candidate]], held[place]) < _STEP:
                pairs.append((systems[key][candidate], place))
                break
    return pairs, len(places)


def _rmsd(frame: Frame, other: Frame) -> float:
    """Return the RMS displacement after the best shift, and in open systems the best rotation, Å."""
    if frame.cell is not None and other.cell is not None and frame.pbc.any():
        fractional = other.pos @ np.linalg.inv(other.cell) - frame.pos @ np.linalg.inv(frame.cell)
        moved = (fractional - np.where(frame.pbc, np.round(fractional), 0)) @ frame.cell
        moved -= moved.mean(axis=0)
        return float(np.sqrt((moved**2).sum(axis=1).mean() + np.abs(other.cell - frame.cell).max() ** 2))
    mine, theirs = frame.pos - frame.pos.mean(axis=0), other.pos - other.pos.mean(axis=0)
    left, _, right = np.linalg.svd(theirs.T @ mine)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return float(np.sqrt(((theirs @ left @ right - mine) ** 2).sum(axis=1).mean()))


def _formula(frame: Frame) -> bytes:
    return np.sort(frame.species).tobytes() + frame.pbc.tobytes()


def _system(frame: Frame) -> bytes:
    return frame.species.tobytes() + frame.pbc.tobytes()


def _groups(frames: Iterable[Frame]) -> set[str]:
    return {frame.group for frame in frames if frame.group is not None}
