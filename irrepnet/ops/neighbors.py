"""Neighbour pairs of points in any cell, in plain PyTorch: exact, on any device, in bounded memory.

Periodic images that can matter are added as ghost points; points are sorted into boxes as wide as the cutoff; each
point then meets the points of the 27 boxes around it. Open, periodic and mixed boundaries, cells smaller than the
cutoff, skewed and left-handed cells are all the same case.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["complete_cell", "neighbor_pairs", "sort_edges", "within_cutoff"]

# Candidate pairs looked at together: about 40 bytes each, so some 80 MB at most.
_CHUNK = 2_000_000
# Boxes and ghost layers are wider than the cutoff by this fraction, far above rounding; `within_cutoff` then decides.
_MARGIN = 1e-6
# Boxes along one axis: three box numbers then fit into one int64 whatever the extent of the points.
_MAX_BOXES = 2**20


def neighbor_pairs(pos: Tensor, cell: Tensor, pbc: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return every pair of points, or of a point and a periodic image, nearer than the cutoff.

    .. math:: |x_{dst} - x_{src} + S \\cdot cell| < cutoff, \\quad (src, dst, S) \\ne (i, i, 0)

    Args:
        pos: Points anywhere, also outside the cell, shape ``[N, 3]``, float64, Å.
        cell: Lattice vectors as rows, not singular, shape ``[3, 3]``, float64, Å; see :func:`complete_cell`.
        pbc: Which lattice vectors are periods, shape ``[3]``, bool.
        cutoff: Å, positive.

    Returns:
        ``edge_index [2, E]`` (rows src, dst) and ``edge_shift [E, 3]`` (the integers S), int64, in no particular order.

    Example:
        >>> pos, cell = torch.zeros(1, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
        >>> edge_index, edge_shift = neighbor_pairs(pos, cell, torch.tensor([True, False, False]), cutoff=2.5)
        >>> sorted(edge_shift[:, 0].tolist())
        [-2, -1, 1, 2]
    """
    home, ghost_of, image, points = _with_images(pos, cell, pbc, cutoff * (1 + _MARGIN))
    box, strides = _boxes(points, cutoff * (1 + _MARGIN))
    key, order = torch.sort(_number(box, strides))
    first, count, visited = _candidate_ranges(key, box[: len(pos)], strides)

    edges, shifts = [pos.new_zeros(2, 0, dtype=torch.long)], [pos.new_zeros(0, 3, dtype=torch.long)]
    for start, stop in _chunks(count):
        size = count[start:stop]
        inside = torch.arange(int(size.sum()), device=pos.device) - torch.repeat_interleave(size.cumsum(0) - size, size)
        dst = torch.repeat_interleave(visited[start:stop], size)
        ghost = order[torch.repeat_interleave(first[start:stop], size) + inside]
        edge_index = torch.stack([ghost_of[ghost], dst])
        edge_shift = home[edge_index[0]] - home[dst] - image[ghost]
        kept = within_cutoff(pos, cell, edge_index, edge_shift, cutoff)
        kept &= (edge_index[0] != dst) | (edge_shift != 0).any(dim=1)
        edges.append(edge_index[:, kept])
        shifts.append(edge_shift[kept])
    return torch.cat(edges, dim=1), torch.cat(shifts)


def within_cutoff(pos: Tensor, cell: Tensor, edge_index: Tensor, edge_shift: Tensor, cutoff: float) -> Tensor:
    """Tell which edges are shorter than the cutoff, shape ``[E]``, bool.

    Written without a matrix product, whose rounding may depend on the number of rows: an edge and its reverse, found by
    whatever algorithm, always get the same answer.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
        >>> edge_index, edge_shift = torch.tensor([[0], [1]]), torch.tensor([[1, 0, 0]])
        >>> within_cutoff(pos, 3 * torch.eye(3, dtype=torch.float64), edge_index, edge_shift, cutoff=4.0)
        tensor([False])
    """
    src, dst = edge_index
    steps = edge_shift.to(pos.dtype)
    image = steps[:, 0:1] * cell[0] + steps[:, 1:2] * cell[1] + steps[:, 2:3] * cell[2]
    vec = pos[dst] - pos[src] + image  # [E, 3]
    return vec[:, 0] ** 2 + vec[:, 1] ** 2 + vec[:, 2] ** 2 < cutoff**2


