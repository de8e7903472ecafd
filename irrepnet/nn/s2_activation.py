"""Nonlinearity on the sphere: sample the signal, apply a function to the values, read off coefficients again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import IrrepsError
from irrepnet.math.normalize2mom import normalize2mom
from irrepnet.nn.activation import Activation
from irrepnet.nn.runs import Function, function_name
from irrepnet.o3.grid_module import in_own_dtype, need_kind
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.rotation_group import rand_angles
from irrepnet.o3.s2grid import FromS2Grid, ToS2Grid
from irrepnet.o3.sphere_tables import Resolution, complete_resolution
from irrepnet.o3.su2 import degree

__all__ = ["S2Activation"]


class S2Activation(torch.nn.Module):
    r"""Apply a function to the values of a signal on the sphere.

    .. math:: F^l \mapsto \int \phi\Big(\sum_j F^j \cdot Y^j(x)\Big)\, Y^l(x)\, dx

    The integral is a sum over a grid, so this is equivariant up to an error that falls with the resolution: like a
    power of it for a function with a kink, exponentially for a smooth one. It is exact for a polynomial of degree k if
    both ``res_beta`` and ``res_alpha`` exceed ``k * lmax + lmax_out``; an even ``res`` alone gives
    ``res_alpha = res - 1``. Functions are normalised as in ``Activation``. Under autocast sums over the grid are
    computed in the dtype of the module.

    Args:
        irreps: Irreps of the signal, one for each degree from 0 to lmax, of parity :math:`p_v` or :math:`p_v (-1)^l`.
        act: Elementwise function :math:`\phi`. Where :math:`p_v = -1` it has to be odd or even.
        res: Resolution of the grid, ``res_beta`` or ``(res_beta, res_alpha)``; see ``ToS2Grid``.
        normalization: "component" (the default), "norm" or "integral"; see ``ToS2Grid``.
        lmax_out: Highest degree of the output; by default that of the input.
        random_rot: Whether to turn the grid at random in each call (with torch's generator), so that the error is
            without bias.
        second_moment: "e3nn" or "exact"; see ``Activation``.
        allow_aliasing: Allow grids too coarse for the degrees, as e3nn does; the output is then not equivariant.

    Attributes:
        irreps_in: Irreps of the signal.
        irreps_out: Irreps from degree 0 to ``lmax_out``, with the parity that the function gives.
        to_s2: The ``ToS2Grid``.
        from_s2: The ``FromS2Grid``.
        act: The function, normalised.

    Raises:
        IrrepsError: If irreps are not those of a signal, or the function violates their parity.
        ConfigError: If the grid is too coarse, or an option is unknown.

    Reference: Cohen et al. 2018, Spherical CNNs, arXiv:1801.10130.

    Example:
        >>> act = S2Activation("0e + 1o + 2e", torch.tanh, 20)
        >>> act
        S2Activation(1x0e+1x1o+1x2e -> 1x0e+1x1o+1x2e | tanh on 20x19)
        >>> act(torch.randn(5, 9)).shape
        torch.Size([5, 9])
    """

    def __init__(
        self,
        irreps: Any,
        act: Function,
        res: Resolution,
        normalization: str = "component",
        lmax_out: int | None = None,
        random_rot: bool = False,
        *,
        second_moment: str = "e3nn",
        allow_aliasing: bool = False,
    ) -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps).simplify()
        p_val, p_arg = _parities(self.irreps_in)
        lmax = self.irreps_in.lmax
        lmax_out = lmax if lmax_out is None else degree(lmax_out)
        if p_val == 1:
            self.act: torch.nn.Module = normalize2mom(act, second_moment=second_moment)
        else:  # values are odd scalars, so what Activation says of these holds
            values = Activation("0o", [act], second_moment=second_moment)
            self.act, p_val = values.acts[0], values.irreps_out[0].ir.p
        self.irreps_out = Irreps([(1, (l, p_val * p_arg**l)) for l in range(lmax_out + 1)])
        self.random_rot = random_rot
        _, *grid = complete_resolution("S2Activation", max(lmax, lmax_out), res, allow_aliasing)
        self.to_s2 = ToS2Grid(lmax, grid, normalization, allow_aliasing=True)
        self.from_s2 = FromS2Grid(grid, lmax_out, normalization, lmax, allow_aliasing=True)

    @property
    def _own(self) -> Tensor:
        return self.to_s2.sha

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
        return self._turned(features) if self.random_rot else self.from_s2(self.act(self.to_s2(features)))

    @in_own_dtype
    def _turned(self, features: Tensor) -> Tensor:
        """Apply the function on a grid that is turned at random."""
        need_kind(self, features, self._own, (self.irreps_in.dim,))
        angles = rand_angles(dtype=features.dtype, device=features.device)
        turned = features @ self.irreps_in.D_from_angles(*angles).T
        return self.from_s2(self.act(self.to_s2(turned))) @ self.irreps_out.D_from_angles(*angles)

    def __repr__(self) -> str:
        turned = ", turned at random" if self.random_rot else ""
        grid = f"{self.to_s2.res_beta}x{self.to_s2.res_alpha}"
        return f"S2Activation({self.irreps_in} -> {self.irreps_out} | {function_name(self.act)} on {grid}{turned})"


def _parities(irreps: Irreps) -> tuple[int, int]:
    """Return the parities of values and argument of a signal on the sphere; raise if the irreps are not of one."""
    p_val = irreps[0].ir.p if len(irreps) else 1
    for p_arg in (1, -1):
        signal = [(1, Irrep(l, p_val * p_arg**l)) for l in range(max(len(irreps), 1))]
        if irreps == Irreps(signal):
            return p_val, p_arg
    raise IrrepsError(
        "S2Activation needs one irrep for each degree 0, 1, ..., lmax, of one parity or of parities that alternate, "
        f"such as 0e+1o+2e; got '{irreps}'. For several signals, give them as rows."
    )
