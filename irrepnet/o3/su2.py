r"""SU(2) in the complex basis, and the unitary matrix that leads from there to the real basis."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

import numpy as np
import torch

from irrepnet.errors import DtypeError, IrrepsError

__all__ = ["change_basis_real_to_complex", "degree", "integer", "real_basis", "real_dtype", "su2_generators"]

_COMPLEX = {
    torch.float32: torch.complex64,
    torch.float64: torch.complex128,
    torch.complex64: torch.complex64,
    torch.complex128: torch.complex128,
}


def su2_generators(
    j: float, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    r"""Return the three generators of SU(2) in spin ``j``, in the order x, y, z of this package.

    .. math:: [X_a, X_b] = \sum_c \epsilon_{abc} X_c, \qquad \sum_a X_a^2 = -j(j+1)

    The polar axis is y: :math:`X_y = \mathrm{diag}(-ij, \dots, ij)`.

    Args:
        j: Spin, an integer or a half of one.
        dtype: float32 or float64, the precision, or a complex dtype; torch's default dtype by default.
        device: torch's default device by default.

    Returns:
        Anti-Hermitian matrices, shape ``[3, 2j+1, 2j+1]``, complex.

    Raises:
        IrrepsError: If ``j`` is not 0, 1/2, 1, ...
        DtypeError: If there is no such complex dtype.

    Reference: Wigner 1959, Group Theory, chapter 15.

    Example:
        >>> su2_generators(0.5)[1].diagonal().imag
        tensor([-0.5000,  0.5000])
    """
    if isinstance(j, bool) or not isinstance(j, numbers.Real) or j < 0 or not float(2 * j).is_integer():
        raise IrrepsError(f"a spin is one of 0, 1/2, 1, 3/2, ...; got {j!r}.")
    j = float(j)
    m = np.arange(2 * j + 1) - j
    ladder = np.diag(np.sqrt((j - m[:-1]) * (j + m[1:])) / 2, 1)  # [2j+1, 2j+1], from m to m - 1, halved
    generators = np.stack([ladder - ladder.T, 1j * np.diag(m), 1j * (ladder + ladder.T)]) + 0.0  # no -0.0
    return torch.tensor(generators, dtype=_complex(dtype), device=device)


def change_basis_real_to_complex(
    l: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    r"""Return the unitary matrix Q that takes components in the real basis to those in the complex one.

    With it the generators agree, ``so3_generators(l) = Q^H su2_generators(l) Q``. Its phase :math:`(-i)^l` makes the
    3j symbols real in the real basis.

    Args:
        l: Degree.
        dtype: float32 or float64, the precision, or a complex dtype; torch's default dtype by default.
        device: torch's default device by default.

    Returns:
        Shape ``[2l+1, 2l+1]``, complex: rows m = -l ... l of the complex basis.

    Raises:
        IrrepsError: If ``l`` is not a degree.
        DtypeError: If there is no such complex dtype.

    Example:
        >>> Q = change_basis_real_to_complex(2)
        >>> torch.allclose(Q @ Q.mH, torch.eye(5).cfloat())
        True
    """
    Q = (-1j) ** (degree(l) % 4) * real_basis(l).conj().T
    return torch.tensor(Q, dtype=_complex(dtype), device=device)


def real_basis(l: int) -> np.ndarray:
    r"""Return Q with real harmonics = Q @ complex ones (Condon-Shortley phase), complex128 ``[2l+1, 2l+1]``.

    Rows: sin(l phi), ..., sin(phi), 1, cos(phi), ..., cos(l phi); columns: m = -l ... l.

    Example:
        >>> real_basis(0)
        array([[1.+0.j]])
    """
    Q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    Q[l, l] = 1.0
    for m in range(1, l + 1):
        Q[l + m, [l - m, l + m]] = np.array([1, (-1) ** m]) / math.sqrt(2)
        Q[l - m, [l - m, l + m]] = np.array([1j, -1j * (-1) ** m]) / math.sqrt(2)
    return Q


def degree(l: int) -> int:
    """Return ``l`` if it is a degree, else raise.

    Raises:
        IrrepsError: If it is not an integer >= 0.

    Example:
        >>> degree(2)
        2
    """
    number = integer(l)
    if number is None:
        raise IrrepsError(f"a degree is an integer l >= 0; got {l!r}.")
    return number


def integer(x: Any, least: int = 0) -> int | None:
    """Return ``x`` as an int if it is an integer of any type (NumPy has its own) from ``least`` on, else None.

    Example:
        >>> integer(np.int64(2)), integer(2.0), integer(True), integer(0, least=1)
        (2, None, None, None)
    """
    try:
        number = None if isinstance(x, (bool, np.bool_)) else operator.index(x)
    except TypeError:
        return None
    return number if number is not None and number >= least else None


def real_dtype(name: str, dtype: torch.dtype | None) -> torch.dtype:
    """Return a floating-point dtype, or torch's default dtype for None; raise for others.

    Args:
        name: Who asks, for the message.
        dtype: What was given.

    Raises:
        DtypeError: If it is not a floating-point dtype.

    Example:
        >>> real_dtype("s2_grid", None)
        torch.float32
    """
    if dtype is None:
        return torch.get_default_dtype()
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise DtypeError(f"{name} needs a floating-point dtype, such as torch.float64; got {dtype!r}.")
    return dtype


def _complex(dtype: torch.dtype | None) -> torch.dtype:
    """Return the complex dtype of a precision."""
    dtype = dtype or torch.get_default_dtype()
    if dtype not in _COMPLEX:
        raise DtypeError(f"matrices of SU(2) need dtype float32, float64, complex64 or complex128; got {dtype}.")
    return _COMPLEX[dtype]
