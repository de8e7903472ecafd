"""Sums of rows by index."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError

__all__ = ["scatter_sum"]


def scatter_sum(values: Tensor, index: Tensor, num_out: int) -> Tensor:
    r"""Add rows up by index, :math:`\mathrm{out}_n = \sum_{i:\, \mathrm{index}_i = n} \mathrm{values}_i`.

    ``index_add``, because its derivatives are right to every order (those of segment reductions in common libraries
    are not).

    Args:
        values: Shape ``[rows, ...]``.
        index: Row of the result that each one goes to, int64 ``[rows]``, in any order, within ``num_out``.
        num_out: Number of rows of the result.

    Returns:
        Shape ``[num_out, ...]``; zero where nothing is added.

    Raises:
        ShapeError: If ``index`` does not have one entry for each row.
        DtypeError: If ``index`` is not int64.

    Example:
        >>> scatter_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 0, 1]), 3)
        tensor([2., 5., 0.])
    """
    if index.dtype != torch.int64:
        raise DtypeError(f"scatter_sum needs an int64 index; got {index.dtype}. Write index.long().")
    if values.ndim == 0 or index.ndim != 1 or index.shape[0] != values.shape[0]:
        raise ShapeError(
            f"scatter_sum needs values [rows, ...] and index [rows]; got {list(values.shape)} and {list(index.shape)}."
        )
    return values.new_zeros(num_out, *values.shape[1:]).index_add(0, index, values)
