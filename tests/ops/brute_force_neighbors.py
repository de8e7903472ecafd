"""The definition of a neighbour list, by trying every image, and cells on which lists have been wrong before."""

import itertools

import numpy as np


def brute_force(pos, cell, pbc, cutoff):
    """Sorted rows (dst, src, shift) of all pairs nearer than the cutoff."""
    pos, pbc = np.asarray(pos, dtype=np.float64), np.broadcast_to(pbc, 3).astype(bool)
    cell = np.eye(3) if cell is None else np.array(cell, dtype=np.float64)
    for axis in np.flatnonzero(~pbc):  # any complement will do: no shift goes along it
        others = [cell[k] for k in range(3) if k != axis and (pbc[k] or k < axis)]
        free = np.linalg.svd(np.reshape(others, (-1, 3)))[2][len(others) :]
        cell[axis] = free[0]
    inverse = np.linalg.inv(cell)
    spread = np.ptp(pos @ inverse, axis=0) if len(pos) else np.zeros(3)
    count = np.where(pbc, np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + spread), 0).astype(int)
    shifts = np.array(list(itertools.product(*(range(-n, n + 1) for n in count))))
    rows = []
    for dst, src in itertools.product(range(len(pos)), repeat=2):
        length = np.linalg.norm(pos[dst] - pos[src] + shifts @ cell, axis=1)
        near = shifts[(length < cutoff) & ((dst != src) | (shifts != 0).any(axis=1))]
        rows += [(dst, src, *map(int, shift)) for shift in near]
    return sorted(rows)


def rows(edge_index, edge_shift):
    """The rows of :func:`brute_force` in the order of a list."""
    return [(int(d), int(s), *shift) for s, d, shift in zip(*edge_index.tolist(), edge_shift.tolist(), strict=True)]


def _points(count, cell, seed=0, spread=1.0):
    return np.random.default_rng(seed).uniform(0, spread, (count, 3)) @ np.asarray(cell)


_SKEWED = [[3.0, 0.0, 0.0], [2.4, 2.1, 0.0], [-1.1, 1.3, 2.8]]
_SLAB = [[4.0, 0.5, 0.0], [0.0, 3.5, 0.0], [0.0, 0.0, 9.0]]

#: name -> (pos, cell, pbc, cutoff)
CASES = {
    "cubic": (_points(20, 6 * np.eye(3)), 6 * np.eye(3), True, 2.5),
    "skewed triclinic": (_points(8, _SKEWED, 1), _SKEWED, True, 2.6),
    "left-handed": (_points(8, _SKEWED, 2)[:, [1, 0, 2]], np.array(_SKEWED)[[1, 0, 2]], True, 2.2),
    "tiny cell, many images": (_points(2, np.eye(3), 3), np.eye(3) + 0.2, True, 3.3),
    "slab, atoms outside": (_points(9, _SLAB, 4, spread=3.0) - 7.0, _SLAB, [True, True, False], 2.4),
    "slab, zero third vector": (_points(6, _SLAB, 5), [*_SLAB[:2], [0.0, 0.0, 0.0]], [True, True, False], 3.1),
    "wire along the second vector": (_points(6, _SLAB, 6), _SLAB, [False, True, False], 4.0),
    "one atom": (np.zeros((1, 3)), 2 * np.eye(3), True, 4.1),
    "one atom, open": (np.zeros((1, 3)), None, False, 4.1),
    "two atoms, open": (np.array([[0.0, 0.0, 0.0], [0.9, 0.1, 0.0]]), None, False, 1.0),
    "open cluster": (_points(40, 5 * np.eye(3), 7), None, False, 1.9),
    "cell but open": (_points(10, _SKEWED, 8), _SKEWED, False, 1.5),
    "cutoff longer than the cell": (_points(4, 3 * np.eye(3), 9), 3 * np.eye(3), True, 6.5),
    "far outside": (_points(5, 4 * np.eye(3), 10) + np.array([4e3, -8e3, 2.0]), 4 * np.eye(3), True, 3.0),
    "coincident atoms": (np.zeros((2, 3)), 3 * np.eye(3), True, 2.0),
}
