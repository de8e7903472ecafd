"""From features of nodes to what is asked of a graph: an extensive scalar, or any irreps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, ShapeError, did_you_mean
from irrepnet.nn.activation import Activation
from irrepnet.nn.reach import require_reached
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.scatter import scatter_sum

__all__ = ["IrrepsReadout", "ScalarReadout", "sum_pool"]


def sum_pool(values: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Sum the values of the nodes of each graph, in float64 whatever their dtype.

    Args:
        values: One row per node, shape ``[N, ...]``.
        batch: Graph of each node, int64, shape ``[N]``, from 0 to num_graphs - 1, in any order.
        num_graphs: Number of graphs; one without nodes gets zero.

    Returns:
        Shape ``[num_graphs, ...]``, float64.

    Raises:
        ShapeError: If ``batch`` does not have one entry per node.
        DtypeError: If ``batch`` is not int64.

    Example:
        >>> sum_pool(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 1]), num_graphs=2)
        tensor([1., 6.], dtype=torch.float64)
    """
    return scatter_sum(values.double(), batch, num_graphs)


class ScalarReadout(nn.Module):
    r"""Extensive scalar of a graph, such as an energy: a small network on the scalars of each node, summed.

    .. math:: E_b = \sum_{n \in b} \mathrm{MLP}(x_n^{0e})

    Linear maps without bias and SiLU between them; the sum over nodes is made in float64.

    Args:
        irreps_in: Irreps of the nodes; their ``0e`` are read.
        hidden: Widths of the hidden layers; none for a linear readout.

    Raises:
        IrrepsError: If there is no ``0e`` in ``irreps_in``.
        ConfigError: If a width is not positive.

    Example:
        >>> readout = ScalarReadout("16x0e + 8x1o")
        >>> node_feats, batch = torch.randn(5, 40), torch.tensor([0, 0, 1, 1, 1])
        >>> readout(node_feats, batch, num_graphs=2).shape
        torch.Size([2])
        >>> readout.per_node(node_feats).shape
        torch.Size([5])
    """

    def __init__(self, irreps_in: Any, *, hidden: Sequence[int] = (16,)) -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        require_reached(
            "ScalarReadout", f"irreps_in = '{self.irreps_in}'", Irreps("0e"), [ir for mul, ir in self.irreps_in if mul]
        )
        if any(width < 1 for width in hidden):
            raise ConfigError(f"ScalarReadout needs hidden widths >= 1; got {tuple(hidden)}.")
        sizes = [self.irreps_in, *[Irreps([(width, Irrep("0e"))]) for width in hidden], Irreps("0e")]
        layers: list[nn.Module] = []
        for irreps, irreps_next in itertools.pairwise(sizes):
            layers += [Linear(irreps, irreps_next), Activation(irreps_next, [silu], second_moment="exact")]
        self.network = nn.Sequential(*layers[:-1])

    def forward(self, node_feats: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Return the scalar of each graph.

        Args:
            node_feats: Shape ``[N, irreps_in.dim]``.
            batch: Graph of each node, int64, shape ``[N]``.
            num_graphs: Number of graphs.

        Returns:
            Shape ``[num_graphs]``, float64.

        Raises:
            ShapeError: If a shape does not fit.
            DtypeError: If ``batch`` is not int64, or features and weights differ in dtype or device.
        """
        return sum_pool(self.per_node(node_feats), batch, num_graphs)

    def per_node(self, node_feats: Tensor) -> Tensor:
        """Return what each node adds, shape ``[N]``, in the dtype of the features."""
        return self.network(node_feats).squeeze(-1)

    def __repr__(self) -> str:
        maps = [layer for layer in self.network if isinstance(layer, Linear)]
        widths = " -> ".join(str(layer.irreps_out) for layer in maps)
        return f"ScalarReadout({self.irreps_in} -> {widths} | {sum(layer.weight_numel for layer in maps)} weights)"


class IrrepsReadout(nn.Module):
    """Linear readout of any irreps, of each node or of each graph: charges, a dipole, a polarisability.

    Args:
        irreps_in: Irreps of the nodes.
        irreps_out: Irreps of the result.
        reduce: ``"none"`` for a result per node, ``"sum"`` or ``"mean"`` over the nodes of each graph.

    Raises:
        IrrepsError: If an irrep of the output is not in the input.
        ConfigError: If ``reduce`` is unknown.

    Example:
        >>> dipole = IrrepsReadout("16x0e + 8x1o", "1o", reduce="sum")
        >>> dipole(torch.randn(5, 40), torch.tensor([0, 0, 1, 1, 1]), num_graphs=2).shape
        torch.Size([2, 3])
    """

    def __init__(self, irreps_in: Any, irreps_out: Any, *, reduce: str = "none") -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.reduce = Irreps(irreps_in), Irreps(irreps_out), reduce
        if reduce not in ("none", "sum", "mean"):
            hint = did_you_mean(str(reduce), ("none", "sum", "mean"))
            raise ConfigError(f"IrrepsReadout needs reduce 'none', 'sum' or 'mean'; got {reduce!r}.{hint}")
        inputs = f"irreps_in = '{self.irreps_in}'"
        require_reached("IrrepsReadout", inputs, self.irreps_out, [ir for mul, ir in self.irreps_in if mul])
        self.linear = Linear(self.irreps_in, self.irreps_out)

    def forward(self, node_feats: Tensor, batch: Tensor | None = None, num_graphs: int | None = None) -> Tensor:
        """Read the features.

        Args:
            node_feats: Shape ``[N, irreps_in.dim]``.
            batch: Graph of each node, int64, shape ``[N]``; needed unless ``reduce`` is "none".
            num_graphs: Number of graphs; likewise.

        Returns:
            Shape ``[N, irreps_out.dim]`` in the dtype of the features, or ``[num_graphs, irreps_out.dim]`` in float64;
            zero for a graph without nodes.

        Raises:
            ShapeError: If a shape does not fit, or batch and num_graphs are needed and not given.
            DtypeError: If ``batch`` is not int64, or features and weights differ in dtype or device.
        """
        values = self.linear(node_feats)
        if self.reduce == "none":
            return values
        if batch is None or num_graphs is None:
            raise ShapeError(f"IrrepsReadout(reduce={self.reduce!r}) needs batch [N] and num_graphs in the call.")
        total = sum_pool(values, batch, num_graphs)
        if self.reduce == "sum":
            return total
        count = sum_pool(torch.ones_like(batch), batch, num_graphs).clamp(min=1)
        return total / count.unsqueeze(-1)

    def __repr__(self) -> str:
        reduced = "" if self.reduce == "none" else f" | {self.reduce}"
        return f"IrrepsReadout({self.irreps_in} -> {self.irreps_out}{reduced} | {self.linear.weight_numel} weights)"
