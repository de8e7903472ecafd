"""The op that carries the framework: gather, tensor product with what lies on the edges, sum over neighbours."""

from __future__ import annotations

from torch import Tensor

from irrepnet.errors import ShapeError
from irrepnet.ops._autocast import without_autocast
from irrepnet.ops._backend import choose
from irrepnet.ops._convolution import fused_convolve
from irrepnet.ops.edge_order import EdgeOrder
from irrepnet.ops.product_plan import ProductPlan
from irrepnet.ops.reference import convolution as reference
from irrepnet.ops.tensor_product import check_operands, fused_obstacle, fused_product

__all__ = ["convolve"]


def convolve(
    node_feats: Tensor,
    edge_sh: Tensor,
    weights: Tensor | None,
    order: EdgeOrder,
    plan: ProductPlan,
    *,
    tables: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Multiply the features of each edge's source with what lies on the edge, and sum at the destinations.

    .. math:: \mathrm{out}_n = \sum_{e:\, \mathrm{dst}(e) = n} \mathrm{plan}(\mathrm{node\_feats}_{\mathrm{src}(e)},
        \mathrm{edge\_sh}_e, \mathrm{weights}_e)

    Args:
        node_feats: Features of the sources, shape ``[num_src, dim1]``.
        edge_sh: Second factor of each edge, as a rule its spherical harmonics, shape ``[E, dim2]``.
        weights: Shape ``[E, weight_numel]``, or ``[weight_numel]`` for the same on all edges; None where the plan has
            none.
        order: The edges, from ``edge_order``; checked there.
        plan: The product.
        tables: ``plan.tables(dtype, device)``, if the caller keeps them; else they are made on each call.
        backend: "auto", "reference" or "fused". One kernel does all for plans whose paths are all channelwise; for
            others, messages are made and summed.

    Returns:
        Shape ``[num_dst, dim_out]``; a plain sum, zero for a destination without edges.

    Raises:
        ShapeError: If an operand does not fit the plan or the edges.
        DtypeError: If the operands do not share one floating-point dtype.
        BackendError: If the backend is unknown or cannot serve.

    Reference: Thomas et al. 2018, arXiv:1802.08219, section 4.1.

    Example:
        >>> import torch
        >>> from irrepnet.ops import Block, Coupling, ProductPath, ProductPlan, edge_order
        >>> path = ProductPath(Block(0, 2, 1), Block(0, 1, 1), Block(0, 2, 1), "uvu", 0, None, 1.0)
        >>> plan = ProductPlan(2, 1, 2, 0, (path,), (Coupling((1, 1, 1), (1.0,)),))
        >>> order = edge_order(torch.tensor([[0, 1], [1, 1]]), num_src=2)
        >>> convolve(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(2, 1), None, order, plan)
        tensor([[0., 0.],
                [4., 6.]])
    """
    named = {
        "node_feats": (node_feats, plan.dim1),
        "edge_sh": (edge_sh, plan.dim2),
        "weights": (weights, plan.weight_numel),
    }
    node_feats, edge_sh, weights, tables = check_operands("convolve", named, plan, tables)
    num_edges = order.src.shape[0]
    rows = [("node_feats", node_feats, order.num_src, "num_src"), ("edge_sh", edge_sh, num_edges, "E")]
    if weights is not None and weights.ndim > 1:
        rows.append(("weights", weights, num_edges, "E"))
    for name, operand, needed, letter in rows:
        if operand.ndim != 2 or operand.shape[0] != needed:
            raise ShapeError(
                f"convolve needs {name} [{letter} = {needed}, {operand.shape[-1]}]; got {list(operand.shape)}."
            )
    obstacle = fused_obstacle(plan, node_feats.device)
    if choose(backend, "convolve", node_feats, edge_sh, weights, obstacle=obstacle) == "fused":
        if plan.panel_paths is None:
            messages = fused_product(node_feats.index_select(0, order.src), edge_sh, weights, plan, tables)
            return messages.new_zeros(order.num_dst, plan.dim_out).index_add(0, order.dst, messages)
        panels = tables[plan.panel_offset :]
        edges = order.src, order.by_dst, order.dst_ptr
        return fused_convolve(node_feats, edge_sh, weights, *edges, panels, plan.panel_paths, plan.dim_out)
    with without_autocast(node_feats.device):
        return reference.convolve(node_feats, edge_sh, weights, order, plan, tables)
