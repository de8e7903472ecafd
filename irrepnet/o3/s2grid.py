r"""Signals on the sphere, as coefficients of spherical harmonics and as samples on a grid of angles.

.. math:: f(\alpha, \beta) = \sum_{l \le l_{max}} F^l \cdot Y^l(\alpha, \beta), \qquad
    \beta_i = \pi \frac{i + 1/2}{N}, \quad \alpha_j = 2 \pi \frac{j}{M}

A grid of N x M angles determines a signal when N and M are at least 2 lmax + 1; both may be odd or even. Sums over the
polar angle are exact by Fejér's rule, those over the azimuth because the angles are evenly spaced.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.o3.grid_module import in_own_dtype, need_kind
from irrepnet.o3.rotation import need_float
from irrepnet.o3.s2_transform import S2Transform
from irrepnet.o3.sphere_tables import (
    Resolution,
    azimuthal_table,
    azimuths,
    complete_resolution,
    degree_factors,
    fejer_weights,
    places_in_square,
    polar_angles,
    polar_tables,
    sources_of_square,
)
from irrepnet.o3.su2 import degree, integer, real_dtype

__all__ = ["FromS2Grid", "ToS2Grid", "irfft", "rfft", "s2_grid", "spherical_harmonics_s2_grid"]


class ToS2Grid(S2Transform):
    r"""Sample a signal on the sphere: from coefficients to values on the grid. ``FromS2Grid`` undoes it.

    Args:
        lmax: Highest degree of the signal; by default the highest that the grid determines.
        res: Number of polar angles and azimuths ``(res_beta, res_alpha)``, or the first alone; either may be None. By
            default ``(2 lmax + 2, 2 lmax + 1)``.
        normalization: "component" (the default) and "norm" take coefficients of random signals of that normalisation
            to values of variance 1, "integral" evaluates :math:`\sum_l F^l \cdot Y^l`. A tensor ``[lmax + 1]`` gives
            the factor of each degree on top of "integral".
        dtype: torch's default dtype by default.
        device: torch's default device by default.
        allow_aliasing: Allow grids too coarse to determine the signal; the samples are right all the same.

    Attributes:
        lmax: Highest degree.
        res_beta: Number of polar angles.
        res_alpha: Number of azimuths.
        betas: Polar angles, shape ``[res_beta]``.
        alphas: Azimuths, shape ``[res_alpha]``.
        sha: Azimuthal functions, shape ``[res_alpha, 2 lmax + 1]``.
        shb: Polar functions, shape ``[2 lmax + 1, res_beta, (lmax + 1)^2]``.
        grid: Points on the unit sphere, shape ``[res_beta, res_alpha, 3]``.

    Raises:
        ConfigError: If the grid is too coarse for ``lmax`` (the message gives the smallest that is not), neither of the
            two is given, or ``normalization`` is unknown.
        ShapeError: If ``normalization`` is a tensor of another shape.
        DtypeError: If it or ``dtype`` is not of floating point.

    Reference: Driscoll and Healy 1994, Adv. Appl. Math. 15, 202.

    Example:
        >>> to_grid = ToS2Grid(6, (100, 99))
        >>> to_grid
        ToS2Grid(lmax=6 res=100x99 (beta x alpha))
        >>> to_grid(torch.randn(3, 49)).shape
        torch.Size([3, 100, 99])
    """

    def __init__(
        self,
        lmax: int | None = None,
        res: Resolution = None,
        normalization: str | Tensor = "component",
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        allow_aliasing: bool = False,
    ) -> None:
        lmax, *full_res = complete_resolution("ToS2Grid", lmax, res, allow_aliasing)
        super().__init__(lmax, full_res, degree_factors(normalization, lmax, lmax), dtype, device)

    def _order(self) -> np.ndarray:
        return sources_of_square(self.lmax)

    @in_own_dtype
    def forward(self, x: Tensor) -> Tensor:
        """Sample signals.

        Args:
            x: Coefficients, shape ``[..., (lmax + 1)^2]``.

        Returns:
            Values, shape ``[..., res_beta, res_alpha]``.

        Raises:
            ShapeError: If the last axis has another size.
            DtypeError: If dtype or device are not those of the module.
        """
        need_kind(self, x, self.sha, ((self.lmax + 1) ** 2,))
        columns = x.reshape(-1, x.shape[-1]).T.index_select(0, self._places)  # [(2 lmax + 1)(lmax + 1), Z]
        square = columns.unflatten(0, (2 * self.lmax + 1, self.lmax + 1))
        orders = torch.bmm(square.mT, self._tables)  # [2 lmax + 1, Z, res_beta]
        values = orders.flatten(1).T @ self.sha.T  # [Z * res_beta, res_alpha]
        return values.reshape(*x.shape[:-1], self.res_beta, self.res_alpha)


class FromS2Grid(S2Transform):
    r"""Read the coefficients of a signal on the sphere off its values on the grid. It undoes ``ToS2Grid``.

    Args:
        res: Number of polar angles and azimuths ``(res_beta, res_alpha)``, or the first alone; either may be None. By
            default ``(2 lmax + 2, 2 lmax + 1)``.
        lmax: Highest degree to read off; by default the highest that the grid determines.
        normalization: As of ``ToS2Grid``, "component", "norm" or "integral". A tensor ``[lmax + 1]`` gives the factor
            of each degree, where 4 pi for all is "integral".
        lmax_in: Highest degree that ``ToS2Grid`` had; ``lmax`` by default.
        dtype: torch's default dtype by default.
        device: torch's default device by default.
        allow_aliasing: Allow grids too coarse to determine the signal; the coefficients are then wrong in general.

    Attributes: those of ``ToS2Grid``; ``shb`` holds the quadrature weights too.

    Raises:
        ConfigError: If the grid is too coarse for ``lmax`` (the message gives the smallest that is not), neither of the
            two is given, or ``normalization`` is unknown.
        ShapeError: If ``normalization`` is a tensor of another shape.
        DtypeError: If it or ``dtype`` is not of floating point.

    Reference: Driscoll and Healy 1994, Adv. Appl. Math. 15, 202.

    Example:
        >>> from_grid, to_grid = FromS2Grid((100, 99), 6), ToS2Grid(6, (100, 99))
        >>> x = torch.randn(3, 49)
        >>> torch.allclose(from_grid(to_grid(x)), x, atol=1e-4)
        True
    """

    def __init__(
        self,
        res: Resolution = None,
        lmax: int | None = None,
        normalization: str | Tensor = "component",
        lmax_in: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        allow_aliasing: bool = False,
    ) -> None:
        lmax, *full_res = complete_resolution("FromS2Grid", lmax, res, allow_aliasing)
        lmax_in = lmax if lmax_in is None else degree(lmax_in)
        super().__init__(lmax, full_res, degree_factors(normalization, lmax, lmax_in, inverse=True), dtype, device)

    def _weights(self) -> np.ndarray:
        return fejer_weights(self.res_beta) / self.res_alpha

    def _order(self) -> np.ndarray:
        return places_in_square(self.lmax)

    @in_own_dtype
    def forward(self, x: Tensor) -> Tensor:
        """Read off coefficients.

        Args:
            x: Values, shape ``[..., res_beta, res_alpha]``.

        Returns:
            Coefficients, shape ``[..., (lmax + 1)^2]``.

        Raises:
            ShapeError: If the last axes have other sizes.
            DtypeError: If dtype or device are not those of the module.
        """
        need_kind(self, x, self.sha, (self.res_beta, self.res_alpha))
        orders = self.sha.T @ x.reshape(-1, self.res_alpha).T  # [2 lmax + 1, Z * res_beta]
        orders = orders.unflatten(1, (-1, self.res_beta))
        square = torch.bmm(self._tables, orders.mT).flatten(0, 1)  # [(2 lmax + 1)(lmax + 1), Z]
        return square.index_select(0, self._places).T.contiguous().reshape(*x.shape[:-2], (self.lmax + 1) ** 2)


def s2_grid(
    res_beta: int, res_alpha: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    r"""Return the angles of the grid, :math:`\beta_i = \pi (i + 1/2) / N` and :math:`\alpha_j = 2 \pi j / M`.

    Args:
        res_beta: N, number of polar angles.
        res_alpha: M, number of azimuths.
        dtype: torch's default dtype by default.
        device: torch's default device by default.

    Returns:
        Polar angles ``[res_beta]`` and azimuths ``[res_alpha]``, radians.

    Raises:
        ConfigError: If a number is not a positive integer.
        DtypeError: If ``dtype`` is not a floating-point one.

    Example:
        >>> betas, alphas = s2_grid(2, 4)
        >>> betas / torch.pi, alphas / torch.pi
        (tensor([0.2500, 0.7500]), tensor([0.0000, 0.5000, 1.0000, 1.5000]))
    """
    dtype = real_dtype("s2_grid", dtype)
    if integer(res_beta, 1) is None or integer(res_alpha, 1) is None:
        raise ConfigError(f"s2_grid needs positive integers; got res_beta = {res_beta!r}, res_alpha = {res_alpha!r}.")
    betas, alphas = polar_angles(res_beta), azimuths(res_alpha)
    return torch.tensor(betas, dtype=dtype, device=device), torch.tensor(alphas, dtype=dtype, device=device)


def spherical_harmonics_s2_grid(
    lmax: int,
    res_beta: int,
    res_alpha: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return the angles of the grid and the two factors of the spherical harmonics there.

    .. math:: Y^l_m(\alpha_j, \beta_i) = S_m(\alpha_j)\, P^l_m(\cos \beta_i)

    Args:
        lmax: Highest degree.
        res_beta: Number of polar angles.
        res_alpha: Number of azimuths.
        dtype: torch's default dtype by default.
        device: torch's default device by default.

    Returns:
        Polar angles ``[res_beta]``, azimuths ``[res_alpha]``, P ``[res_beta, (lmax + 1)^2]`` and S
        ``[res_alpha, 2 lmax + 1]``.

    Raises:
        IrrepsError: If ``lmax`` is not a degree.
        ConfigError: If a resolution is not a positive integer.
        DtypeError: If ``dtype`` is not a floating-point one.

    Example:
        >>> [tuple(x.shape) for x in spherical_harmonics_s2_grid(2, 6, 5)]
        [(6,), (5,), (6, 9), (5, 5)]
    """
    lmax = degree(lmax)
    betas, alphas = s2_grid(res_beta, res_alpha, dtype, device)
    P = polar_tables(lmax, res_beta).reshape(-1, res_beta)[places_in_square(lmax)].T
    S = azimuthal_table(lmax, azimuths(res_alpha))
    shb, sha = (torch.tensor(array, dtype=betas.dtype, device=device) for array in (P, S))
    return betas, alphas, shb, sha


