"""Spherical Bessel functions of order 0, as a basis on an interval."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irrepnet.errors import ConfigError

__all__ = ["bessel", "sinc", "sine_ratios"]


def bessel(x: Tensor, n: int, x_max: float = 1.0) -> Tensor:
    r"""Return the spherical Bessel functions that vanish at ``x_max``, orthonormal in the ball of that radius.

    .. math:: B_k(x) = \sqrt{\frac{2}{c}} \, \frac{\sin(k \pi x / c)}{x}, \qquad
              \int_0^c B_k(x)\, B_l(x)\, x^2 dx = \delta_{kl}

    They are finite at x = 0, with all derivatives. Beyond the ends of the interval they go on.

    Args:
        x: Shape ``[...]``. Integers are taken as torch's default dtype.
        n: Number of functions, k = 1 ... n.
        x_max: End c of the interval.

    Returns:
        Shape ``[..., n]``.

    Raises:
        ConfigError: If ``n`` is not an integer >= 0, or ``x_max`` is not positive.

    Reference: Gasteiger et al. 2020, Directional Message Passing, arXiv:2003.03123, eq. 7.

    Example:
        >>> bessel(torch.tensor([0.0, 0.25]), 2)
        tensor([[4.4429, 8.8858],
                [4.0000, 5.6569]])
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ConfigError(f"bessel needs an integer number of functions n >= 0; got {n!r}.")
    if not x_max > 0:
        raise ConfigError(f"bessel needs an interval that ends at x_max > 0; got {x_max!r}.")
    # Divided by x once instead of once for each function: sin(k t) / x = (sin t / t) U_{k-1}(cos t) pi / c, where the
    # polynomial U_{k-1}(cos t) is the sum of cos(m t) over m = k-1, k-3, ..., 1-k. All terms are smooth.
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    t = x * (math.pi / x_max)
    orders = torch.arange(n, dtype=x.dtype, device=x.device)
    chebyshev = torch.tensor(sine_ratios(n), dtype=x.dtype, device=x.device).reshape(n, n)
    ratios = torch.cos(t.unsqueeze(-1) * orders) @ chebyshev  # [..., n], sin(k t) / sin(t)
    return ratios * (math.sqrt(2 / x_max) * math.pi / x_max * sinc(t)).unsqueeze(-1)


def sinc(t: Tensor) -> Tensor:
    r"""Return sin(t) / t and 1 at t = 0, with derivatives that are right there (of ``torch.sinc`` the second is NaN).

    Args:
        t: Shape ``[...]``, radians.

    Returns:
        Shape ``[...]``.

    Example:
        >>> sinc(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.8415])
    """
    near = t.abs() < 0.1  # where the series is right to rounding, and so are its derivatives up to order 8
    away = t.masked_fill(near, 1.0)  # masked before and after: a NaN in the branch not taken would reach the gradient
    y = t.masked_fill(~near, 0.0).square()
    series = 1 - y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72 * (1 - y / 110))))
    return torch.where(near, series, torch.sin(away) / away)


def sine_ratios(n: int) -> list[list[float]]:
    """Return how often cos(m t), m = 0 ... n-1, occurs in sin(k t) / sin(t), k = 1 ... n, as rows of m.

    Example:
        >>> sine_ratios(2)  # sin(2 t) / sin(t) = 2 cos(t)
        [[1.0, 0.0], [0.0, 2.0]]
    """
    return [[(2.0 if m else 1.0) if m < k and (k - m) % 2 else 0.0 for k in range(1, n + 1)] for m in range(n)]
