r"""Signals on the group of rotations, as coefficients of Wigner D matrices and as samples on a grid of Euler angles."""

from __future__ import annotations

import math
import numbers
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import ConfigError
from irrepnet.o3.grid_module import GridModule, in_own_dtype, need_kind
from irrepnet.o3.sphere_tables import azimuths, fejer_weights, polar_angles
from irrepnet.o3.su2 import degree, integer
from irrepnet.o3.wigner import turns_about_x, wigner_D

__all__ = ["SO3Grid"]


class SO3Grid(GridModule):
    r"""Change between a signal on SO(3) and its values on a grid of Euler angles.

    .. math:: f(g) = \sum_{l \le l_{max}} \sqrt{\frac{2l+1}{d}}\, \sum_{mn} F^l_{mn} D^l_{mn}(g), \qquad
        d = \sum_l (2l+1)^2

    Random coefficients of variance 1 give values of variance 1. In the angles alpha and gamma the matrices are sines
    and cosines, so one sum over degrees and one over each angle replace the sum over all coefficients at each point.

    Args:
        lmax: Highest degree.
        resolution: Half the number of polar angles beta; at least ``lmax + 1``.
        normalization: "component", the only one there is.
        aspect_ratio: Angles alpha (and gamma) for each beta.

    Attributes:
        res_alpha: Number of angles alpha, ``2 * aspect_ratio * resolution`` rounded.
        res_beta: Number of angles beta.
        res_gamma: Number of angles gamma, ``res_alpha``.
        alpha: Angles, shape ``[res_alpha]``.
        beta: Angles, shape ``[res_beta]``.
        gamma: Angles, shape ``[res_gamma]``.
        qw: Quadrature weight of each beta, shape ``[res_beta]``; over the whole grid their sum is 1.
        D: Matrices at the grid times sqrt(2l+1), shape ``[res_alpha, res_beta, res_gamma, d]``; made when asked for.

    Raises:
        IrrepsError: If ``lmax`` is not a degree.
        ConfigError: If the grid is too coarse for ``lmax`` (the message gives the smallest that is not), or
            ``normalization`` is not "component".

    Reference: Kostelec and Rockmore 2008, J. Fourier Anal. Appl. 14, 145.

    Example:
        >>> grid = SO3Grid(2, 3)
        >>> grid
        SO3Grid(lmax=2 res=12x6x12 (alpha x beta x gamma))
        >>> x = torch.randn(5, 35)
        >>> grid.to_grid(x).shape
        torch.Size([5, 12, 6, 12])
        >>> torch.allclose(grid.from_grid(grid.to_grid(x)), x, atol=1e-4)
        True
    """

    qw: Tensor
    _turns: Tensor
    _tables: Tensor
    _sources: Tensor
    _places: Tensor

    def __init__(
        self, lmax: int, resolution: int, *, normalization: str = "component", aspect_ratio: float = 2
    ) -> None:
        super().__init__()
        if normalization != "component":
            raise ConfigError(f"SO3Grid needs normalization='component', the only one there is; got {normalization!r}.")
        self.lmax, whole = degree(lmax), integer(resolution)
        known = isinstance(aspect_ratio, numbers.Real) and math.isfinite(aspect_ratio)
        self.res_beta = 2 * (whole or 0)
        self.res_alpha = round(aspect_ratio * self.res_beta) if known else 0
        self.res_gamma = self.res_alpha
        if min(self.res_beta, self.res_alpha) < 2 * self.lmax + 1:
            raise ConfigError(
                f"SO3Grid of lmax = {lmax} needs {2 * self.lmax + 1} angles or more each way, so an integer resolution "
                f"of {self.lmax + 1} or more with aspect_ratio >= 1; got resolution = {resolution!r}, aspect_ratio = "
                f"{aspect_ratio!r} ({self.res_beta} and {self.res_alpha} angles)."
            )
        self.normalization = normalization
        self._make_constants(torch.get_default_dtype(), None)

    def _constants(self) -> dict[str, np.ndarray]:
        sources, places = _order(self.lmax)
        return {
            "qw": fejer_weights(self.res_beta) / self.res_alpha**2,
            "_turns": _turns(self.lmax, azimuths(self.res_alpha)),
            "_tables": _tables(self.lmax, self.res_beta),
            "_sources": sources,
            "_places": places,
        }

    @in_own_dtype
    def to_grid(self, features: Tensor) -> Tensor:
        """Sample signals.

        Args:
            features: Coefficients, degree after degree and in each row after row, shape ``[..., d]``.

        Returns:
            Values, shape ``[..., res_alpha, res_beta, res_gamma]``.

        Raises:
            ShapeError: If the last axis has another size.
            DtypeError: If dtype or device are not those of the module.

        Example:
            >>> SO3Grid(1, 2).to_grid(torch.zeros(10)).shape
            torch.Size([8, 4, 8])
        """
        need_kind(self, features, self.qw, (_dim(self.lmax),))
        orders = 2 * self.lmax + 1
        columns = features.reshape(-1, features.shape[-1]).T.index_select(0, self._sources)
        columns = columns.unflatten(0, self._tables.shape[:2])  # [orders^2, 2 (lmax + 1), Z]
        values = torch.bmm(columns.mT, self._tables)  # [orders^2, Z, res_beta]
        values = values.unflatten(0, (orders, orders)).permute(2, 0, 3, 1) @ self._turns.T  # [Z, orders, beta, gamma]
        values = self._turns @ values.flatten(2)  # [Z, alpha, beta * gamma]
        return values.reshape(*features.shape[:-1], self.res_alpha, self.res_beta, self.res_gamma)

    @in_own_dtype
    def from_grid(self, features: Tensor) -> Tensor:
        """Read off coefficients: undo ``to_grid``.

        Args:
            features: Values, shape ``[..., res_alpha, res_beta, res_gamma]``.

        Returns:
            Coefficients, shape ``[..., d]``.

        Raises:
            ShapeError: If the last axes have other sizes.
            DtypeError: If dtype or device are not those of the module.

        Example:
            >>> SO3Grid(1, 2).from_grid(torch.zeros(8, 4, 8)).shape
            torch.Size([10])
        """
        shape = self.res_alpha, self.res_beta, self.res_gamma
        need_kind(self, features, self.qw, shape)
        orders = 2 * self.lmax + 1
        values = features.reshape(-1, self.res_alpha, self.res_beta * self.res_gamma)
        values = self._turns.T @ values  # [Z, orders, beta * gamma]
        values = values.unflatten(2, (self.res_beta, self.res_gamma)) * self.qw[:, None] @ self._turns
        values = values.permute(1, 3, 2, 0).reshape(orders**2, self.res_beta, -1)  # [orders^2, beta, Z]
        columns = torch.bmm(self._tables, values).flatten(0, 1) * _dim(self.lmax)
        even, odd = columns.index_select(0, self._places).chunk(2)  # [d, Z] each
        return (even + odd).T.contiguous().reshape(*features.shape[:-3], _dim(self.lmax))

    @property
    def alpha(self) -> Tensor:
        """Angles, shape ``[res_alpha]``."""
        return self.qw.new_tensor(azimuths(self.res_alpha))

    @property
    def beta(self) -> Tensor:
        """Angles, shape ``[res_beta]``."""
        return self.qw.new_tensor(polar_angles(self.res_beta))

    @property
    def gamma(self) -> Tensor:
        """Angles, shape ``[res_gamma]``."""
        return self.alpha

    @property
    def D(self) -> Tensor:
        """Matrices at the grid times sqrt(2l+1), shape ``[res_alpha, res_beta, res_gamma, d]``."""
        angles = torch.meshgrid(self.alpha, self.beta, self.gamma, indexing="ij")
        return torch.cat([wigner_D(l, *angles).flatten(-2) * (2 * l + 1) ** 0.5 for l in range(self.lmax + 1)], dim=-1)

    def _saved(self) -> dict[str, tuple[int, ...]]:
        alpha, beta, gamma = (self.res_alpha,), (self.res_beta,), (self.res_gamma,)
        D = alpha + beta + gamma + (_dim(self.lmax),)
        return {"D": D, "qw": beta, "alpha": alpha, "beta": beta, "gamma": gamma}

    def __repr__(self) -> str:
        res = f"{self.res_alpha}x{self.res_beta}x{self.res_gamma}"
        return f"SO3Grid(lmax={self.lmax} res={res} (alpha x beta x gamma))"


