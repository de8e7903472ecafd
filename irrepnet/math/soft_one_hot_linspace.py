"""A number as a soft one-hot vector: how near it is to each of a row of points, or what each of a row of waves says."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, did_you_mean
from irrepnet.math.bessel import bessel
from irrepnet.math.soft_unit_step import soft_unit_step

__all__ = ["soft_one_hot_linspace"]


def soft_one_hot_linspace(
    x: Tensor, start: float, end: float, number: int, basis: str | None = None, cutoff: bool | None = None
) -> Tensor:
    r"""Evaluate a basis of functions on an interval, scaled so that the sum of their squares is about 1.

    With t the distance from a function's point in units of the spacing of the points, and s the place between start
    (0) and end (1), the functions are

    - "gaussian": :math:`e^{-t^2} / 1.12`
    - "cosine": :math:`\cos(\pi t / 2)` for \|t\| < 1
    - "smooth_finite": :math:`1.14136\, e^2 \, u(1 + t)\, u(1 - t)` with u the ``soft_unit_step``, smooth and 0 for
      \|t\| >= 1
    - "fourier": :math:`\cos(k \pi s)`, k = 0, 1, ..., with a cutoff :math:`\sin(k \pi s)`, k = 1, 2, ..., over
      :math:`\sqrt{1/4 + N/2}`
    - "bessel": the functions of ``bessel``, starting at start; the sum of their squares is not 1

    Args:
        x: Shape ``[...]``. Integers are taken as torch's default dtype.
        start: Where the interval begins.
        end: Where it ends.
        number: Number N of functions.
        basis: One of the names above.
        cutoff: False: there are points at start and end. True: there are none, and the functions fall off towards both
            ends, beyond which "fourier" and "bessel" are 0. A "bessel" is finite at start, and 0 only before it.

    Returns:
        Shape ``[..., number]``.

    Raises:
        ConfigError: If the basis is unknown, the cutoff not given, the interval empty, or ``number`` no integer >= 0 or
            too small.

    Example:
        >>> soft_one_hot_linspace(torch.tensor([0.0, 0.5]), 0.0, 1.0, 3, basis="smooth_finite", cutoff=False)
        tensor([[1.1414, 0.0000, 0.0000],
                [0.0000, 1.1414, 0.0000]])
    """
    if cutoff not in (True, False):
        raise ConfigError(f"soft_one_hot_linspace needs cutoff=True or cutoff=False; got {cutoff!r}.")
    if basis not in _BASES:
        hint = did_you_mean(str(basis), _BASES)
        raise ConfigError(f"soft_one_hot_linspace needs basis one of {', '.join(_BASES)}; got {basis!r}.{hint}")
    if not start < end:
        raise ConfigError(f"soft_one_hot_linspace needs start < end; got start = {start} and end = {end}.")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ConfigError(f"soft_one_hot_linspace needs an integer number of functions >= 0; got number = {number!r}.")
    fewest = 2 if basis in _BUMPS and not cutoff else 0
    if number < fewest:
        raise ConfigError(
            f"soft_one_hot_linspace(basis={basis!r}, cutoff=False) needs number >= 2, the points at start and end; "
            f"got {number}. One function alone needs cutoff=True."
        )
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if basis in _BUMPS:
        return _BUMPS[basis](_distances(x, start, end, number, bool(cutoff)))
    return _WAVES[basis](x, start, end, number, bool(cutoff))


def _distances(x: Tensor, start: float, end: float, number: int, cutoff: bool) -> Tensor:
    """Return signed distances from the points in units of their spacing, shape ``[..., number]``."""
    around = 1 if cutoff else 0
    spacing = (end - start) / (number - 1 + 2 * around)
    points = torch.linspace(start, end, number + 2 * around, dtype=x.dtype, device=x.device)
    return (x.unsqueeze(-1) - points[around : around + number]) / spacing


def _gaussian(t: Tensor) -> Tensor:
    return torch.exp(-t.square()) / 1.12


def _cosine(t: Tensor) -> Tensor:
    return torch.cos((math.pi / 2) * t) * (t.abs() < 1)


def _smooth_finite(t: Tensor) -> Tensor:
    return (1.14136 * math.exp(2)) * soft_unit_step(1 + t) * soft_unit_step(1 - t)


def _fourier(x: Tensor, start: float, end: float, number: int, cutoff: bool) -> Tensor:
    s = ((x - start) / (end - start)).unsqueeze(-1)
    k = torch.arange(number, dtype=x.dtype, device=x.device)
    waves = torch.sin(math.pi * (k + 1) * s) * ((s > 0) & (s < 1)) if cutoff else torch.cos(math.pi * k * s)
    return waves / math.sqrt(0.25 + number / 2)


def _bessel(x: Tensor, start: float, end: float, number: int, cutoff: bool) -> Tensor:
    functions = bessel(x - start, number, end - start)
    return functions * ((x >= start) & (x < end)).unsqueeze(-1) if cutoff else functions


_BUMPS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": _gaussian,
    "cosine": _cosine,
    "smooth_finite": _smooth_finite,
}
_WAVES: dict[str, Callable[[Tensor, float, float, int, bool], Tensor]] = {"fourier": _fourier, "bessel": _bessel}
_BASES = (*_BUMPS, *_WAVES)
