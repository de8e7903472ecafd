"""The normalisation of a grid on the sphere, read from its tables: e3nn's grids do not keep its name."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from irrepnet.o3.s2grid import FromS2Grid, ToS2Grid

__all__ = ["from_grid_arguments", "to_grid_arguments"]


def to_grid_arguments(old: Any) -> dict[str, Any]:
    """Return the arguments that make the ``ToS2Grid`` with the tables of another.

    Args:
        old: Has ``lmax``, ``res_beta``, ``res_alpha`` and ``shb``.

    Example:
        >>> to_grid_arguments(ToS2Grid(2, (6, 7), "norm"))
        {'res': (6, 7), 'lmax': 2, 'normalization': 'norm'}
    """
    plain = {"res": (old.res_beta, old.res_alpha), "lmax": old.lmax}
    factors = _factors(old.shb, ToS2Grid(**plain, normalization="integral").shb, old.lmax)
    name = _name(factors, -0.5)
    expected = 1.0 if name == "integral" else math.sqrt(4 * math.pi / (old.lmax + 1))
    return plain | {"normalization": name if name and _close(factors[0], expected) else factors}


def from_grid_arguments(old: Any) -> dict[str, Any]:
    """Return the arguments that make the ``FromS2Grid`` with the tables of another.

    Args:
        old: Has ``lmax``, ``res_beta``, ``res_alpha`` and ``shb``.

    Example:
        >>> from_grid_arguments(FromS2Grid((6, 7), 1, "component", lmax_in=2))
        {'res': (6, 7), 'lmax': 1, 'normalization': 'component', 'lmax_in': 2}
    """
    plain = {"res": (old.res_beta, old.res_alpha), "lmax": old.lmax}
    factors = _factors(old.shb, FromS2Grid(**plain, normalization="integral").shb, old.lmax)
    name = _name(factors, 0.5)
    if name == "integral":
        return plain | {"normalization": name}
    degrees = 4 * math.pi * factors[0].item() ** 2  # lmax_in + 1
    if name and degrees > 0.5 and _close(factors[0], math.sqrt(round(degrees) / (4 * math.pi))):
        return plain | {"normalization": name, "lmax_in": round(degrees) - 1}
    return plain | {"normalization": 4 * math.pi * factors}  # "integral" is 4 pi here


def _factors(shb: Tensor, integral: Tensor, lmax: int) -> Tensor:
    """Return the factor of each degree, compared with 'integral': ``[lmax + 1]``."""
    middle = torch.tensor([l * l + l for l in range(lmax + 1)])  # order 0 of each degree
    found = shb.detach().cpu().double()[lmax][:, middle]  # [beta, l]
    unit = integral.double()[lmax][:, middle]
    return (found * unit).sum(0) / unit.square().sum(0)


def _name(factors: Tensor, power: float) -> str | None:
    """Return the normalisation whose factors depend on the degree in this way."""
    degrees = torch.arange(len(factors), dtype=torch.float64)
    if _close(factors, torch.ones_like(factors)):
        return "integral"
    for name, shape in (("norm", torch.ones_like(degrees)), ("component", (2 * degrees + 1) ** power)):
        if _close(factors / factors[0], shape):
            return name
    return None


def _close(a: Tensor, b: Tensor | float) -> bool:
    return torch.allclose(a, torch.as_tensor(b, dtype=torch.float64), rtol=1e-5, atol=0)