def rfft(x: Tensor, l: int) -> Tensor:
    r"""Sum samples on a circle against the functions of ``spherical_harmonics_alpha``.

    .. math:: X_m = \sum_j x_j\, S_m(2 \pi j / M)

    Args:
        x: Samples at M evenly spaced angles, shape ``[..., M]``.
        l: Highest order, at most M / 2.

    Returns:
        Shape ``[..., 2l+1]``, m = -l ... l.

    Raises:
        ShapeError: If there are too few samples.
        DtypeError: If ``x`` is not of float32 or float64.

    Example:
        >>> rfft(torch.ones(4), 1).abs()
        tensor([0., 4., 0.])
    """
    _need_single_or_double(x, "rfft")
    if x.ndim == 0 or x.shape[-1] < 2 * degree(l):
        raise ShapeError(f"rfft of order l = {l} needs x [..., {2 * l} or more]; got x {list(x.shape)}.")
    if x.numel() == 0:  # libraries of Fourier transforms refuse it
        return x.sum(-1, keepdim=True).expand(*x.shape[:-1], 2 * l + 1)
    X = torch.fft.rfft(x, dim=-1)[..., : l + 1]
    sines, cosines = -math.sqrt(2) * X.imag[..., 1:].flip(-1), math.sqrt(2) * X.real[..., 1:]
    return torch.cat([sines, X.real[..., :1], cosines], dim=-1)


