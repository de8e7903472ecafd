"""The definition of the reading of a radial table, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

__all__ = ["read_table"]


def read_table(b: Tensor, row: Tensor, table: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{out}_e = \sum_{a<4} b_{ea} \, \mathrm{table}_{\mathrm{row}_e + a}`.

    Args:
        b: Weights of the rows, shape ``[E, 4]``.
        row: First of the four rows that each edge reads, int64 ``[E]``.
        table: Shape ``[rows, W]``.

    Returns:
        Shape ``[E, W]``.

    Example:
        >>> import torch
        >>> read_table(torch.tensor([[1.0, 1.0, 0.0, 2.0]]), torch.tensor([1]), torch.arange(5.0)[:, None])
        tensor([[11.]])
    """
    first, *others = [b[:, a, None] * table.index_select(0, row + a) for a in range(4)]
    return sum(others, first)