# In the real basis D(alpha, beta, gamma) = Z(alpha) X(beta) Z(gamma): X does not mix sines and cosines, and Z has
# cosines on its diagonal, sines on its antidiagonal. With u(t) = (..., sin 2t, sin t, 1, cos t, cos 2t, ...),
#     D_mn = X_{|m|,|n|} u_m(alpha) u_n(gamma) + sign(m) sign(n) X_{-|m|,-|n|} u_{-m}(alpha) u_{-n}(gamma),
# where u(gamma) has -sin, and the second term is absent for m = 0 or n = 0 (sign 0).


def _turns(lmax: int, angles: np.ndarray) -> np.ndarray:
    """Return u, ``[angles, 2 lmax + 1]``; for gamma its signs are in the tables."""
    m = np.arange(-lmax, lmax + 1)
    turns = angles[:, None] * np.abs(m)
    return np.where(m < 0, np.sin(turns), np.cos(turns))


@lru_cache(maxsize=4)  # the two grids of an SO3Activation may share one
def _tables(lmax: int, res_beta: int) -> np.ndarray:
    """Return what leads from coefficients to u_p u_q for each beta, ``[(2 lmax + 1)^2, 2 (lmax + 1), beta]``."""
    beta = polar_angles(res_beta)
    tables = np.zeros((2 * lmax + 1, 2 * lmax + 1, 2, lmax + 1, res_beta))
    for l in range(lmax + 1):
        X = turns_about_x(l, beta).transpose(1, 2, 0) * math.sqrt((2 * l + 1) / _dim(lmax))  # [2l+1, 2l+1, beta]
        up, down = [*range(2 * l, l, -1), *range(l, 2 * l + 1)], [*range(l), *range(l, -1, -1)]  # l + |m|, l - |m|
        even, odd = X[up][:, up], X[down][:, down]
        odd[l], odd[:, l] = 0.0, 0.0
        odd[:l, l:] *= -1
        odd[l:, :l] *= -1
        block = slice(lmax - l, lmax + l + 1)
        tables[block, block, 0, l], tables[block, block, 1, l] = even, odd
    tables[:, :lmax] *= -1  # sin(gamma) comes with a minus
    tables.flags.writeable = False
    return tables.reshape((2 * lmax + 1) ** 2, 2 * (lmax + 1), res_beta)


def _order(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficient at each row of the tables (any, where they are zero), and the two rows of each."""
    orders = 2 * lmax + 1
    sources = np.zeros((orders, orders, 2, lmax + 1), dtype=np.int64)
    rows = np.arange(sources.size).reshape(sources.shape)
    even, odd, start = [], [], 0
    for l in range(lmax + 1):
        size = (2 * l + 1) ** 2
        block = slice(lmax - l, lmax + l + 1)
        coefficients = np.arange(start, start + size).reshape(2 * l + 1, 2 * l + 1)
        sources[block, block, 0, l] = coefficients
        sources[block, block, 1, l] = coefficients[::-1, ::-1]
        even.append(rows[block, block, 0, l].ravel())
        odd.append(rows[block, block, 1, l][::-1, ::-1].ravel())
        start += size
    return sources.ravel(), np.concatenate(even + odd)


def _dim(lmax: int) -> int:
    """Return the number of coefficients, the sum of (2l+1)^2."""
    return (lmax + 1) * (2 * lmax + 1) * (2 * lmax + 3) // 3