def irfft(x: Tensor, res: int) -> Tensor:
    r"""Sum the functions of ``spherical_harmonics_alpha`` at evenly spaced angles.

    .. math:: f_j = \sum_{m=-l}^{l} x_m\, S_m(2 \pi j / M)

    Args:
        x: Coefficients, shape ``[..., 2l+1]``.
        res: M, number of angles, at least 2l+1.

    Returns:
        Values, shape ``[..., res]``.

    Raises:
        ShapeError: If the number of coefficients is even, or larger than ``res``.
        DtypeError: If ``x`` is not of float32 or float64.

    Example:
        >>> irfft(torch.tensor([0.0, 1.0, 0.0]), 4)
        tensor([1., 1., 1., 1.])
    """
    _need_single_or_double(x, "irfft")
    if integer(res, 1) is None:
        raise ShapeError(f"irfft needs a number of angles res, a positive integer; got {res!r}.")
    if x.ndim == 0 or x.shape[-1] % 2 == 0 or x.shape[-1] > res:
        raise ShapeError(f"irfft needs x [..., 2l+1], an odd number up to res = {res}; got x {list(x.shape)}.")
    if x.numel() == 0:
        return x.sum(-1, keepdim=True).expand(*x.shape[:-1], res)
    l = x.shape[-1] // 2
    real = torch.cat([x[..., l : l + 1], x[..., l + 1 :] / math.sqrt(2)], dim=-1)
    imag = torch.cat([torch.zeros_like(x[..., :1]), x[..., :l].flip(-1) / -math.sqrt(2)], dim=-1)
    return torch.fft.irfft(torch.complex(real, imag), n=res, dim=-1, norm="forward")


def _need_single_or_double(x: Tensor, name: str) -> None:
    if need_float(x, name).dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"{name} needs float32 or float64; got {x.dtype}. Write x.float().")
