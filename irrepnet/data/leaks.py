"""Structures of training that come back in validation: copies, turned copies, next steps of one trajectory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.errors import DataError

__all__ = ["find_leaks", "similar_frames"]

Array = NDArray[np.float64]

# Numbers that do not change by rotation, translation, reflection and the order of like atoms find the few structures
# that may be equal: sorted distances of open systems, smooth bins of distance around each atom of periodic ones. The
# sorted distances of all pairs of atoms then decide.
_CENTRES = np.linspace(0.8, 5.0, 8)  # Å
_WIDTH = 0.6  # Å
_CUTOFF = 6.0  # Å
_STEEPEST = 1.5 / _WIDTH  # of a bin times the envelope, 1/Å
# Thermal atoms move 0.01 (C) to 0.03 Å (H) in a step of 1 fs; independent frames of benzene come as near as 0.05 Å.
_STEP = 0.03  # Å, RMS
_MAX_QUERIES = 200
_CANDIDATES = 4
_ROW = 256  # distances of a structure that are looked at before all are
_FIRST = 8  # of these at first


def find_leaks(train: Sequence[Frame], held: Sequence[Frame], *, tolerance: float = 1e-3) -> list[str]:
    """Return sentences about held-back frames that training has seen, or nearly; empty if there are none.

    Args:
        train: Frames that are trained on.
        held: Frames of validation or test.
        tolerance: How far any atom may be from its place in a copy, Å.

    Returns:
        Findings: copies up to rotation, reflection, translation, order of like atoms; frames one step away; shared
        trajectories.

    Raises:
        DataError: If a frame has no atoms, positions that are not finite or a cell without volume.

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

    Raises:
        DataError: If a frame has no atoms, positions that are not finite or a cell without volume.

    Example:
        >>> pair = Frame(species=[1, 9], pos=[[0, 0, 0], [0, 0, 0.92]])
        >>> similar_frames([pair], [Frame(species=[9, 1], pos=[[0.92, 0, 0], [0, 0, 0]])])
        [(0, 0)]
    """
    wanted = {_formula(_checked(other)) for other in others}
    exact: dict[bytes, int] = {}
    index: dict[bytes, dict[int, _Row]] = {}
    for place, frame in enumerate(frames):
        formula = _formula(_checked(frame))
        if formula in wanted and exact.setdefault(_bits(frame), place) == place:
            index.setdefault(formula, {})[place] = _row(frame)
    tables = {formula: _Table(frames, rows) for formula, rows in index.items()}
    pairs = []
    for place, other in enumerate(others):
        table = tables.get(_formula(other))
        if table is not None:
            match = exact.get(_bits(other))
            match = table.find(other, tolerance) if match is None else match
            if match is not None:
                pairs.append((match, place))
    return pairs


_Row = tuple[Array, float]  # numbers of a structure, and by how much one changes at most as distances change by 1 Å


class _Table:
    """Numbers of frames of one composition, sorted by the one that differs most, to find near ones at once."""

    def __init__(self, frames: Sequence[Frame], rows: dict[int, _Row]) -> None:
        self._frames = frames
        table = np.stack([row for row, _ in rows.values()])
        self._first = np.argsort(-table.std(axis=0), kind="stable")[:_FIRST]
        keys = table[:, self._first[0]] if len(self._first) else np.zeros(len(table))
        order = np.argsort(keys, kind="stable")
        self._rows, self._keys, self._places = table[order], keys[order], np.array(list(rows))[order]
        self._few = self._rows[:, self._first]

    def find(self, frame: Frame, tolerance: float) -> int | None:
        """Return the place of a frame that is the same structure within the tolerance."""
        row, steepest = _row(frame)
        allowed = 2 * tolerance * steepest + 1e-9  # every distance changes by at most two displacements
        key = row[self._first[0]] if len(self._first) else 0.0
        start, end = np.searchsorted(self._keys, (key - allowed, key + allowed))
        few = np.abs(self._few[start:end] - row[self._first]).max(axis=1, initial=0.0)
        near = start + np.flatnonzero(few <= allowed)
        off = np.abs(self._rows[near] - row).max(axis=1, initial=0.0)
        for hit in np.argsort(off, kind="stable")[:_CANDIDATES]:
            place = int(self._places[near[hit]])
            if off[hit] <= allowed and _same_structure(self._frames[place], frame, 2 * tolerance):
                return place
        return None


def _row(frame: Frame) -> _Row:
    if frame.pbc.any():
        row, weight = _sorted_environments(frame)
        return row, _STEEPEST * weight
    distances = _sorted_distances(frame)
    return distances[np.linspace(0, len(distances) - 1, min(_ROW, len(distances))).astype(int)], 1.0


def _same_structure(frame: Frame, other: Frame, tolerance: float) -> bool:
    """Tell whether cells, the sorted distances of each pair of elements and the mean distances of atoms are equal."""
    if frame.pbc.any() and not _same_cell(frame, other, tolerance):
        return False
    if np.abs(_sorted_distances(frame) - _sorted_distances(other)).max(initial=0.0) > tolerance:
        return False
    mine, theirs = (
        part[np.lexsort((part, which.species))] for which in (frame, other) for part in [_matrix(which).mean(axis=1)]
    )
    return bool(np.abs(mine - theirs).max() <= tolerance)


def _same_cell(frame: Frame, other: Frame, tolerance: float) -> bool:
    """Tell whether the periodic lattice vectors have equal lengths and angles, and enclose the same volume."""
    mine, theirs = (np.asarray(which.cell)[which.pbc] for which in (frame, other))
    lengths = [np.sort(np.linalg.norm(cell, axis=1)) for cell in (mine, theirs)]
    relative = tolerance / lengths[0].min()
    upper = np.triu_indices(len(mine), 1)
    angles = [
        np.sort(np.abs((cell @ cell.T)[upper] / np.outer(*[np.linalg.norm(cell, axis=1)] * 2)[upper]))
        for cell in (mine, theirs)
    ]
    volumes = [np.sqrt(np.linalg.det(cell @ cell.T)) for cell in (mine, theirs)]
    return bool(
        np.abs(lengths[0] - lengths[1]).max() <= tolerance
        and np.abs(angles[0] - angles[1]).max(initial=0.0) <= 2 * relative
        and abs(volumes[0] - volumes[1]) <= 3 * relative * np.prod(lengths[0])
    )


def _sorted_distances(frame: Frame) -> Array:
    """Return the distances of all pairs of atoms, sorted within each pair of elements, [N (N - 1) / 2]."""
    if frame.pbc.any():
        src, dst = np.triu_indices(len(frame), 1)
        length = _matrix(frame)[src, dst]
    else:
        src, dst = np.triu_indices(len(frame), 1)
        length = np.linalg.norm(frame.pos[dst] - frame.pos[src], axis=1)
    one, two = frame.species[src], frame.species[dst]
    kinds = np.minimum(one, two) * 1000 + np.maximum(one, two)
    return np.asarray(length[np.lexsort((length, kinds))], dtype=np.float64)


def _matrix(frame: Frame) -> Array:
    """Return the distances of all atoms, [N, N]; in periodic systems to the nearest image."""
    vec = frame.pos[None] - frame.pos[:, None]
    if not frame.pbc.any():
        return np.asarray(np.linalg.norm(vec, axis=2))
    cell = np.asarray(frame.cell, dtype=np.float64)[frame.pbc]
    vec -= np.round(vec @ np.linalg.pinv(cell)) @ cell
    nearest = np.full(vec.shape[:2], np.inf)
    for shift in product((-1, 0, 1), repeat=len(cell)):  # in a skewed cell the nearest one may be next door
        np.minimum(nearest, ((vec + np.array(shift) @ cell) ** 2).sum(axis=2), out=nearest)
    return np.asarray(np.sqrt(nearest))


def _checked(frame: Frame) -> Frame:
    """Return a frame whose atoms have distances."""
    if not len(frame):
        raise DataError(f"{frame.source}: needed atoms to compare structures; found none; remove the frame")
    if not np.isfinite(frame.pos).all():
        atom = int(np.flatnonzero(~np.isfinite(frame.pos).all(axis=1))[0])
        raise DataError(
            f"{frame.source}: positions need finite numbers; found {frame.pos[atom].tolist()} for atom {atom}; remove "
            "the frame"
        )
    if frame.pbc.any() and np.linalg.matrix_rank(np.asarray(frame.cell)[frame.pbc]) < frame.pbc.sum():
        raise DataError(
            f"{frame.source}: cell needs lattice vectors that span its periods; found "
            f"{np.asarray(frame.cell).tolist()}; correct it, or pbc"
        )
    return frame


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
    edge_index, edge_shift = neighbor_list(frame.pos, frame.cell, frame.pbc, _CUTOFF)
    src, dst = edge_index.numpy()
    vec = frame.pos[dst] - frame.pos[src] + edge_shift.numpy() @ np.asarray(frame.cell)
    length = np.sqrt(np.einsum("ea,ea->e", vec, vec))
    near = length < _CUTOFF
    return src[near], dst[near], length[near]


def _near_steps(train: Sequence[Frame], held: Sequence[Frame], copies: set[int]) -> tuple[list[tuple[int, int]], int]:
    """Return pairs of frames one step of molecular dynamics apart among a sample of held-back ones, and its size."""
    places = [place for place in range(0, len(held), max(1, len(held) // _MAX_QUERIES)) if place not in copies]
    systems: dict[bytes, list[int]] = {}
    for place, frame in enumerate(train):
        systems.setdefault(_system(frame), []).append(place)
    rows = {
        key: np.stack([_pair_row(train[place]) for place in systems[key]])
        for key in {_system(held[place]) for place in places} & systems.keys()
    }
    pairs = []
    for place in places:
        key = _system(held[place])
        if key not in rows:
            continue
        far = ((rows[key] - _pair_row(held[place])) ** 2).sum(axis=1)
        for candidate in np.argsort(far, kind="stable")[:_CANDIDATES]:
            if _rmsd(train[systems[key][candidate]], held[place]) < _STEP:
                pairs.append((systems[key][candidate], place))
                break
    return pairs, len(places)


def _pair_row(frame: Frame) -> NDArray[np.float32]:
    """Return the distances of some pairs of atoms, always the same ones, and the lengths of the cell."""
    src, dst = np.triu_indices(len(frame), 1)
    some = np.linspace(0, len(src) - 1, min(_ROW, len(src))).astype(int)
    vec = frame.pos[dst[some]] - frame.pos[src[some]]
    lengths = np.zeros(0)
    if frame.pbc.any():
        cell = np.asarray(frame.cell)[frame.pbc]
        vec -= np.round(vec @ np.linalg.pinv(cell)) @ cell
        lengths = np.linalg.norm(cell, axis=1)
    return np.concatenate([np.linalg.norm(vec, axis=1), lengths]).astype(np.float32)


def _rmsd(frame: Frame, other: Frame) -> float:
    """Return the RMS displacement after the best shift, and in open systems the best rotation, Å."""
    if frame.cell is not None and other.cell is not None and frame.pbc.any():
        if min(np.linalg.matrix_rank(cell) for cell in (frame.cell, other.cell)) < 3:
            return float("inf")  # such a cell has no fractional coordinates
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


def _bits(frame: Frame) -> bytes:
    """Return what only an exact copy shares."""
    cell = b"" if frame.cell is None else frame.cell.tobytes()
    return hashlib.sha256(frame.species.tobytes() + frame.pos.tobytes() + frame.pbc.tobytes() + cell).digest()


def _system(frame: Frame) -> bytes:
    return frame.species.tobytes() + frame.pbc.tobytes()


def _groups(frames: Iterable[Frame]) -> set[str]:
    return {frame.group for frame in frames if frame.group is not None}
