"""A tensor product on the edges of a graph, summed at their destinations, as one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from irrepnet.errors import ShapeError
from irrepnet.o3.tensor_product import TensorProduct
from irrepnet.ops.convolution import convolve
from irrepnet.ops.edge_order import EdgeOrder, as_edge_order

__all__ = ["TensorProductConv"]


class TensorProductConv(TensorProduct):
    r"""Sum, over the edges to a point, of the tensor product of the source's features with what lies on the edge.

    .. math:: \mathrm{out}_n = \sum_{e:\, \mathrm{dst}(e) = n} x_{\mathrm{src}(e)} \otimes_{w_e} y_e

    The products, their normalisation and the order of the weights are those of ``o3.TensorProduct`` with the same
    arguments. Where all paths are channelwise - ``uvu``, ``uvuv`` or ``uvw`` with one channel on the edges - products
    and sum run in one kernel, and no message is ever held in memory.

    Args:
        irreps_in: Irreps of the sources' features.
        irreps_edge: Irreps on the edges.
        irreps_out: Irreps of the result. What no path reaches is zero.
        instructions: Tuples ``(i_in, i_edge, i_out, mode, has_weight[, path_weight])``, as for ``o3.TensorProduct``.
        backend: "auto", "reference" or "fused"; see ``ops.convolve``.

    Attributes:
        weight_numel: Number W of weights of an edge.

    Raises:
        IrrepsError: As ``o3.TensorProduct``.
        IndexError: As ``o3.TensorProduct``.

    Reference: Thomas et al. 2018, Tensor Field Networks, arXiv:1802.08219, section 4.1.

    Example:
        >>> import torch
        >>> from irrepnet import nn
        >>> paths = [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True)]
        >>> conv = nn.TensorProductConv("8x0e", "0e + 1o", "8x0e + 8x1o", paths)
        >>> conv.weight_numel
        16
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 1]])  # sources above destinations
        >>> conv(torch.randn(3, 8), torch.randn(3, 4), torch.randn(3, 16), edge_index).shape
        torch.Size([3, 32])
    """

    def __init__(
        self,
        irreps_in: Any,
        irreps_edge: Any,
        irreps_out: Any,
        instructions: Sequence[tuple],
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            irreps_in,
            irreps_edge,
            irreps_out,
            instructions,
            internal_weights=False,
            shared_weights=False,
            backend=backend,
        )

    def forward(  # type: ignore[override]  # the same product, on a graph
        self,
        node_feats: Tensor,
        edge_sh: Tensor,
        weights: Tensor | None,
        edges: Tensor | EdgeOrder,
        num_dst: int | None = None,
    ) -> Tensor:
        """Convolve.

        Args:
            node_feats: Features of the sources, shape ``[N, irreps_in.dim]``.
            edge_sh: What lies on the edges, as a rule their spherical harmonics, shape ``[E, irreps_edge.dim]``.
            weights: Shape ``[E, weight_numel]``, or ``[weight_numel]`` for the same on all edges; None where there are
                none.
            edges: ``edge_index [2, E]`` (sources above destinations, edges in any order), or an ``EdgeOrder``.
            num_dst: Number of destinations, where they are not the sources.

        Returns:
            Shape ``[num_dst, irreps_out.dim]``; a plain sum, zero without neighbours.

        Raises:
            ShapeError: If a shape does not fit the irreps or the edges.
            DtypeError: If the operands and the layer are not of one floating-point dtype, or edges are not int64.
            DataError: If an edge points outside the points.
            BackendError: If the backend is unknown or cannot serve.
        """
        if node_feats.ndim != 2:
            raise ShapeError(
                f"TensorProductConv needs node_feats [N, {self.irreps_in1.dim}]; got {list(node_feats.shape)}."
            )
        order = as_edge_order(edges, node_feats.shape[0], num_dst)
        return convolve(node_feats, edge_sh, weights, order, self.plan, tables=self.tables, backend=self.backend)
