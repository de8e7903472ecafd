r"""Associated Legendre functions: the part of a spherical harmonic that depends on the polar angle."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError
from irrepnet.o3.su2 import degree

__all__ = ["Legendre", "legendre_functions", "need_one_dtype"]


class Legendre(torch.nn.Module):
    r"""Evaluate associated Legendre functions, normalised on the sphere and without the Condon-Shortley phase.

    .. math:: P^l_m(z, y) = \sqrt{\frac{2l+1}{4\pi} \frac{(l-|m|)!}{(l+|m|)!}}\; y^{|m|}\,
        \frac{1}{2^l l!} \frac{d^{l+|m|}}{dz^{l+|m|}} (z^2 - 1)^l

    On the sphere :math:`z = \cos\beta` and :math:`y = \sin\beta`. There is nothing to learn here. All is computed in
    float64 and rounded to the dtype of the arguments at the end.

    Args:
        ls: Degrees, in any order, up to 1000.

    Raises:
        IrrepsError: If one is not a degree, or larger.

    Reference: Varshalovich, Moskalev, Khersonskii 1988, Quantum Theory of Angular Momentum, section 5.2.

    Example:
        >>> legendre = Legendre([0, 1])
        >>> legendre
        Legendre(l = 0, 1)
        >>> legendre(torch.tensor(1.0), torch.tensor(0.0))
        tensor([0.2821, 0.0000, 0.4886, 0.0000])
    """

    def __init__(self, ls: Iterable[int]) -> None:
        super().__init__()
        if not isinstance(ls, Iterable):
            raise IrrepsError(f"Legendre needs degrees, such as [0, 1, 2]; got {ls!r}. Write Legendre([{ls!r}]).")
        self.ls = tuple(_not_too_high(degree(l)) for l in ls)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Evaluate the functions.

        Args:
            z: Cosine of the polar angle, shape ``[...]``.
            y: Its sine, shape ``[...]``.

        Returns:
            Shape ``[..., sum of 2l+1]``: degree after degree, m = -l ... l.

        Raises:
            DtypeError: If the arguments are not floating-point tensors of one dtype.
        """
        dtype = need_one_dtype("Legendre", z=z, y=y)
        z, y = torch.broadcast_tensors(z, y)
        # In float32 the powers of y underflow, and with them the functions of degree 200 and more.
        P = legendre_functions(max(self.ls, default=0), z.double(), y.double())
        columns = [P[l][abs(m)] for l in self.ls for m in range(-l, l + 1)]
        return torch.stack(columns, dim=-1).to(dtype) if columns else z.unsqueeze(-1)[..., :0]

    def __repr__(self) -> str:
        return f"Legendre(l = {', '.join(map(str, self.ls))})"


def legendre_functions(lmax: int, z: Any, y: Any) -> list[list[Any]]:
    r"""Return the functions of ``Legendre`` as ``P[l][m]`` for 0 <= m <= l <= lmax.

    Upwards in l at fixed m, where the recurrence is stable:

    .. math:: P^l_m = a_{lm} (z\, P^{l-1}_m - P^{l-2}_m / a_{l-1,m}), \qquad a_{lm} = \sqrt{(4l^2-1) / (l^2-m^2)}

    Args:
        lmax: Highest degree, up to 1000.
        z: Cosine of the polar angle, a tensor or a NumPy array, float64.
        y: Its sine, of the same shape.

    Raises:
        IrrepsError: If the degree is larger.

    Example:
        >>> import numpy as np
        >>> P = legendre_functions(1, np.cos(0.5), np.sin(0.5))
        >>> float(P[1][1] / P[1][0] - np.tan(0.5) / 2**0.5).__round__(12)
        0.0
    """
    P: list[list[Any]] = [[z**0 * math.sqrt(1 / (4 * math.pi))]]  # a function of z, so that it has a derivative
    for l in range(1, _not_too_high(lmax) + 1):
        row = [_step(l, m) * (z * P[l - 1][m] - P[l - 2][m] / _step(l - 1, m)) for m in range(l - 1)]
        row.append(math.sqrt(2 * l + 1) * z * P[l - 1][l - 1])
        row.append(math.sqrt((2 * l + 1) / (2 * l)) * y * P[l - 1][l - 1])
        P.append(row)
    return P


def need_one_dtype(name: str, **arguments: Tensor) -> torch.dtype:
    """Return the one floating-point dtype of the arguments, else raise.

    Raises:
        DtypeError: If one is not a floating-point tensor, or their dtypes differ.

    Example:
        >>> need_one_dtype("Legendre", z=torch.ones(1), y=torch.ones(1))
        torch.float32
    """
    kinds = [x.dtype if isinstance(x, Tensor) else type(x).__name__ for x in arguments.values()]
    first = next(iter(arguments.values()))
    if len(set(kinds)) == 1 and isinstance(first, Tensor) and first.is_floating_point():
        return first.dtype
    found = ", ".join(f"{key} {kind}" for key, kind in zip(arguments, kinds, strict=True))
    raise DtypeError(f"{name} needs floating-point tensors of one dtype; got {found}. Write x.to(dtype).")


def _not_too_high(l: int) -> int:
    r"""Return the degree if the recurrence from y^m is good for it, else raise.

    Functions of degree l matter up to the order :math:`m = l \sin\beta`; there :math:`y^m = \sin^m\beta` is at least
    exp(-l/e), which is 1e-160 for l = 1000. From l = 1900 on it is below the range of float64.
    """
    if l > 1000:
        raise IrrepsError(f"Legendre functions underflow in float64 at high degrees: they need l <= 1000; got l = {l}.")
    return l


def _step(l: int, m: int) -> float:
    return math.sqrt((4 * l * l - 1) / (l * l - m * m))
