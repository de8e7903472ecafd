"""Who is whose neighbour: one function in front of three libraries, with one answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph, check_cell
from irrepnet.errors import BackendError, DataError, DtypeError, ShapeError, did_you_mean
from irrepnet.ops.neighbors import complete_cell, neighbor_pairs, sort_edges, within_cutoff

__all__ = ["build_graph", "neighbor_list"]

# The libraries look this much further than asked, and `within_cutoff` then decides, in float64 and for all alike.
_MARGIN = 1e-6


def neighbor_list(
    pos: Tensor | NDArray[Any],
    cell: Tensor | NDArray[Any] | None,
    pbc: bool | Sequence[bool] | Tensor | NDArray[Any],
    cutoff: float,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Return all pairs of atoms, and of atoms and periodic images, that are nearer than the cutoff.

    .. math:: |pos[dst] - pos[src] + edge\\_shift \\cdot cell| < cutoff

    An atom and its own image are a pair; an atom and itself are not. The list is exact (never capped) and sorted by
    (dst, src, shift), so it does not depend on the backend. Distances are decided in float64.

    Args:
        pos: Positions, also outside the cell, shape ``[N, 3]``, Å.
        cell: Lattice vectors as rows, shape ``[3, 3]``, Å; may be skewed, left-handed, or smaller than the cutoff; rows
            that are not periods may be zero; None for an open system.
        pbc: Which lattice vectors are periods: one bool or three.
        cutoff: Å.
        backend: ``"vesin"``, ``"torch_cluster"`` (open systems), ``"torch"``, or ``"auto"``: the first of them that is
            installed and fits.

    Returns:
        ``edge_index [2, E]`` (rows src, dst) and ``edge_shift [E, 3]``, int64, on the device of ``pos``.

    Raises:
        ShapeError: If ``pos``, ``cell`` or ``pbc`` have another shape.
        DtypeError: If positions are not floating-point numbers.
        DataError: If the cutoff is not positive, positions are not finite, a cell is singular or missing.
        BackendError: If a backend that was named is unknown, not installed or does not fit.

    Example:
        >>> edge_index, edge_shift = neighbor_list(torch.zeros(1, 3), torch.eye(3), [True, False, False], cutoff=1.5)
        >>> edge_index.tolist(), edge_shift.tolist()
        ([[0, 0], [0, 0]], [[-1, 0, 0], [1, 0, 0]])
    """
    points, box, periods = _read_arguments(pos, cell, pbc, cutoff)
    find = _choose(backend, bool(periods.any()))
    if len(points) == 0:
        return torch.zeros(2, 0, dtype=torch.long, device=points.device), points.new_zeros(0, 3, dtype=torch.long)
    edge_index, edge_shift = find(points, box, periods, cutoff)
    if find is not neighbor_pairs:
        edge_index, edge_shift = edge_index.to(points.device), edge_shift.to(points.device)
        kept = within_cutoff(points, box, edge_index, edge_shift, cutoff)
        edge_index, edge_shift = edge_index[:, kept], edge_shift[kept]
    return sort_edges(edge_index, edge_shift)


def build_graph(frame: Frame, cutoff: float, *, dtype: torch.dtype = torch.float32, backend: str = "auto") -> Graph:
    """Return the graph of a frame; neighbours are found from its float64 positions whatever ``dtype`` is.

    Args:
        frame: Structure; labels are not looked at.
        cutoff: Å.
        dtype: Of positions and cell in the graph.
        backend: See :func:`neighbor_list`.

    Raises:
        DataError: If positions are not finite, two atoms are at one place or the cell is singular; names the frame.

    Example:
        >>> build_graph(Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]]), cutoff=2.0).edge_index
        tensor([[1, 0],
                [0, 1]])
    """
    try:
        edge_index, edge_shift = neighbor_list(frame.pos, frame.cell, frame.pbc, cutoff, backend=backend)
        return Graph.checked(
            torch.tensor(frame.pos, dtype=dtype),
            torch.tensor(frame.species),
            edge_index,
            edge_shift,
            None if frame.cell is None else torch.tensor(frame.cell, dtype=dtype),
            torch.tensor(frame.pbc),
        )
    except DataError as error:
        raise DataError(f"{frame.source}: {error}") from error


def _as_tensor(values: Any) -> Tensor:
    return values.detach() if isinstance(values, Tensor) else torch.tensor(values)


