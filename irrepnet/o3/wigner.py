r"""Matrices and invariants of the rotation group: Wigner D, its generators, and the 3j symbols, in the real basis.

Everything is made from integers: a table entry is an exact integer sum times the square root of a rational number,
rounded once. Tables are float64, made once per degree, and kept as read-only NumPy arrays, so that nothing that is
made while a graph is traced is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, pairwise

import numpy as np
import torch

from irrepnet.errors import DtypeError, IrrepsError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.su2 import degree, real_basis, real_dtype
from irrepnet.ops._constant import constant_when_compiled

__all__ = ["block_diagonal", "so3_generators", "turns_about_x", "wigner_3j", "wigner_D"]


def wigner_D(l: int, alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    r"""Return the matrix by which a rotation acts on degree ``l``; for ``l = 1`` it is the rotation matrix.

    A turn about the polar axis y only mixes the components m and -m, and the half turn that swaps x and y, with
    matrix J, makes turns about x of turns about y:

    .. math:: D^l(\alpha, \beta, \gamma) = Z(\alpha)\, J\, Z(\beta)\, J\, Z(\gamma)

    Sines, cosines and the turn about x are computed in float64, so float32 results are right to 3e-7.

    Args:
        l: Degree.
        alpha: Third rotation, about y, radians, shape ``[...]``.
        beta: Second rotation, about x, radians, shape ``[...]``.
        gamma: First rotation, about y, radians, shape ``[...]``.

    Returns:
        Orthogonal matrices, shape ``[..., 2l+1, 2l+1]``, of the dtype and device of the angles.

    Raises:
        IrrepsError: If ``l`` is not a degree.
        DtypeError: If the angles are not floating-point tensors of one dtype.

    Reference: Pinchon and Hoggan 2007, J. Phys. A 40, 1597.

    Example:
        >>> wigner_D(2, *torch.zeros(3, 7)).shape
        torch.Size([7, 5, 5])
    """
    dtype = _angle_dtype(alpha, beta, gamma)
    J = torch.tensor(_half_turn_rows(degree(l)), dtype=torch.float64, device=alpha.device)  # symmetric, [2l+1, 2l+1]
    m = torch.arange(l, -l - 1, -1, device=alpha.device, dtype=torch.float64)  # frequency of each component
    angles = torch.stack(torch.broadcast_tensors(alpha, beta, gamma)).to(torch.float64).unsqueeze(-1) * m
    cos, sin = angles.cos(), angles.sin()  # [3, ..., 2l+1]
    # Z(t) has cos(m t) on the diagonal and sin(m t) on the antidiagonal; it is applied, never formed. The turn about x
    # is (J Z) J in this order: then one matrix product serves all rotations.
    d = torch.addcmul(cos[1].unsqueeze(-2) * J, sin[1].unsqueeze(-2), J.flip(-1), value=-1) @ J
    work = torch.promote_types(dtype, torch.float32)  # sums of many terms are behind us
    d, cos, sin = d.to(work), cos.to(work), sin.to(work)  # [..., 2l+1, 2l+1], turn about x
    d = torch.addcmul(cos[0].unsqueeze(-1) * d, sin[0].unsqueeze(-1), d.flip(-2))
    d = torch.addcmul(cos[2].unsqueeze(-2) * d, sin[2].unsqueeze(-2), d.flip(-1), value=-1)
    return d.to(dtype)


def block_diagonal(
    irreps: Iterable[tuple[int, Irrep]],
    alpha: torch.Tensor,
    beta: torch.Tensor,
    gamma: torch.Tensor,
    k: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the matrix by which a rotation and ``k`` inversions act on a direct sum of irreps.

    Args:
        irreps: Pairs of multiplicity and irrep.
        alpha: Third rotation, about y, radians, shape ``[...]``.
        beta: Second rotation, about x, radians, shape ``[...]``.
        gamma: First rotation, about y, radians, shape ``[...]``.
        k: Number of inversions, shape ``[...]``.

    Returns:
        Matrices, shape ``[..., dim, dim]``, of the dtype and device of the angles.

    Raises:
        DtypeError: If the angles are not floating-point tensors of one dtype.

    Example:
        >>> block_diagonal([(2, Irrep("0e")), (1, Irrep("1o"))], *torch.zeros(3)).diagonal()
        tensor([1., 1., 1., 1., 1.])
    """
    dtype = _angle_dtype(alpha, beta, gamma)
    entries = [(mul, ir) for mul, ir in irreps if mul > 0]
    dim = sum(mul * ir.dim for mul, ir in entries)
    if k is not None:
        k = torch.as_tensor(k, device=alpha.device)
        sign = (1 - 2 * torch.remainder(k, 2)).to(dtype)[..., None, None]
    by_degree = {l: wigner_D(l, alpha, beta, gamma) for l in sorted({ir.l for _, ir in entries})}
    rows, start = [], 0
    for mul, ir in entries:
        D = by_degree[ir.l] if k is None or ir.p == 1 else by_degree[ir.l] * sign
        copies = torch.eye(mul, dtype=dtype, device=D.device)[:, None, :, None] * D[..., None, :, None, :]
        size = mul * ir.dim
        block = copies.reshape(*D.shape[:-2], size, size)
        rows.append(torch.nn.functional.pad(block, (start, dim - start - size)))  # [..., size, dim]
        start += size
    # torch.broadcast_shapes would import sympy, which takes longer than all of this.
    batch = torch.broadcast_tensors(alpha, beta, gamma, *([] if k is None else [k]))[0].shape
    rows = [row.expand(*batch, *row.shape[-2:]) for row in rows]
    return torch.cat(rows, dim=-2) if rows else alpha.new_zeros(*batch, 0, 0)


