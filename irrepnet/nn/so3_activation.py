"""Nonlinearity on the group of rotations: sample the signal, apply a function, read off coefficients again."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.math.normalize2mom import normalize2mom
from irrepnet.nn.runs import Function, function_name
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.so3grid import SO3Grid
from irrepnet.o3.su2 import degree

__all__ = ["SO3Activation"]


class SO3Activation(torch.nn.Module):
    r"""Apply a function to the values of a signal on SO(3).

    .. math:: F^l \mapsto \int \phi\Big(\sum_j F^j \cdot D^j(g)\Big)\, D^l(g)\, dg

    The integral is a sum over a grid, so this is equivariant up to an error that falls with the resolution. Functions
    are normalised as in ``Activation``. Under autocast sums over the grid are computed in the
    dtype of the module.

    Args:
        lmax_in: Highest degree of the input.
        lmax_out: Highest degree of the output.
        act: Elementwise function :math:`\phi`.
        resolution: Half the number of polar angles; see ``SO3Grid``.
        normalization: "component", the only one there is.
        aspect_ratio: Angles alpha (and gamma) for each beta.
        second_moment: "e3nn" or "exact"; see ``Activation``.

    Attributes:
        irreps_in: ``2l+1`` irreps of each degree l up to ``lmax_in``, all written as even: the group has no inversion.
        irreps_out: The same up to ``lmax_out``.
        grid_in: The ``SO3Grid`` of the input.
        grid_out: That of the output; the same one if the degrees are.
        act: The function, normalised.

    Raises:
        IrrepsError: If ``lmax_in`` or ``lmax_out`` is not a degree.
        ConfigError: If the grid is too coarse, or an option is unknown.

    Reference: Cohen et al. 2018, Spherical CNNs, arXiv:1801.10130.

    Example:
        >>> act = SO3Activation(1, 2, torch.tanh, 4)
        >>> act
        SO3Activation(1x0e+3x1e -> 1x0e+3x1e+5x2e | tanh on 16x8x16)
        >>> act(torch.randn(5, 10)).shape
        torch.Size([5, 35])
    """

    def __init__(
        self,
        lmax_in: int,
        lmax_out: int,
        act: Function,
        resolution: int,
        *,
        normalization: str = "component",
        aspect_ratio: float = 2,
        second_moment: str = "e3nn",
    ) -> None:
        super().__init__()
        self.lmax_in, self.lmax_out = degree(lmax_in), degree(lmax_out)
        self.grid_in = self.grid_out = SO3Grid(
            lmax_in, resolution, normalization=normalization, aspect_ratio=aspect_ratio
        )
        if self.lmax_out != self.lmax_in:
            self.grid_out = SO3Grid(lmax_out, resolution, normalization=normalization, aspect_ratio=aspect_ratio)
        self.irreps_in, self.irreps_out = _signal(self.lmax_in), _signal(self.lmax_out)
        self.act = normalize2mom(act, second_moment=second_moment)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the function.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
            DtypeError: If dtype or device are not those of the module.
        """
        return self.grid_out.from_grid(self.act(self.grid_in.to_grid(features)))

    def __repr__(self) -> str:
        grid = f"{self.grid_in.res_alpha}x{self.grid_in.res_beta}x{self.grid_in.res_gamma}"
        return f"SO3Activation({self.irreps_in} -> {self.irreps_out} | {function_name(self.act)} on {grid})"


def _signal(lmax: int) -> Irreps:
    """Return the irreps of a signal on SO(3) under rotations."""
    return Irreps([(2 * l + 1, (l, 1)) for l in range(lmax + 1)])