def _read_arguments(pos: Any, cell: Any, pbc: Any, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Check the arguments and return float64 positions, a complete cell and three bools."""
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise DataError(f"neighbor_list needs a cutoff above 0 Å; found {cutoff}")
    points = _as_tensor(pos)
    if points.dim() != 2 or points.shape[1] != 3:
        raise ShapeError(f"neighbor_list needs pos [N, 3]; found {list(points.shape)}")
    if not points.is_floating_point():
        raise DtypeError(f"neighbor_list needs pos of a floating dtype; found {points.dtype}")
    points = points.double()
    bad = (~points.isfinite()).any(dim=1).nonzero().flatten()
    if len(bad):
        raise DataError(f"neighbor_list needs finite positions; found {points[bad[0]].tolist()} at atom {int(bad[0])}")
    span = float((points.amax(dim=0) - points.amin(dim=0)).max()) if len(points) else 0.0
    if span > _WIDEST:
        raise DataError(
            f"neighbor_list needs atoms within {_WIDEST:g} Å of each other; found {span:.3g} Å; look for atoms that "
            "have flown away, another length unit, or wrap them into the cell"
        )
    periods = _as_tensor(pbc).to(points.device, torch.bool)
    if periods.shape not in (torch.Size([]), torch.Size([3])):
        raise ShapeError(f"neighbor_list needs one bool or three for pbc; found shape {list(periods.shape)}")
    periods = periods.expand(3)
    if cell is None:
        if bool(periods.any()):
            raise DataError(
                f"neighbor_list needs a cell for pbc {periods.tolist()}; found None; give cell, or pbc=False"
            )
        return points, torch.eye(3, dtype=torch.float64, device=points.device), periods
    box = _as_tensor(cell).to(points.device, torch.float64)
    if box.shape != (3, 3):
        raise ShapeError(f"neighbor_list needs cell [3, 3]; found {list(box.shape)}")
    check_cell(box, periods, "neighbor_list")
    return points, complete_cell(box, periods), periods


#: Far beyond any structure; libraries overflow their integers, or stop the process, at some 1e5 Å.
_WIDEST = 1e4  # Å
_Finder = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _vesin_pairs(pos: Tensor, cell: Tensor, pbc: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff * (1 + _MARGIN), full_list=True, n_threads=1)
    i, j, shift = finder.compute(pos.cpu().numpy(), cell.cpu().numpy(), pbc.cpu().numpy(), "ijS")
    edge_index = np.stack([i, j]).astype(np.int64)  # vesin: pos[j] - pos[i] + S @ cell, so i is the source
    return torch.from_numpy(edge_index), torch.from_numpy(shift.astype(np.int64))


def _torch_cluster_pairs(pos: Tensor, cell: Tensor, pbc: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    from torch_cluster import radius_graph

    edge_index = radius_graph(pos.cpu(), cutoff * (1 + _MARGIN), max_num_neighbors=len(pos))
    # A list that lost edges to a cap has edges without their reverse.
    degree = [torch.bincount(end, minlength=len(pos)) for end in edge_index]
    if not torch.equal(*degree):
        raise BackendError("torch_cluster.radius_graph returned a truncated list; use backend='torch'")
    return edge_index, edge_index.new_zeros(edge_index.shape[1], 3)


_LIBRARIES: dict[str, _Finder] = {"vesin": _vesin_pairs, "torch_cluster": _torch_cluster_pairs}


def _choose(backend: str, periodic: bool) -> _Finder:
    """Return the function of a backend; ``auto`` goes on where a library is absent or broken, a name does not."""
    names = (*_LIBRARIES, "torch")
    if backend not in (*names, "auto"):
        near = did_you_mean(backend, names)
        raise BackendError(f"neighbor_list needs backend auto, {', '.join(names)}; found {backend!r}.{near}")
    if backend == "torch_cluster" and periodic:
        raise BackendError(
            "neighbor_list(backend='torch_cluster') serves open systems; found periods; use 'vesin' or 'torch'"
        )
    order = ("vesin",) if periodic else ("torch_cluster", "vesin")
    for name in order if backend == "auto" else (backend,):
        if name == "torch":
            break
        try:
            __import__(name)
        except (ImportError, OSError) as error:  # OSError: built against another torch
            if backend != "auto":
                raise BackendError(
                    f"neighbor_list(backend={name!r}) cannot run: {error}; use backend='torch'"
                ) from error
        else:
            return _LIBRARIES[name]
    return neighbor_pairs
