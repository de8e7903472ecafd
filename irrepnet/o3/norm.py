"""Length of every irrep of a feature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.saved_constants import without_constants

__all__ = ["Norm"]


class Norm(torch.nn.Module):
    r"""Length of every irrep, :math:`\|x_u\| = \sqrt{\sum_m x_{um}^2}`.

    Where an irrep is zero its length has no derivative; the first and second are taken as zero there, so that no
    gradient is NaN.

    Args:
        irreps_in: Irreps of the input; neighbours of one kind are merged.
        squared: Whether to return the squares of the lengths.

    Attributes:
        irreps_out: One ``0e`` for every irrep of the input.

    Raises:
        IrrepsError: If the irreps are not valid.

    Example:
        >>> norm = Norm("17x1o + 2e")
        >>> norm
        Norm(17x1o+1x2e -> 18x0e)
        >>> norm(torch.ones(7, 56))[0, -1].square().round()
        tensor(5.)
    """

    def __init__(self, irreps_in: Any, squared: bool = False) -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps_in).simplify()
        self.irreps_out = Irreps([(mul, (0, 1)) for mul, _ in self.irreps_in]).simplify()
        self.squared = squared
        self._entries = [(mul, ir.dim) for mul, ir in self.irreps_in]

    def forward(self, features: Tensor) -> Tensor:
        """Return the lengths.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If the last axis does not fit.
            DtypeError: If the features are not floating-point numbers.
        """
        if not isinstance(features, Tensor) or not features.is_floating_point():
            found = features.dtype if isinstance(features, Tensor) else type(features).__name__
            raise DtypeError(f"Norm needs features as a floating-point tensor; got {found}.")
        if features.shape[-1:] != (self.irreps_in.dim,):
            raise ShapeError(
                f"Norm needs features [..., {self.irreps_in.dim}] for irreps_in = {self.irreps_in}; "
                f"got features {list(features.shape)}."
            )
        pieces = features.square().split([mul * dim for mul, dim in self._entries], dim=-1)
        sums = [
            piece if dim == 1 else piece.unflatten(-1, (mul, dim)).sum(-1)
            for piece, (mul, dim) in zip(pieces, self._entries, strict=True)
        ]
        squares = torch.cat(sums, dim=-1) if sums else features
        if self.squared:
            return squares
        zero = squares == 0
        # The root is taken of 1 in place of 0: its derivatives are finite and do not reach the result.
        return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load nothing; the norm of e3nn saves the constants of a product."""
        super()._load_from_state_dict(without_constants(state_dict, prefix, ("tp.",)), prefix, *args)

    def __repr__(self) -> str:
        return f"Norm({self.irreps_in} -> {self.irreps_out}{' | squared' if self.squared else ''})"
