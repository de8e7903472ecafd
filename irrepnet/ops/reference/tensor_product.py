"""The definition of the tensor product, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import ShapeError
from irrepnet.ops.blocks import Block, cut, join, together
from irrepnet.ops.product_plan import ProductPlan
from irrepnet.ops.reference.contraction import contract

__all__ = ["broadcast_rows", "flat_rows", "tensor_product"]


def tensor_product(x: Tensor, y: Tensor, weights: Tensor | None, plan: ProductPlan, tables: Tensor) -> Tensor:
    """Multiply row by row: the message of every path, those of one output block summed.

    Args:
        x: Shape ``[..., dim1]``; leading axes of the operands broadcast.
        y: Shape ``[..., dim2]``.
        weights: Shape ``[..., weight_numel]`` or ``[weight_numel]``.
        plan: The product.
        tables: ``plan.tables(...)``.

    Returns:
        Shape ``[..., dim_out]``.

    Raises:
        ShapeError: If leading axes do not broadcast.
    """
    batch = broadcast_rows(x, y, weights)
    x, y = flat_rows(x, batch), flat_rows(y, batch)
    if weights is not None and weights.ndim > 1:
        weights = flat_rows(weights, batch)
    blocks = cut(x, (path.in1 for path in plan.paths))
    sums: dict[Block, Tensor] = {}
    for numbers, messages in contract(plan, lambda wanted: together(blocks, wanted), y, weights, tables):
        paths = [plan.paths[number] for number in numbers]
        for path, message in zip(paths, messages.split([path.out.dim for path in paths], dim=1), strict=True):
            sums[path.out] = sums[path.out] + message if path.out in sums else message
    return join(sums, plan.dim_out, like=x).reshape(*batch, plan.dim_out)


def broadcast_rows(x: Tensor, y: Tensor, weights: Tensor | None) -> torch.Size:
    """Return the leading axes that the operands broadcast to; weights of one axis are the same for all rows.

    Raises:
        ShapeError: If leading axes do not broadcast.
    """
    batched = [operand for operand in (x, y, weights) if operand is not None and operand.ndim > 1]
    if all(operand.shape[:-1] == batched[0].shape[:-1] for operand in batched):
        return batched[0].shape[:-1] if batched else torch.Size()
    try:
        return torch.broadcast_shapes(*(operand.shape[:-1] for operand in batched))  # imports sympy: not for all
    except RuntimeError as error:
        shapes = " and ".join(str(list(operand.shape)) for operand in batched)
        raise ShapeError(f"tensor_product needs operands whose leading axes broadcast; got {shapes}.") from error


def flat_rows(operand: Tensor, batch: torch.Size) -> Tensor:
    """Broadcast leading axes and make them one: ``[rows, columns]``."""
    if operand.ndim == 2 and operand.shape[:-1] == batch:
        return operand
    rows = 1
    for size in batch:
        rows = rows * size
    return operand.expand(*batch, operand.shape[-1]).reshape(rows, operand.shape[-1])
