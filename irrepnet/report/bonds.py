"""Which atoms of a structure are bonded, by their distance; which bonds join two parts that nothing else joins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.data.covalent_radii import covalent_radii
from irrepnet.data.neighborhood import neighbor_list

__all__ = ["Bonds", "find_bonds", "neighbours_of", "side_of_bridge"]

_STRETCH = 1.2  # bonded: nearer than this times the sum of the radii; a hydrogen bond is at 1.8 times


class Bonds(NamedTuple):
    """The bonds of a structure, each once.

    Example:
        >>> Bonds(np.array([[0], [1]]), np.array([[0.74, 0.0, 0.0]])).ends.shape
        (2, 1)
    """

    ends: NDArray[np.int64]  # [2, K] places of the two atoms
    vectors: NDArray[np.float64]  # [K, 3] from the first to the second, Å, across the cell where that is nearer


def find_bonds(species: ArrayLike, pos: ArrayLike, cell: ArrayLike | None = None, pbc: ArrayLike = False) -> Bonds:
    """Return the pairs of atoms that are nearer than 1.2 times the sum of their covalent radii.

    Args:
        species: Atomic numbers, shape ``[N]``.
        pos: Shape ``[N, 3]``, Å.
        cell: Lattice vectors as rows, shape ``[3, 3]``, Å; None for an open structure.
        pbc: One bool or three.

    Raises:
        ShapeError: If shapes do not fit each other.
        DataError: If positions are not finite or the cell is singular.

    Example:
        >>> find_bonds([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]).ends.tolist()
        [[0, 0], [1, 2]]
    """
    points, radii = np.asarray(pos, dtype=np.float64), covalent_radii(species)
    if len(points) == 0:
        return Bonds(np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3)))
    reach = 2 * _STRETCH * float(radii.max())
    box = None if cell is None else np.asarray(cell, dtype=np.float64)
    edge_index, edge_shift = neighbor_list(points, box, np.broadcast_to(np.asarray(pbc, dtype=bool), 3), reach)
    src, dst = edge_index.numpy()
    shift = edge_shift.numpy()
    vectors = points[dst] - points[src] + (0 if box is None else shift @ box)
    near = np.linalg.norm(vectors, axis=1) < _STRETCH * (radii[src] + radii[dst])
    # Every pair is found in both directions; of an atom and its own image the one whose first shift is positive.
    signs = np.sign(shift @ np.array([9, 3, 1])) if len(shift) else np.zeros(0)
    kept = near & ((src < dst) | ((src == dst) & (signs > 0)))
    return Bonds(np.stack([src[kept], dst[kept]]).astype(np.int64), vectors[kept])


def neighbours_of(bonds: Bonds, num_atoms: int) -> list[set[int]]:
    """Return for each atom the atoms that it is bonded to.

    Example:
        >>> neighbours_of(find_bonds([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), 3)
        [{1, 2}, {0}, {0}]
    """
    found: list[set[int]] = [set() for _ in range(num_atoms)]
    for one, two in bonds.ends.T.tolist():
        found[one].add(two)
        found[two].add(one)
    return found


def side_of_bridge(neighbours: list[set[int]], here: int, there: int) -> set[int] | None:
    """Return the atoms that hang on ``there`` once its bond to ``here`` is cut, or None if a ring still joins the two.

    Example:
        >>> side_of_bridge([{1}, {0, 2}, {1}], here=0, there=1)
        {1, 2}
        >>> side_of_bridge([{1, 2}, {0, 2}, {0, 1}], here=0, there=1)
    """
    reached, waiting = {there}, [there]
    while waiting:
        atom = waiting.pop()
        for other in neighbours[atom]:
            if (atom, other) != (there, here) and other not in reached:
                reached.add(other)
                waiting.append(other)
    return None if here in reached else reached