def sort_edges(edge_index: Tensor, edge_shift: Tensor) -> tuple[Tensor, Tensor]:
    """Sort edges by (dst, src, shift), so that results do not depend on the algorithm that found them.

    Example:
        >>> edge_index, edge_shift = torch.tensor([[1, 2, 0], [0, 0, 1]]), torch.zeros(3, 3, dtype=torch.long)
        >>> sort_edges(edge_index, edge_shift)[0].tolist()
        [[1, 2, 0], [0, 0, 1]]
    """
    if edge_index.shape[1] == 0:
        return edge_index, edge_shift
    lowest = edge_shift.min(dim=0).values
    span = edge_shift.max(dim=0).values - lowest + 1
    place = edge_shift - lowest
    order = torch.argsort((place[:, 0] * span[1] + place[:, 1]) * span[2] + place[:, 2])
    src, dst = edge_index[:, order]
    order = order[torch.argsort(dst * (edge_index.max() + 1) + src, stable=True)]
    return edge_index[:, order], edge_shift[order]


def complete_cell(cell: Tensor, pbc: Tensor) -> Tensor:
    """Replace the lattice vectors that are not periods by unit vectors orthogonal to all others.

    Args:
        cell: Shape ``[3, 3]``, Å; rows that are not periods may hold anything, also zeros.
        pbc: Shape ``[3]``, bool.

    Returns:
        Shape ``[3, 3]``; singular only if the periods themselves are.

    Example:
        >>> cell = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
        >>> complete_cell(cell, torch.tensor([True, False, True])).abs()
        tensor([[2., 0., 0.],
                [0., 1., 0.],
                [0., 0., 3.]])
    """
    if bool(pbc.all()):
        return cell
    cell = torch.where(pbc[:, None], cell, torch.zeros_like(cell))
    num_periods = int(pbc.sum())
    # The last right singular vectors span what the periods leave over.
    free = torch.linalg.svd(cell).Vh[num_periods:]
    cell[~pbc] = free
    return cell


def _with_images(pos: Tensor, cell: Tensor, pbc: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the home cell of each point, then for points and ghosts (points first): index, image, position."""
    inverse = torch.linalg.inv(cell)
    fraction = pos @ inverse
    home = torch.where(pbc, fraction.floor(), torch.zeros_like(fraction)).long()
    fraction = fraction - home
    index = torch.arange(len(pos), device=pos.device)
    image = torch.zeros_like(home)
    for axis in range(3):
        if not bool(pbc[axis]):
            continue
        # Lattice planes of this axis are 1/|column of the inverse| apart.
        depth = reach * float(inverse[:, axis].norm()) + _MARGIN
        count = int(depth) + 1
        steps = torch.arange(-count, count + 1, device=pos.device)
        place = fraction[index, axis, None] + steps  # [M, 2 count + 1]
        needed = (place >= -depth) & (place <= 1 + depth) & (steps != 0)
        which, step = needed.nonzero(as_tuple=True)
        moved = image[which]
        moved[:, axis] = steps[step]
        index, image = torch.cat([index, index[which]]), torch.cat([image, moved])
    points = (fraction[index] + image) @ cell
    return home, index, image, points


def _boxes(points: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Return the box of each point ``[M, 3]`` and the strides ``[3]`` that make one number of it."""
    if len(points) == 0:
        return points.long(), points.new_ones(3, dtype=torch.long)
    lowest = points.min(dim=0).values
    extent = points.max(dim=0).values - lowest
    box = ((points - lowest) / (extent / _MAX_BOXES).clamp(min=width)).floor().long() + 1  # an empty layer around all
    size = box.max(dim=0).values + 2
    return box, torch.stack([size[1] * size[2], size[2], torch.ones_like(size[0])])


def _number(box: Tensor, strides: Tensor) -> Tensor:
    """Make one number of each box; CUDA has no matrix product of integers."""
    return (box * strides).sum(dim=-1)


def _candidate_ranges(key: Tensor, box: Tensor, strides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each point and each of its 9 rows of 3 boxes: start and length in the sorted points, and the point."""
    near = torch.arange(-1, 2, device=key.device)
    rows = _number(torch.cartesian_prod(near, near), strides[:2])  # [9]
    middle = _number(box, strides)[:, None] + rows  # [N, 9]
    first = torch.searchsorted(key, middle - 1)
    count = torch.searchsorted(key, middle + 1, right=True) - first
    visited = torch.arange(len(box), device=key.device)[:, None].expand_as(first)
    return first.flatten(), count.flatten(), visited.flatten()


def _chunks(count: Tensor) -> list[tuple[int, int]]:
    """Cut the ranges into runs whose lengths add up to about ``_CHUNK``."""
    if len(count) == 0:
        return []
    chunk = (count.cumsum(0) - count) // _CHUNK
    stops = torch.cat([chunk[1:] != chunk[:-1], chunk.new_ones(1, dtype=torch.bool)]).nonzero().flatten() + 1
    return list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))
