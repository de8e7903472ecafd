"""The convolution on points: what each neighbour is, times how it is seen, summed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.nn.radial_network import EdgeRadial, RadialNetwork
from irrepnet.nn.reach import require_reached
from irrepnet.nn.tensor_product_conv import TensorProductConv
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.edge_order import EdgeOrder, as_edge_order

__all__ = ["PointConvolution"]


class PointConvolution(nn.Module):
    r"""Convolve features on points with learned radial functions times spherical harmonics.

    .. math:: y_n = L\left( \frac{1}{\sqrt{Z}} \sum_{e:\, \mathrm{dst}(e) = n} w(r_e) \cdot
                    \left( x_{\mathrm{src}(e)} \otimes Y(\hat r_e) \right) \right)

    A neighbour's features x are multiplied with the spherical harmonics Y of the edge in every way that leads to an
    irrep of the output (a path); each channel of each path has its own learned radial function w(r), which ends
    smoothly at the cutoff; the messages are summed over the neighbours, and a linear map L mixes channels. Each of the
    three steps commutes with rotations and inversion, so the whole does, and it depends on differences of
    positions only.

    Args:
        irreps_in: Irreps of the sources' features.
        irreps_edge: Irreps on the edges, as a rule ``Irreps.spherical_harmonics(lmax)``.
        irreps_out: Irreps of the result.
        cutoff: Length at which an edge has no weight any more, Å.
        num_basis: Number of Bessel functions under the radial network.
        radial_decay: Power of their number that they are divided by; see ``RadialNetwork``.
        radial_hidden: Widths of the radial network's hidden layers.
        envelope_power: Power of the polynomial envelope.
        radial: "exact", the radial network at every edge, or "table", a spline through its values at knots; see
            ``RadialNetwork``.
        radial_knots: Number of knots of the table.
        num_edge_types: Number of types of edges, each with radial functions of its own; see ``RadialNetwork``.
        avg_num_neighbors: The constant Z, the usual number of neighbours: it keeps sums at unit scale.
        backend: "auto", "reference" or "fused"; see ``ops.convolve``.

    Attributes:
        irreps_mid: Irreps of the messages, one entry for each path, sorted.
        paths: What the paths couple, such as ``("16x0e", "1x1o", "16x1o")``.

    Raises:
        IrrepsError: If irreps cannot be read, or no path leads to one of the output; the message names it.
        ConfigError: If the cutoff, a size or ``avg_num_neighbors`` is not positive.
        BackendError: When called, if the backend is unknown or cannot serve.

    Reference: Thomas et al. 2018, Tensor Field Networks, arXiv:1802.08219, section 4.1.

    Example:
        >>> import torch
        >>> from irrepnet import nn, o3
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])  # water, Å
        >>> edge_index = torch.tensor([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]])
        >>> src, dst = edge_index
        >>> edge_vec = pos[dst] - pos[src]
        >>> convolution = nn.PointConvolution("8x0e", "0e + 1o + 2e", "16x0e + 8x1o + 4x2e", cutoff=3.0)
        >>> convolution.irreps_mid
        8x0e+8x1o+8x2e
        >>> edge_sh = o3.spherical_harmonics([0, 1, 2], edge_vec, normalize=True, normalization="component")
        >>> convolution(torch.randn(3, 8), edge_sh, edge_vec.norm(dim=1), edge_index).shape
        torch.Size([3, 60])
    """

    def __init__(  # noqa: PLR0913 - one flat list, as in the configuration of a model
        self,
        irreps_in: Any,
        irreps_edge: Any,
        irreps_out: Any,
        *,
        cutoff: float,
        num_basis: int = 8,
        radial_decay: float = 1.0,
        radial_hidden: Sequence[int] = (64, 64),
        envelope_power: int = 6,
        radial: str = "exact",
        radial_knots: int = 512,
        num_edge_types: int = 1,
        avg_num_neighbors: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_edge, self.irreps_out = Irreps(irreps_in), Irreps(irreps_edge), Irreps(irreps_out)
        if not 0 < avg_num_neighbors < math.inf:
            raise ConfigError(
                f"avg_num_neighbors needs a positive number; got {avg_num_neighbors}. Count edges / nodes."
            )
        self.avg_num_neighbors = float(avg_num_neighbors)
        self.product = _every_path(self.irreps_in, self.irreps_edge, self.irreps_out, backend)
        self.irreps_mid = self.product.irreps_out
        self.radial = RadialNetwork(
            cutoff,
            self.product.weight_numel,
            num_basis=num_basis,
            decay=radial_decay,
            hidden=radial_hidden,
            envelope_power=envelope_power,
            scale=self.avg_num_neighbors**-0.5,
            radial=radial,
            num_knots=radial_knots,
            num_edge_types=num_edge_types,
            backend=backend,
        )
        self.linear = Linear(self.irreps_mid.simplify(), self.irreps_out, backend=backend)

    @property
    def paths(self) -> list[tuple[str, str, str]]:
        """What each path couples: entry of the features, entry of the edges, entry of the messages."""
        irreps = self.irreps_in, self.irreps_edge, self.irreps_mid
        return [
            (str(irreps[0][ins.i_in1]), str(irreps[1][ins.i_in2]), str(irreps[2][ins.i_out]))
            for ins in self.product.instructions
        ]

    def forward(
        self,
        node_feats: Tensor,
        edge_sh: Tensor,
        edge_len: Tensor | EdgeRadial,
        edges: Tensor | EdgeOrder,
        num_dst: int | None = None,
    ) -> Tensor:
        """Convolve.

        Args:
            node_feats: Features of the sources, shape ``[num_src, irreps_in.dim]``.
            edge_sh: Spherical harmonics of the edges' directions, normalisation "component", shape
                ``[E, irreps_edge.dim]``.
            edge_len: Lengths, shape ``[E]``, Å; or what ``radial.prepare`` made of them once for all layers, and of
                their types if there are several. Beyond the cutoff an edge adds nothing.
            edges: ``edge_index [2, E]`` (sources above destinations, edges in any order), or an ``EdgeOrder`` made of
                it once for all layers.
            num_dst: Number of destinations, where they are not the sources.

        Returns:
            Features of the destinations, shape ``[num_dst, irreps_out.dim]``; zero without neighbours.

        Raises:
            ShapeError: If a shape does not fit the irreps or the edges.
            DtypeError: If the operands and the layer are not of one floating-point dtype, or edges are not int64.
            DataError: If an edge points outside the points.
        """
        order = as_edge_order(edges, node_feats.shape[0], num_dst)
        lengths = edge_len.edges[:, 0] if isinstance(edge_len, EdgeRadial) else edge_len
        if lengths.shape != order.src.shape:
            raise ShapeError(
                f"PointConvolution needs edge_len [E = {order.src.shape[0]}], one length per edge; "
                f"got {list(lengths.shape)}."
            )
        weights = self.radial(edge_len)  # [E, W]
        return self.linear(self.product(node_feats, edge_sh, weights, order, num_dst))

    def __repr__(self) -> str:
        irreps = f"{self.irreps_in} x {self.irreps_edge} -> {self.irreps_out}"
        numbers = f"{len(self.paths)} paths | {sum(p.numel() for p in self.parameters())} weights"
        return f"PointConvolution({irreps} | {numbers} | r < {self.radial.basis.cutoff})"


def _every_path(irreps_in: Irreps, irreps_edge: Irreps, irreps_out: Irreps, backend: str) -> TensorProductConv:
    """Return the product of features and edges, channel by channel, along every path to an irrep of the output."""
    wanted = {ir for mul, ir in irreps_out if mul}
    paths = []  # (irrep, entry of irreps_in, entry of irreps_edge)
    for i, (mul1, ir1) in enumerate(irreps_in):
        for j, (mul2, ir2) in enumerate(irreps_edge):
            paths += [(ir, i, j) for ir in ir1 * ir2 if mul1 and mul2]
    require_reached(
        "PointConvolution",
        f"irreps_in = '{irreps_in}' times irreps_edge = '{irreps_edge}'",
        irreps_out,
        [ir for ir, _, _ in paths],
    )
    paths = sorted(path for path in paths if path[0] in wanted)
    irreps_mid = Irreps([(irreps_in[i].mul, ir) for ir, i, _ in paths])
    instructions = [(i, j, k, "uvu", True) for k, (_, i, j) in enumerate(paths)]
    return TensorProductConv(irreps_in, irreps_edge, irreps_mid, instructions, backend=backend)