def so3_generators(
    l: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    r"""Return the generators of rotations about x, y and z: :math:`D = \exp(\theta\, n \cdot X)`.

    Args:
        l: Degree.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        Antisymmetric matrices, shape ``[3, 2l+1, 2l+1]``.

    Raises:
        IrrepsError: If ``l`` is not a degree.
        DtypeError: If ``dtype`` is not a floating-point one.

    Example:
        >>> so3_generators(1)[2]  # about z: x goes to y
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.],
                [ 0.,  0.,  0.]])
    """
    dtype = real_dtype("so3_generators", dtype)
    J = _half_turn(degree(l))
    about_y = np.diag(np.arange(l, -l - 1.0, -1.0))[:, ::-1]  # derivative of Z(t) at t = 0
    about_x = J @ about_y @ J
    about_z = about_x @ about_y - about_y @ about_x
    generators = np.stack([about_x, about_y, about_z]) + 0.0  # no -0.0
    return torch.tensor(generators, dtype=dtype, device=device)


def wigner_3j(
    l1: int, l2: int, l3: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    r"""Return the one rotation-invariant tensor of three degrees, in the real basis.

    .. math:: C_{ijk} = C_{lmn}\, D^{l_1}_{li} D^{l_2}_{mj} D^{l_3}_{nk}, \qquad \sum_{ijk} C_{ijk}^2 = 1

    A cyclic exchange of the degrees leaves it as it is, a swap of two multiplies it by :math:`(-1)^{l_1+l_2+l_3}`.
    ``C[1,1,0]`` is the unit matrix over sqrt(3), ``C[1,1,1]`` the Levi-Civita symbol over sqrt(6).

    Args:
        l1: First degree.
        l2: Second degree.
        l3: Third degree, from abs(l1 - l2) to l1 + l2.
        dtype: Default: torch's default dtype; the table behind it is float64.
        device: Default: torch's default device.

    Returns:
        A new tensor, shape ``[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]``.

    Raises:
        IrrepsError: If one is not a degree or the triangle rule forbids the three.
        DtypeError: If ``dtype`` is not a floating-point one.

    Example:
        >>> (wigner_3j(1, 1, 0).squeeze() * 3**0.5).round()
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    l1, l2, l3 = degree(l1), degree(l2), degree(l3)
    dtype = real_dtype("wigner_3j", dtype)
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise IrrepsError(
            f"wigner_3j({l1}, {l2}, {l3}) needs degrees that form a triangle: "
            f"{l1} x {l2} holds l3 = {abs(l1 - l2)}..{l1 + l2}; got l3 = {l3}."
        )
    return torch.tensor(_rows_3j(l1, l2, l3), dtype=dtype, device=device)


# torch.compile does not follow the exact arithmetic behind a table: it takes what these two return as constants.
@constant_when_compiled
def _rows_3j(l1: int, l2: int, l3: int) -> list[list[list[float]]]:
    return table_3j(l1, l2, l3).tolist()


@constant_when_compiled
def _half_turn_rows(l: int) -> list[list[float]]:
    return _half_turn(l).tolist()


@cache
def table_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    r"""Return the read-only float64 table behind ``wigner_3j``.

    With Q the real harmonics in terms of the complex ones, it is :math:`(-i)^{l_1+l_2+l_3}\, (Q \otimes Q \otimes Q)`
    times the 3j symbols of SU(2); the power of -i makes it real and gives the sign.

    Example:
        >>> float(table_3j(0, 0, 0)[0, 0, 0])
        1.0
    """
    symbols = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            symbols[m1 + l1, m2 + l2, l3 - m1 - m2] = _su2_3j(l1, m1, l2, m2, l3)
    C = (real_basis(l1) @ symbols.reshape(2 * l1 + 1, -1)).reshape(symbols.shape)
    C = real_basis(l2) @ C @ real_basis(l3).T
    C = np.ascontiguousarray(((-1j) ** ((l1 + l2 + l3) % 4) * C).real)
    C[np.abs(C) < 1e-15] = 0.0  # sums that cancel; true entries of degrees up to 30 are far above, beyond 30 most are
    C.flags.writeable = False
    return C


def _su2_3j(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """Return the 3j symbol of SU(2) with m3 = -m1 - m2 by Racah's sum, in integers up to one square root."""
    m3 = -m1 - m2
    a, b, c = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3
    total = 0
    for t in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(a, l1 - m1, l2 + m2) + 1):
        total += (-1) ** t * math.comb(a, t) * math.comb(b, l1 - m1 - t) * math.comb(c, l2 + m2 - t)
    if total == 0:
        return 0.0
    f = math.factorial
    above = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    below = f(l1 + l2 + l3 + 1) * f(a) * f(b) * f(c)
    sign = math.copysign(1.0, total) * (-1) ** (l1 - l2 - m3)
    return sign * math.sqrt(total * total * above / below)  # a quotient of integers is rounded once


@cache
def _half_turn(l: int) -> np.ndarray:
    r"""Return J, the matrix of the half turn that swaps x and y (and reverses z); symmetric, its own inverse.

    Up to signs its entries are those of Wigner's d at a right angle, times sqrt(2) for each order that is not 0. With
    a given order of one index, either the sine or the cosine of an order of the other is met, never both.
    """
    J = np.zeros((2 * l + 1, 2 * l + 1))
    norm = [math.factorial(l + m) * math.factorial(l - m) for m in range(l + 1)]
    for n, coefficients in enumerate(_expansions(l)):
        for m in range(n, l + 1):
            total = coefficients[l - m]
            square = (total * total * norm[m] << (m > 0) + (n > 0)) / (norm[n] << 2 * l)  # of integers, rounded once
            sign = (-1) ** ((m + n) // 2 + (m + n) * (l + m) + (total < 0))
            i, j = l + m * (-1) ** (l + n), l + n * (-1) ** (l + m)
            J[i, j] = J[j, i] = sign * math.sqrt(square)
    J += 0.0  # no -0.0
    J.flags.writeable = False
    return J


def _expansions(l: int) -> Iterator[list[int]]:
    r"""Yield the coefficients of 1, x, ..., x^(l-n) in :math:`(1 - x)^{l+n} (1 + x)^{l-n}` for n = 0 ... l.

    That of x^(l-m) is Wigner's d^l_{mn} at a right angle, but for its norm and sign.
    """
    row = [(-1) ** (k // 2) * math.comb(l, k // 2) if k % 2 == 0 else 0 for k in range(l + 1)]  # of (1 - x^2)^l
    for _ in range(l + 1):
        yield row
        steps = (b - a for a, b in pairwise([0, *row[:-1]]))  # times 1 - x, then divided by 1 + x
        row = list(accumulate(steps, lambda last, step: step - last))


def turns_about_x(l: int, angles: np.ndarray) -> np.ndarray:
    """Return the matrices of turns about x, float64 ``[..., 2l+1, 2l+1]``; they do not mix sines and cosines.

    Example:
        >>> turns_about_x(1, np.array(0.0)).diagonal()
        array([1., 1., 1.])
    """
    J = _half_turn(degree(l))
    angles = angles[..., None, None] * np.arange(l, -l - 1.0, -1.0)[:, None]  # [..., 2l+1, 1]
    return J @ (np.cos(angles) * J + np.sin(angles) * J[::-1])


def _angle_dtype(*angles: torch.Tensor) -> torch.dtype:
    """Return the one floating-point dtype of the angles, else raise."""
    dtypes = {angle.dtype if isinstance(angle, torch.Tensor) else type(angle).__name__ for angle in angles}
    if len(dtypes) == 1 and isinstance(angles[0], torch.Tensor) and angles[0].is_floating_point():
        return angles[0].dtype
    found = ", ".join(sorted(map(str, dtypes)))
    raise DtypeError(f"Euler angles need floating-point tensors of one dtype; got {found}. Write angle.double().")
