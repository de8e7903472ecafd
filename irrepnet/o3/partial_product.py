"""A tensor product whose second factor is given: what remains is a matrix from the first input to the output."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.o3.weights import broadcast_axes
from irrepnet.ops._autocast import without_autocast
from irrepnet.ops.product_plan import ProductPath, ProductPlan

__all__ = ["partial_product"]

# With A[v, i, k] = sum_j C[i, j, k] y[v, j], the weights of a path make its matrix [u, i, w, k] in one step or in two;
# the second lays channels that stay the same on a diagonal. p numbers the pairs u < v; A is then taken at their v.
# For uvw, which needs no einsum, see below.
_STEPS: dict[str, tuple[str, str | None]] = {
    "uvu": ("...uv,...vik->...uik", "...uik,uw->...uiwk"),
    "uvv": ("...uv,...vik->...uivk", None),
    "uuw": ("...uw,...uik->...uiwk", None),
    "uuu": ("...u,...uik->...uik", "...uik,uw->...uiwk"),
    "uvuv": ("...uv,...vik->...uvik", "...uvik,uw->...uiwvk"),
    "uvu<v": ("...p,...pik->...pik", "...pik,up->...uipk"),
    "u<vw": ("...pw,...pik->...piwk", "...piwk,up->...uiwk"),
}


def partial_product(y: Tensor, weights: Tensor | None, plan: ProductPlan) -> Tensor:
    r"""Return the matrices B of a product, :math:`(x \otimes y)_k = \sum_i x_i B_{ik}`.

    Args:
        y: Second input, shape ``[..., dim2]``.
        weights: Shape ``[weight_numel]``, or ``[..., weight_numel]`` with leading axes that broadcast with those of y;
            None where the plan has none.
        plan: The product.

    Returns:
        Shape ``[..., dim1, dim_out]``.

    Raises:
        ShapeError: If leading axes do not broadcast.

    Example:
        >>> from irrepnet.o3 import TensorProduct
        >>> cross = TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)])
        >>> partial_product(torch.tensor([0.0, 0.0, 2.0**0.5]), None, cross.plan).round() + 0.0
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.],
                [ 0.,  0.,  0.]])
    """
    if weights is not None and weights.ndim > 1 and weights.shape[:-1] != y.shape[:-1]:
        batch = broadcast_axes("partial_product", {"y": y.shape[:-1], "weight": weights.shape[:-1]})
        y, weights = y.expand(*batch, plan.dim2), weights.expand(*batch, plan.weight_numel)
    batch = y.shape[:-1]
    tiles: dict[tuple[tuple[int, int], tuple[int, int]], Tensor] = {}
    with without_autocast(y.device):
        for path in plan.paths:
            rows, columns = (path.in1.offset, path.in1.end), (path.out.offset, path.out.end)
            C = path.scale * plan.couplings[path.coupling].dense()
            tile = _tile(path, y, C.to(y), _path_weights(path, weights, y))
            tile = tile.reshape(*batch, rows[1] - rows[0], columns[1] - columns[0])
            tiles[rows, columns] = tiles[rows, columns] + tile if (rows, columns) in tiles else tile
    if not tiles:
        return y.new_zeros(*batch, plan.dim1, plan.dim_out)
    all_columns = _cover({columns for _, columns in tiles}, plan.dim_out)
    lines = []
    for rows in _cover({rows for rows, _ in tiles}, plan.dim1):
        line = [
            tiles[rows, columns]
            if (rows, columns) in tiles
            else y.new_zeros(*batch, rows[1] - rows[0], columns[1] - columns[0])
            for columns in all_columns
        ]
        lines.append(torch.cat(line, dim=-1))
    return torch.cat(lines, dim=-2)


def _path_weights(path: ProductPath, weights: Tensor | None, like: Tensor) -> Tensor:
    """Return the weights of a path, ``[..., *weight_shape]``; ones for a path without."""
    shape = path.needed_weight_shape
    if path.weight_offset is None or weights is None:
        return like.new_ones(shape)
    numel = 1
    for size in shape:
        numel *= size
    return weights[..., path.weight_offset : path.weight_offset + numel].unflatten(-1, shape)


def _tile(path: ProductPath, y: Tensor, C: Tensor, weights: Tensor) -> Tensor:
    """Return the matrix of one path, ``[..., u, i, w, k]`` or, for ``uvuv``, ``[..., u, i, u, v, k]``."""
    i, j, k = C.shape
    y = y[..., path.in2.offset : path.in2.end].unflatten(-1, (path.in2.mul, j))
    A = y @ C.transpose(0, 1).reshape(j, i * k)  # [..., v, i * k]
    if path.mode == "uvw":  # one large product of matrices, faster than what einsum finds
        out = A.mT @ weights.transpose(-3, -2).flatten(-2)  # [..., i * k, u * w]
        out = out.unflatten(-1, (path.in1.mul, path.out.mul)).unflatten(-3, (i, k))
        return out.movedim((-2, -4, -1, -3), (-4, -3, -2, -1))
    A = A.unflatten(-1, (i, k))
    diagonal = torch.eye(path.in1.mul, dtype=y.dtype, device=y.device)
    if path.mode in ("uvu<v", "u<vw"):
        u, v = torch.triu_indices(path.in1.mul, path.in2.mul, 1, device=y.device)
        A, diagonal = A.index_select(-3, v), diagonal.index_select(1, u)
    first, second = _STEPS[path.mode]
    out = torch.einsum(first, weights, A)
    return out if second is None else torch.einsum(second, out, diagonal)


def _cover(used: set[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return intervals that lie apart, and those between them, from 0 to the size."""
    out, end = [], 0
    for start, stop in sorted(used):
        out += [(end, start), (start, stop)]
        end = stop
    return [(start, stop) for start, stop in [*out, (end, size)] if start < stop]
