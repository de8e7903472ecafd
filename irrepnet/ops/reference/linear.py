"""Linear maps of channels in plain PyTorch: one matrix product per path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from irrepnet.ops.blocks import Block, cut, join

if TYPE_CHECKING:
    from irrepnet.ops.linear import LinearPlan

__all__ = ["linear"]


def linear(x: Tensor, weights: Tensor, plan: LinearPlan, species: Tensor | None = None) -> Tensor:
    """Compute ``irrepnet.ops.linear`` by its definition: see there.

    Example:
        >>> from irrepnet.ops.linear import LinearPath, LinearPlan
        >>> plan = LinearPlan(2, 1, 2, (LinearPath(Block(0, 2, 1), Block(0, 1, 1), 0, 1.0),))
        >>> linear(torch.tensor([[2.0, 3.0]]), torch.tensor([1.0, 10.0]), plan)
        tensor([[32.]])
    """
    if species is None and weights.ndim == 1 and plan.is_matrix:
        (path,) = plan.paths
        matrix = weights.view(path.source.mul, path.target.mul)
        return torch.addmm(x.new_zeros(()), x, matrix, beta=0, alpha=path.scale)
    weights = weights if species is None else weights[species]  # [(Z,) weight_numel]
    blocks = cut(x, (path.source for path in plan.paths))
    sums: dict[Block, Tensor] = {}
    for source, target, offset, scale in plan.paths:
        W = weights[..., offset : offset + source.mul * target.mul].unflatten(-1, (source.mul, target.mul)) * scale
        z = blocks[source] @ W if W.ndim == 3 else _rows(blocks[source], W)  # [Z, component, channel]
        sums[target] = sums[target] + z if target in sums else z
    return join(sums, plan.dim_out, x[:, :0])


def _rows(x: Tensor, W: Tensor) -> Tensor:
    """Multiply all rows and components at once; PyTorch would make one small product of each row."""
    return (x.contiguous().flatten(0, 1) @ W).unflatten(0, x.shape[:2])
