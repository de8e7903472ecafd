"""The edges of a graph, checked once and sorted both ways, for every op that gathers and scatters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import DataError, DtypeError, ShapeError

__all__ = ["EdgeOrder", "as_edge_order", "edge_order"]


class EdgeOrder(NamedTuple):
    """Edges from sources to destinations, and the two orders in which kernels walk them.

    Tensors are int64. Source and destination sets may differ (pooling, ghost atoms).

    Attributes:
        src: Source of each edge, shape ``[E]``, in the caller's order of edges.
        dst: Destination of each edge, shape ``[E]``.
        by_dst: Edges sorted by destination, shape ``[E]``: ``dst[by_dst]`` ascends; equal ones keep their order.
        dst_ptr: Shape ``[num_dst + 1]``: those of destination n are ``by_dst[dst_ptr[n]:dst_ptr[n + 1]]``.
        by_src: The same by source, shape ``[E]``.
        src_ptr: Shape ``[num_src + 1]``.
        num_src: Number of sources.
        num_dst: Number of destinations.
    """

    src: Tensor
    dst: Tensor
    by_dst: Tensor
    dst_ptr: Tensor
    by_src: Tensor
    src_ptr: Tensor
    num_src: int
    num_dst: int


def edge_order(edge_index: Tensor, num_src: int, num_dst: int | None = None) -> EdgeOrder:
    """Check edges and sort them by destination and by source. Ops that take the result check no values again.

    Args:
        edge_index: Sources and destinations, shape ``[2, E]``, int64, edges in any order.
        num_src: Number of sources.
        num_dst: Number of destinations; as many as sources by default.

    Raises:
        ShapeError: If ``edge_index`` is not ``[2, E]`` or a number is negative.
        DtypeError: If it is not an int64 tensor.
        DataError: If an index is out of range (values are not looked at while a graph is traced, nor on meta).

    Example:
        >>> order = edge_order(torch.tensor([[0, 1, 2], [1, 0, 1]]), num_src=3)
        >>> order.by_dst, order.dst_ptr
        (tensor([1, 0, 2]), tensor([0, 1, 3, 3]))
    """
    if not isinstance(edge_index, Tensor) or edge_index.dtype != torch.int64:
        found = edge_index.dtype if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise DtypeError(f"edge_index needs an int64 tensor [2, E]; got {found}. Write edge_index.long().")
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise ShapeError(f"edge_index needs shape [2, E], sources above destinations; got {list(edge_index.shape)}.")
    num_dst = num_src if num_dst is None else num_dst
    if num_src < 0 or num_dst < 0:
        raise ShapeError(f"edge_order needs num_src and num_dst >= 0; got {num_src} and {num_dst}.")
    src, dst = edge_index.unbind(0)
    _check_range(src, num_src, "source")
    _check_range(dst, num_dst, "destination")
    return EdgeOrder(src, dst, *_sorted(dst, num_dst), *_sorted(src, num_src), num_src, num_dst)


def as_edge_order(edges: Tensor | EdgeOrder, num_src: int, num_dst: int | None = None) -> EdgeOrder:
    """Return ``edges`` if they are an ``EdgeOrder`` of these sizes already, else ``edge_order`` of them.

    Args:
        edges: ``edge_index [2, E]`` or an ``EdgeOrder``.
        num_src: Number of sources.
        num_dst: Number of destinations; by default that of the ``EdgeOrder``, or as many as sources.

    Raises:
        ShapeError: If an ``EdgeOrder`` is of other sizes; else as ``edge_order``.
        DtypeError: As ``edge_order``.
        DataError: As ``edge_order``.

    Example:
        >>> order = as_edge_order(torch.tensor([[0], [1]]), 2)
        >>> as_edge_order(order, 2) is order
        True
    """
    if not isinstance(edges, EdgeOrder):
        return edge_order(edges, num_src, num_dst)
    if edges.num_src != num_src or (num_dst is not None and edges.num_dst != num_dst):
        raise ShapeError(
            f"the EdgeOrder needs {num_src} sources and {edges.num_dst if num_dst is None else num_dst} destinations; "
            f"got one of {edges.num_src} and {edges.num_dst}. Make it with edge_order(edge_index, num_src, num_dst)."
        )
    return edges


def _check_range(index: Tensor, size: int, what: str) -> None:
    """Raise if an index is not in [0, size); tensors without values (tracing, meta) pass."""
    if torch.compiler.is_compiling() or type(index) is not Tensor or index.is_meta or index.numel() == 0:
        return
    outside = (index < 0) | (index >= size)
    if outside.any():
        edge = int(outside.nonzero()[0])
        raise DataError(
            f"edge_index needs each {what} in 0..{size - 1}; got {int(index[edge])} at edge {edge} "
            f"({int(outside.sum())} of {index.numel()} edges). Give the right num_src and num_dst, or mend the edges."
        )


def _sorted(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the stable order of ``index`` and where each value begins in it."""
    order = torch.argsort(index, stable=True)
    ptr = torch.searchsorted(index[order], torch.arange(size + 1, device=index.device))
    return order, ptr
