r"""Signals on the sphere, as coefficients of spherical harmonics and as samples on a grid of angles.

.. math:: f(\alpha, \beta) = \sum_{l \le l_{max}} F^l \cdot Y^l(\alpha, \beta), \qquad
    \beta_i = \pi \frac{i + 1/2}{N}, \quad \alpha_j = 2 \pi \frac{j}{M}

A grid of N x M angles determines a signal when N and M are at least 2 lmax + 1; both may be odd or even. Sums over the
polar angle are exact by Fejér's rule, those over the azimuth because the angles are evenly spaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.o3.rotation import angles_to_xyz, need_float
from irrepnet.o3.saved_constants import without_constants
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
from irrepnet.o3.su2 import degree

__all__ = ["FromS2Grid", "ToS2Grid", "irfft", "need_kind", "rfft", "s2_grid", "spherical_harmonics_s2_grid"]


class _S2Transform(torch.nn.Module):
    """What the two directions share: the grid, and one table for each order m, between degrees and polar angles."""

    alphas: Tensor
    betas: Tensor
    sha: Tensor
    _tables: Tensor
    _places: Tensor
    _saved = ("alphas", "betas", "sha", "shb")

    def __init__(
        self,
        lmax: int,
        res: Sequence[int],
        factors: np.ndarray,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> None:
        super().__init__()
        self.lmax = lmax
        self.res_beta, self.res_alpha = res
        self._factors = factors  # [lmax + 1], of each degree
        for buffer in ("alphas", "betas", "sha", "_tables", "_places"):
            self.register_buffer(buffer, None, persistent=False)
        self._make_constants(dtype or torch.get_default_dtype(), device)

    def _make_constants(self, dtype: torch.dtype, device: torch.device | str | None) -> None:
        betas, alphas = polar_angles(self.res_beta), azimuths(self.res_alpha)
        sha = azimuthal_table(self.lmax, alphas)
        tables = (
            polar_tables(self.lmax, self.res_beta) * self._factors[:, None] * self._weights()
        )  # [2 lmax + 1, lmax + 1, N]
        for name, values in (("betas", betas), ("alphas", alphas), ("sha", sha), ("_tables", tables)):
            setattr(self, name, torch.tensor(values, dtype=dtype, device=device))
        self._places = torch.tensor(self._order(), device=device)

    def _weights(self) -> np.ndarray | float:
        """Return weights of the polar angles."""
        return 1.0

    def _order(self) -> np.ndarray:
        """Return the place of each number after a change between coefficients and a square of orders and degrees."""
        raise NotImplementedError

    @property
    def grid(self) -> Tensor:
        """Points on the unit sphere, shape ``[res_beta, res_alpha, 3]``."""
        return angles_to_xyz(self.alphas, self.betas[:, None])

    @property
    def shb(self) -> Tensor:
        """The map between coefficients and polar angles for each order m, shape ``[2 lmax + 1, res_beta, dim]``."""
        dim = (self.lmax + 1) ** 2
        places = torch.tensor(places_in_square(self.lmax), device=self._tables.device)
        values = self._tables.flatten(0, 1).index_select(0, places)  # [dim, res_beta]
        order = places // (self.lmax + 1)
        dense = values.new_zeros(2 * self.lmax + 1, dim, self.res_beta)
        dense[order, torch.arange(dim, device=dense.device)] = values
        return dense.mT.contiguous()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _S2Transform:
        """Make constants anew: casts would round them, ``to_empty`` leaves no values."""
        super()._apply(fn, recurse)
        self._make_constants(self.sha.dtype, self.sha.device)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load nothing; e3nn saves the constants, which are left out."""
        super()._load_from_state_dict(without_constants(state_dict, prefix, self._saved), prefix, *args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lmax={self.lmax} res={self.res_beta}x{self.res_alpha} (beta x alpha))"


class ToS2Grid(_S2Transform):
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


class FromS2Grid(_S2Transform):
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

    Example:
        >>> betas, alphas = s2_grid(2, 4)
        >>> betas / torch.pi, alphas / torch.pi
        (tensor([0.2500, 0.7500]), tensor([0.0000, 0.5000, 1.0000, 1.5000]))
    """
    dtype = dtype or torch.get_default_dtype()
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

    Example:
        >>> [tuple(x.shape) for x in spherical_harmonics_s2_grid(2, 6, 5)]
        [(6,), (5,), (6, 9), (5, 5)]
    """
    betas, alphas = s2_grid(res_beta, res_alpha, dtype, device)
    P = polar_tables(degree(lmax), res_beta).reshape(-1, res_beta)[places_in_square(lmax)].T
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
        DtypeError: If ``x`` is not a floating-point tensor.

    Example:
        >>> rfft(torch.ones(4), 1).abs()
        tensor([0., 4., 0.])
    """
    need_float(x, "rfft")
    if x.ndim == 0 or x.shape[-1] < 2 * degree(l):
        raise ShapeError(f"rfft of order l = {l} needs x [..., {2 * l} or more]; got x {list(x.shape)}.")
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
        DtypeError: If ``x`` is not a floating-point tensor.

    Example:
        >>> irfft(torch.tensor([0.0, 1.0, 0.0]), 4)
        tensor([1., 1., 1., 1.])
    """
    need_float(x, "irfft")
    if x.ndim == 0 or x.shape[-1] % 2 == 0 or x.shape[-1] > res:
        raise ShapeError(f"irfft needs x [..., 2l+1], an odd number up to res = {res}; got x {list(x.shape)}.")
    l = x.shape[-1] // 2
    real = torch.cat([x[..., l : l + 1], x[..., l + 1 :] / math.sqrt(2)], dim=-1)
    imag = torch.cat([torch.zeros_like(x[..., :1]), x[..., :l].flip(-1) / -math.sqrt(2)], dim=-1)
    return torch.fft.irfft(torch.complex(real, imag), n=res, dim=-1, norm="forward")


def need_kind(module: torch.nn.Module, x: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an argument whose dtype, device or last axes are not those of a module.

    Args:
        module: Names who asks.
        x: The argument.
        like: A tensor of the module.
        shape: Sizes of the last axes.

    Raises:
        ShapeError: If the last axes have other sizes.
        DtypeError: If dtype or device differ.

    Example:
        >>> need_kind(torch.nn.Identity(), torch.zeros(3, 4), torch.zeros(1), (4,))
    """
    name = type(module).__name__
    if not isinstance(x, Tensor) or (x.dtype, x.device) != (like.dtype, like.device):
        found = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError(
            f"{name} was made in {like.dtype} on {like.device}; got {found}. Write x.to(...) or module.to(...)."
        )
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(f"{name} needs x [..., {', '.join(map(str, shape))}]; got x {list(x.shape)}.")
