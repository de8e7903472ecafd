"""Radial distribution functions of periodic systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.errors import DataError, ShapeError

__all__ = ["radial_distribution"]


def radial_distribution(
    frames_pos: ArrayLike,
    species: ArrayLike,
    cell: ArrayLike,
    pair: Sequence[int | str],
    r_max: float,
    num_bins: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much denser than on average one species is at a distance from another.

    .. math:: g(r) = \\frac{V}{N_a N_b} \\Bigl\\langle \\frac{\\text{pairs in } [r, r + dr)}{V_{shell}} \\Bigr\\rangle

    All periodic images are counted, so any ``r_max`` is right, also beyond half the cell.

    Args:
        frames_pos: Positions, shape ``[F, N, 3]``, Å.
        species: Atomic numbers, shape ``[N]``.
        cell: Lattice vectors as rows, shape ``[3, 3]`` or ``[F, 3, 3]``, Å; periodic in all directions.
        pair: Two atomic numbers or symbols, such as ``("O", "H")``.
        r_max: Å.
        num_bins: Number of equal bins from 0 to ``r_max``.

    Returns:
        Bin centres in Å and g, each of shape ``[num_bins]``.

    Raises:
        ShapeError: If a shape does not fit.
        DataError: If there are no frames or bins, a species of the pair is absent, or what
            :func:`~irrepnet.data.neighbor_list` refuses.

    Example:
        >>> r, g = radial_distribution([[[0, 0, 0]]], [18], np.eye(3), ("Ar", "Ar"), r_max=1.2, num_bins=3)
        >>> r.round(1), g.round(2)  # six images at 1 Å
        (array([0.2, 0.6, 1. ]), array([0.  , 0.  , 1.18]))
    """
    pos, numbers = np.asarray(frames_pos, dtype=np.float64), np.asarray(species)
    if pos.ndim != 3 or pos.shape[1:] != (len(numbers), 3):
        raise ShapeError(f"radial_distribution needs frames_pos [F, {len(numbers)}, 3]; found {list(pos.shape)}")
    cells = np.asarray(cell, dtype=np.float64)
    if cells.shape not in ((3, 3), (len(pos), 3, 3)):
        raise ShapeError(f"radial_distribution needs cell [3, 3] or [{len(pos)}, 3, 3]; found {list(cells.shape)}")
    if len(pos) == 0 or num_bins < 1:
        raise DataError(f"radial_distribution needs frames and bins; found {len(pos)} frames, {num_bins} bins")
    first, second = (numbers == atomic_number(element) for element in pair)
    for element, chosen in zip(pair, (first, second), strict=True):
        if not chosen.any():
            there = ", ".join(SYMBOLS[number] for number in np.unique(numbers))
            raise DataError(f"radial_distribution needs a pair of {there}; found {element!r}")

    edges = np.linspace(0.0, r_max, num_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    total = np.zeros(num_bins)
    for points, box in zip(pos, np.broadcast_to(cells, (len(pos), 3, 3)), strict=True):
        edge_index, edge_shift = neighbor_list(points, box, True, r_max)
        src, dst = edge_index.numpy()
        counted = first[dst] & second[src]
        vectors = points[dst[counted]] - points[src[counted]] + edge_shift.numpy()[counted] @ box
        lengths = np.linalg.norm(vectors, axis=1)
        density = first.sum() * second.sum() / abs(np.linalg.det(box))
        total += np.histogram(lengths, edges)[0] / (density * shells)
    return (edges[1:] + edges[:-1]) / 2, total / len(pos)
