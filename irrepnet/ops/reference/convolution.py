"""The definition of the convolution, in plain PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from irrepnet.ops.blocks import Block, cut, join
from irrepnet.ops.edge_order import EdgeOrder
from irrepnet.ops.reference.contraction import contract

if TYPE_CHECKING:
    from irrepnet.ops.tensor_product import ProductPlan

__all__ = ["convolve"]


def convolve(
    node_feats: Tensor, edge_sh: Tensor, weights: Tensor | None, order: EdgeOrder, plan: ProductPlan, tables: Tensor
) -> Tensor:
    """Gather sources, take the product with what lies on each edge, add the messages up at the destinations.

    Args:
        node_feats: Shape ``[num_src, dim1]``.
        edge_sh: Shape ``[E, dim2]``.
        weights: Shape ``[E, weight_numel]`` or ``[weight_numel]``.
        order: The edges.
        plan: The product.
        tables: ``plan.tables(...)``.

    Returns:
        Shape ``[num_dst, dim_out]``.
    """
    # Blocks are cut on the nodes, and messages are added up block by block: there are far fewer nodes than edges, so
    # nothing of size [E, dim] is ever cut or laid side by side, here or in the derivatives.
    node_blocks = cut(node_feats, (path.in1 for path in plan.paths))
    blocks = {block: feats.contiguous().index_select(0, order.src) for block, feats in node_blocks.items()}
    sums: dict[Block, Tensor] = {}
    for path, message in zip(plan.paths, contract(plan, blocks, edge_sh, weights, tables), strict=True):
        if path.out not in sums:
            sums[path.out] = message.new_zeros(order.num_dst, path.out.dim, path.out.mul)
        sums[path.out] = sums[path.out].index_add(0, order.dst, message)
    return join(sums, plan.dim_out, like=node_feats.new_empty(order.num_dst, 0))
