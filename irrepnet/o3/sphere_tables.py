"""Angles, quadrature weights and tables of spherical harmonics on grids of the sphere, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

from irrepnet.errors import ConfigError, DtypeError, ShapeError, did_you_mean
from irrepnet.o3.legendre import legendre_functions
from irrepnet.o3.su2 import integer

__all__ = [
    "Resolution",
    "azimuthal_table",
    "azimuths",
    "complete_resolution",
    "degree_factors",
    "fejer_weights",
    "places_in_square",
    "polar_angles",
    "polar_tables",
    "sources_of_square",
]

Resolution = int | Sequence[int | None] | None


def complete_resolution(
    name: str, lmax: int | None, res: Resolution, allow_aliasing: bool = False
) -> tuple[int, int, int]:
    """Return ``(lmax, res_beta, res_alpha)``, where None stands for a default that fits the rest.

    Args:
        name: Who asks, for the message.
        lmax: Highest degree.
        res: ``res_beta`` or ``(res_beta, res_alpha)``.
        allow_aliasing: Allow a grid that is too coarse.

    Raises:
        ConfigError: If nothing is given, or the grid is too coarse.

    Example:
        >>> complete_resolution("grid", 2, None), complete_resolution("grid", None, 10)
        ((2, 6, 5), (4, 10, 9))
    """
    given = (lmax, *(res if isinstance(res, (tuple, list)) else (res, None)))
    numbers = [integer(x, least) for x, least in zip(given, (0, 1, 1), strict=False)]
    none = [x is None for x in given]
    if len(given) != 3 or all(none) or [number is None for number in numbers] != none:
        raise ConfigError(
            f"{name} needs lmax >= 0, or a resolution of one or two positive integers, or both; got lmax = {lmax!r}, "
            f"res = {res!r}."
        )
    lmax, res_beta, res_alpha = numbers
    if res_beta is None:
        res_beta = 2 * (((res_alpha or 0) + 1) // 2) if lmax is None else 2 * (lmax + 1)
    if res_alpha is None:  # odd, and about as fine as the polar angles
        res_alpha = max(0 if lmax is None else 2 * lmax + 1, (res_beta - 1) | 1)
    if lmax is None:
        lmax = (min(res_beta, res_alpha) - 1) // 2
    if min(res_beta, res_alpha) < 2 * lmax + 1 and not allow_aliasing:
        raise ConfigError(
            f"{name} of lmax = {lmax} needs res = ({2 * lmax + 1}, {2 * lmax + 1}) or finer; "
            f"got ({res_beta}, {res_alpha}), good up to lmax = {(min(res_beta, res_alpha) - 1) // 2}."
        )
    return lmax, res_beta, res_alpha


def polar_angles(res: int) -> np.ndarray:
    """Return polar angles in the middle of equal intervals, float64 ``[res]``.

    Example:
        >>> float(polar_angles(1)[0] / np.pi)
        0.5
    """
    return (np.arange(res) + 0.5) * (math.pi / res)


def fejer_weights(res: int) -> np.ndarray:
    r"""Return the weights that average over the sphere a function of the polar angle; exact for lmax < res.

    Args:
        res: Number of polar angles.

    Returns:
        Weights of sum 1, float64 ``[res]``.

    Reference: Fejér 1933, Math. Z. 37, 287: the first rule.

    Example:
        >>> bool(np.isclose(fejer_weights(5) @ np.cos(polar_angles(5)) ** 4, 1 / 5))
        True
    """
    j = np.arange(1, res // 2 + 1)
    cosines = np.cos(2 * polar_angles(res)[:, None] * j)  # [res, res // 2]
    return (1 - (2 * cosines / (4 * j**2 - 1)).sum(1)) / res


def degree_factors(normalization: str | Tensor, lmax: int, lmax_in: int, *, inverse: bool = False) -> np.ndarray:
    """Return the factor of each degree on the way to the grid, or back from averages over the sphere.

    Args:
        normalization: "component", "norm", "integral" or the factors themselves.
        lmax: Highest degree here.
        lmax_in: Highest degree of the signal.
        inverse: Whether it is the way back.

    Returns:
        float64 ``[lmax + 1]``.

    Raises:
        ConfigError: If ``normalization`` is unknown, or a tensor that has no values or records gradients.
        ShapeError: If the number of factors is wrong.
        DtypeError: If they are not of floating point.

    Example:
        >>> degree_factors("integral", 2, 2)
        array([1., 1., 1.])
    """
    if isinstance(normalization, Tensor):
        return _given_factors(normalization, lmax)
    degrees = np.arange(lmax + 1)
    variance = {  # of the values, where the signal is random and normalised so
        "component": (2 * degrees + 1) * (lmax_in + 1) / (4 * math.pi),
        "norm": np.full(lmax + 1, (lmax_in + 1) / (4 * math.pi)),
        "integral": np.ones(lmax + 1),
    }
    if not isinstance(normalization, str) or normalization not in variance:
        hint = did_you_mean(str(normalization), variance)
        raise ConfigError(f"normalization must be {', '.join(variance)} or a tensor; got {normalization!r}.{hint}")
    factors = variance[normalization] ** -0.5
    return 4 * math.pi / factors if inverse else factors


def _given_factors(factors: Tensor, lmax: int) -> np.ndarray:
    """Return a copy of the factors of each degree that were given as a tensor."""
    if not factors.is_floating_point():
        raise DtypeError(f"normalization as a tensor needs real floating-point numbers; got {factors.dtype}.")
    if factors.shape != (lmax + 1,):
        found = list(factors.shape)
        raise ShapeError(f"normalization as a tensor needs one factor for each degree, [{lmax + 1}]; got {found}.")
    if factors.requires_grad or factors.is_meta:
        kind = "one on 'meta'" if factors.is_meta else "one with requires_grad=True"
        raise ConfigError(f"normalization as a tensor needs values, which are constant; got {kind}. Give x.detach().")
    return np.array(factors.tolist())


def azimuths(res: int) -> np.ndarray:
    """Return evenly spaced azimuths, float64 ``[res]``.

    Example:
        >>> azimuths(4) / np.pi
        array([0. , 0.5, 1. , 1.5])
    """
    return np.arange(res) * (2 * math.pi / res)


def azimuthal_table(lmax: int, alphas: np.ndarray) -> np.ndarray:
    """Return the azimuthal functions at some angles, ``[M, 2 lmax + 1]``; see ``spherical_harmonics_alpha``.

    Example:
        >>> azimuthal_table(1, azimuths(1)).round(4)
        array([[0.    , 1.    , 1.4142]])
    """
    turns = alphas[:, None] * np.arange(1, lmax + 1)
    return np.hstack([math.sqrt(2) * np.sin(turns)[:, ::-1], np.ones((len(alphas), 1)), math.sqrt(2) * np.cos(turns)])


@lru_cache(maxsize=16)  # a ToS2Grid and its FromS2Grid share one
def polar_tables(lmax: int, res: int) -> np.ndarray:
    """Return P at the polar angles for each order and degree, zero where abs(m) > l, ``[2 lmax + 1, lmax + 1, res]``.

    Example:
        >>> polar_tables(1, 2)[1, 1].round(3)
        array([ 0.345, -0.345])
    """
    betas = polar_angles(res)
    tables = np.zeros((2 * lmax + 1, lmax + 1, res))
    for l, row in enumerate(legendre_functions(lmax, np.cos(betas), np.sin(betas))):
        tables[lmax : lmax + l + 1, l] = row
    tables[:lmax] = tables[:lmax:-1]
    tables.flags.writeable = False
    return tables


def places_in_square(lmax: int) -> np.ndarray:
    """Return the place of each coefficient in the square of orders and degrees, ``[(lmax + 1)^2]``.

    Example:
        >>> places_in_square(1)
        array([2, 1, 3, 5])
    """
    return np.array([(lmax + m) * (lmax + 1) + l for l in range(lmax + 1) for m in range(-l, l + 1)])


def sources_of_square(lmax: int) -> np.ndarray:
    """Return the coefficient at each place of the square; where there is none the table has a zero.

    Example:
        >>> sources_of_square(1)
        array([0, 1, 0, 2, 0, 3])
    """
    return np.array([l * l + l + m if abs(m) <= l else 0 for m in range(-lmax, lmax + 1) for l in range(lmax + 1)])
