r"""Spherical harmonics as functions of the angles: one factor for the azimuth, one for the polar angle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, did_you_mean
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.legendre import Legendre, need_one_dtype
from irrepnet.o3.rotation import need_float
from irrepnet.o3.su2 import degree

__all__ = ["SphericalHarmonicsAlphaBeta", "spherical_harmonics_alpha", "spherical_harmonics_alpha_beta"]

_FACTORS = {  # relative to 'integral', which is what the Legendre functions have
    "integral": lambda l: 1.0,
    "component": lambda l: math.sqrt(4 * math.pi),
    "norm": lambda l: math.sqrt(4 * math.pi / (2 * l + 1)),
}


class SphericalHarmonicsAlphaBeta(torch.nn.Module):
    r"""Evaluate spherical harmonics of the direction :math:`R_y(\alpha) R_x(\beta) e_y`.

    .. math:: Y^l_m(\alpha, \beta) = S_m(\alpha)\, P^l_m(\cos\beta, \sin\beta)

    with S of ``spherical_harmonics_alpha`` and P of ``Legendre``. There is nothing to learn here.

    Args:
        l: Degree, degrees in any order, or an irrep or irreps whose degrees are wanted (text is read as irreps).
        normalization: "integral", "component" or "norm"; see ``spherical_harmonics``.

    Raises:
        IrrepsError: If ``l`` is not a degree, or the irreps are not valid.
        ConfigError: If ``normalization`` is unknown.

    Example:
        >>> harmonics = SphericalHarmonicsAlphaBeta([0, 1], normalization="component")
        >>> harmonics
        SphericalHarmonicsAlphaBeta(l = 0, 1 | normalization='component')
        >>> harmonics(torch.tensor(0.0), torch.tensor(0.0))
        tensor([1.0000, 0.0000, 1.7321, 0.0000])
    """

    def __init__(self, l: int | Sequence[int] | str | Irrep | Irreps, normalization: str = "integral") -> None:
        super().__init__()
        if normalization not in _FACTORS:
            hint = did_you_mean(str(normalization), _FACTORS)
            raise ConfigError(f"normalization must be 'integral', 'component' or 'norm'; got {normalization!r}.{hint}")
        self.ls = _degrees(l)
        self.legendre = Legendre(self.ls)
        self.normalization = normalization

    def forward(self, alpha: Tensor, beta: Tensor) -> Tensor:
        """Evaluate the harmonics.

        Args:
            alpha: Azimuth, radians, shape ``[...]``.
            beta: Polar angle, radians, shape ``[...]``; the two broadcast.

        Returns:
            Shape ``[..., sum of 2l+1]``.

        Raises:
            DtypeError: If the angles are not floating-point tensors of one dtype.
        """
        need_one_dtype(type(self).__name__, alpha=alpha, beta=beta)
        lmax = max(self.ls, default=0)
        S = spherical_harmonics_alpha(lmax, alpha)  # [..., 2 lmax + 1]
        factor = _FACTORS[self.normalization]
        parts = [S[..., lmax - l : lmax + l + 1] * factor(l) for l in self.ls]
        azimuthal = torch.cat(parts, dim=-1) if parts else S[..., :0]
        return azimuthal * self.legendre(beta.cos(), beta.sin())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(l = {', '.join(map(str, self.ls))} | normalization={self.normalization!r})"


def spherical_harmonics_alpha_beta(
    l: int | Sequence[int] | str | Irrep | Irreps, alpha: Tensor, beta: Tensor, *, normalization: str = "integral"
) -> Tensor:
    r"""Evaluate spherical harmonics of the direction :math:`R_y(\alpha) R_x(\beta) e_y`.

    Args:
        l: Degree, degrees in any order, or irreps whose degrees are wanted.
        alpha: Azimuth, radians, shape ``[...]``.
        beta: Polar angle, radians, shape ``[...]``; the two broadcast.
        normalization: "integral", "component" or "norm"; see ``spherical_harmonics``.

    Returns:
        Shape ``[..., sum of 2l+1]``.

    Raises:
        IrrepsError: If ``l`` is not a degree, or the irreps are not valid.
        ConfigError: If ``normalization`` is unknown.
        DtypeError: If the angles are not floating-point tensors of one dtype.

    Example:
        >>> spherical_harmonics_alpha_beta(1, torch.tensor(0.0), torch.tensor(0.0), normalization="norm")
        tensor([0.0000, 1.0000, 0.0000])
    """
    return SphericalHarmonicsAlphaBeta(l, normalization)(alpha, beta)


def spherical_harmonics_alpha(l: int, alpha: Tensor) -> Tensor:
    r"""Return the part of spherical harmonics that depends on the azimuth.

    .. math:: S_m(\alpha) = \sqrt{2} \sin(|m|\alpha),\; 1,\; \sqrt{2} \cos(m\alpha)
        \qquad \text{for } m < 0,\; m = 0,\; m > 0

    Args:
        l: Degree.
        alpha: Azimuth, radians, shape ``[...]``.

    Returns:
        Shape ``[..., 2l+1]``, m = -l ... l.

    Raises:
        IrrepsError: If ``l`` is not a degree.
        DtypeError: If ``alpha`` is not a floating-point tensor.

    Example:
        >>> spherical_harmonics_alpha(1, torch.tensor(0.0))
        tensor([0.0000, 1.0000, 1.4142])
    """
    need_float(alpha, "spherical_harmonics_alpha")
    alpha = alpha.unsqueeze(-1)
    turns = alpha * torch.arange(1, degree(l) + 1, dtype=alpha.dtype, device=alpha.device)  # [..., l]
    sines, cosines = math.sqrt(2) * turns.sin().flip(-1), math.sqrt(2) * turns.cos()
    return torch.cat([sines, torch.ones_like(alpha), cosines], dim=-1)


def _degrees(l: int | Sequence[int] | str | Irrep | Irreps) -> tuple[int, ...]:
    """Return the degrees that are asked for, in order."""
    if isinstance(l, (str, Irrep, Irreps)):
        return tuple(Irreps(l).ls)
    return tuple(map(degree, l if isinstance(l, Iterable) else [l]))
