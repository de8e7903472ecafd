"""The definition of the solid spherical harmonics, in plain PyTorch."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from irrepnet.ops._autocast import without_autocast
from irrepnet.ops._constant import constant_when_compiled

__all__ = ["direction", "spherical_harmonics"]


def spherical_harmonics(xyz: Tensor, lmax: int, normalize: bool = False) -> Tensor:
    r"""Return the solid harmonics of every degree up to lmax, each built from the one before.

    A solid harmonic is homogeneous and harmonic, so Euler's theorem and the ladder of its derivatives give

    .. math:: R_l = \frac{1}{l} \sum_i x_i \, \partial_i R_l, \qquad \partial_i R_l = G_i R_{l-1},

    with constant matrices G. For every direction this step stretches no vector more than the harmonics themselves
    grow, so rounding errors are not amplified, whatever the degree.

    Args:
        xyz: Points, shape ``[..., 3]``, floating point.
        lmax: Highest degree, >= 0.
        normalize: Whether to take the harmonics of the directions; see :func:`direction`.

    Returns:
        Shape ``[..., (lmax + 1)**2]``, degree after degree, 'component' normalisation.

    Reference: Varshalovich, Moskalev, Khersonskii 1988, Quantum Theory of Angular Momentum, section 5.8.3.

    Example:
        >>> spherical_harmonics(torch.tensor([[0.0, 2.0, 0.0]]), 1)
        tensor([[1.0000, 0.0000, 3.4641, 0.0000]])
    """
    if normalize:
        xyz = direction(xyz)[0]
    # Padding (rather than a fresh tensor of ones) keeps the constant l = 0 part differentiable when lmax = 0.
    if lmax <= 1:
        return pad((math.sqrt(3) * xyz)[..., : 3 * lmax], (1, 0), value=1.0)  # [..., 1 + 3 * lmax]
    x = xyz.reshape(-1, 3).T.contiguous()  # [3, E]: points innermost, because 3 and 2l+1 are short
    row = math.sqrt(3) * x
    rows = [pad(row, (0, 0, 1, 0), value=1.0)]  # [4, E]
    with without_autocast(xyz.device):  # the definition holds in the dtype of its input
        for degree in range(2, lmax + 1):
            products = (x.unsqueeze(1) * row).flatten(0, 1)  # [3 * (2l-1), E]
            row = torch.tensor(ladder(degree), dtype=xyz.dtype, device=xyz.device) @ products  # [2l+1, E]
            rows.append(row)
    return torch.cat(rows).T.contiguous().reshape(*xyz.shape[:-1], (lmax + 1) ** 2)


def direction(xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors divided by their lengths, and one over these.

    The zero vector stays zero, and the inverse of its length is taken as zero too; so are all its derivatives. A
    vector counts as zero when no component is a normal floating-point number.

    Args:
        xyz: Vectors, shape ``[..., 3]``, floating point.

    Returns:
        Directions ``[..., 3]`` and inverse lengths ``[..., 1]``.

    Example:
        >>> direction(torch.tensor([0.0, 2.0, 0.0]))
        (tensor([0., 1., 0.]), tensor([0.5000]))
    """
    largest = xyz.detach().abs().amax(-1, keepdim=True)  # [..., 1]
    zero = largest < torch.finfo(xyz.dtype).tiny
    safe = xyz.masked_fill(zero, 1.0)  # twice masked: a NaN in the branch not taken would reach the gradient
    # Lengths next to 1: the square of a tiny or huge one would leave the range. Scales do not matter, so no gradient.
    scale = largest.masked_fill(zero, 1.0)
    safe = safe / scale
    inverse = (safe * safe).sum(-1, keepdim=True).rsqrt()
    return (safe * inverse).masked_fill(zero, 0.0), (inverse / scale).masked_fill(zero, 0.0)


@constant_when_compiled
def ladder(degree: int) -> tuple[tuple[float, ...], ...]:
    """Return the step to a degree from the one below: rows are its components, columns (axis, component below).

    Component m >= 0 goes as cos(m phi), component -m as sin(m phi), with phi from z to x around the polar axis y.
    """
    return _ladder(degree)


@cache
def _ladder(degree: int) -> tuple[tuple[float, ...], ...]:
    table = [[0.0] * (3 * (2 * degree - 1)) for _ in range(2 * degree + 1)]

    def add(axis: int, m_from: int, m_to: int, value: float) -> None:
        table[m_to + degree][axis * (2 * degree - 1) + m_from + degree - 1] = value / degree

    scale = (2 * degree + 1) / (2 * degree - 1)
    for m in range(-degree, degree + 1):
        k, parity = abs(m), 1 if m >= 0 else -1
        if k < degree:
            add(1, m, m, math.sqrt(scale * (degree - k) * (degree + k)))
        for step in (-1, 1):
            n = k + step
            if not 0 <= n < degree:
                continue
            reach = (degree - step * k) * (degree - step * k - 1) * (2 if min(k, n) == 0 else 1)
            value = -step * math.sqrt(scale * reach) / 2
            if n > 0 or parity > 0:
                add(2, parity * n, m, value)
            if n > 0 or parity < 0:  # there is no sin(0 phi)
                add(0, -parity * n, m, parity * step * value)
    return tuple(tuple(row) for row in table)
