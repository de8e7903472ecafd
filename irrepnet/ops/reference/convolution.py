"""The definition of the convolution, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from irrepnet.ops.blocks import Block, cut, join, together
from irrepnet.ops.edge_order import EdgeOrder
from irrepnet.ops.product_plan import ProductPlan
from irrepnet.ops.reference.contraction import contract

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
    # Blocks are cut and laid side by side on the nodes, before the gather and after the sum: there are far fewer nodes
    # than edges, so nothing of size [E, dim] is copied for it, here or in the derivatives.
    node_blocks = cut(node_feats, (path.in1 for path in plan.paths))
    at_edges: dict[tuple[Block, ...], Tensor] = {}

    def gathered(wanted: tuple[Block, ...]) -> Tensor:
        if wanted not in at_edges:
            at_edges[wanted] = together(node_blocks, wanted).contiguous().index_select(0, order.src)
        return at_edges[wanted]

    sums: dict[Block, Tensor] = {}
    for numbers, messages in contract(plan, gathered, edge_sh, weights, tables):
        paths = [plan.paths[number] for number in numbers]
        total = messages.new_zeros(order.num_dst, *messages.shape[1:]).index_add(0, order.dst, messages)
        for path, part in zip(paths, total.split([path.out.dim for path in paths], dim=1), strict=True):
            sums[path.out] = sums[path.out] + part if path.out in sums else part
    return join(sums, plan.dim_out, like=node_feats.new_empty(order.num_dst, 0))
