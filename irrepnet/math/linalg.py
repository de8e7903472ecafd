"""Bases of small vector spaces, made deterministically: the same input gives the same basis, signs included."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError

__all__ = ["complete_basis", "direct_sum", "orthonormalize"]


def direct_sum(*matrices: Tensor) -> Tensor:
    """Put matrices along the diagonal of a matrix that is zero elsewhere.

    Args:
        *matrices: Shape ``[..., m_i, n_i]`` with the same leading axes.

    Returns:
        Shape ``[..., sum of m_i, sum of n_i]``; without matrices, an empty one.

    Raises:
        ShapeError: If one has fewer than two axes, or other leading axes than the first.
        DtypeError: If the dtypes differ.

    Example:
        >>> direct_sum(torch.eye(2), torch.ones(1, 2))
        tensor([[1., 0., 0., 0.],
                [0., 1., 0., 0.],
                [0., 0., 1., 1.]])
    """
    if not matrices:
        return torch.zeros(0, 0)
    first = matrices[0]
    for matrix in matrices:
        if matrix.ndim < 2 or matrix.shape[:-2] != first.shape[:-2]:
            raise ShapeError(
                f"direct_sum needs matrices [{', '.join([*map(str, first.shape[:-2]), 'm', 'n'])}]; "
                f"got {list(matrix.shape)}. Expand their leading axes to the same size."
            )
        if matrix.dtype != first.dtype:
            raise DtypeError(f"direct_sum needs matrices of one dtype; got {first.dtype} and {matrix.dtype}.")
    rows, columns = (sum(matrix.shape[axis] for matrix in matrices) for axis in (-2, -1))
    out = first.new_zeros(*first.shape[:-2], rows, columns)
    i = j = 0
    for matrix in matrices:
        m, n = matrix.shape[-2:]
        out[..., i : i + m, j : j + n] = matrix
        i, j = i + m, j + n
    return out


def orthonormalize(original: Tensor, eps: float = 1e-9) -> tuple[Tensor, Tensor]:
    r"""Make orthonormal vectors, each from the ones before it (Gram-Schmidt), without those that bring nothing new.

    The first entry of each that is not zero is positive, so that the result does not depend on signs.

    Args:
        original: Vectors, shape ``[n, dim]``.
        eps: Entries of y below it are zero, those of A below it times the largest in their row, and vectors of a length
            below 2 eps; what the dtype cannot resolve is zero as well.

    Returns:
        The orthonormal vectors y, shape ``[rank, dim]``, and the matrix A, ``[rank, n]``, of ``y = A @ original``.

    Raises:
        ShapeError: If ``original`` is not ``[n, dim]``.

    Example:
        >>> y, A = orthonormalize(torch.tensor([[2.0, 0.0], [-4.0, 0.0], [1.0, -1.0]]))
        >>> y
        tensor([[1., 0.],
                [0., 1.]])
        >>> A
        tensor([[ 0.5000,  0.0000,  0.0000],
                [ 0.5000,  0.0000, -1.0000]])
    """
    _check_vectors("orthonormalize", original)
    vectors, coefficients = original[:0], original.new_zeros(0, len(original))
    for x, unit in zip(original, torch.eye(len(original), dtype=original.dtype, device=original.device), strict=True):
        rest, a = x, unit
        for _ in range(2):  # once more removes what rounding left of the vectors before
            overlap = vectors @ rest
            rest, a = rest - overlap @ vectors, a - overlap @ coefficients
        if rest.norm() <= _smallest(x, eps):
            continue
        first = _without_noise(rest / rest.norm(), eps).nonzero()[0, 0]
        scale = rest[first].sign() / rest.norm()
        vectors = torch.cat([vectors, _without_noise(rest * scale, eps)[None]])
        a = a * scale
        coefficients = torch.cat([coefficients, _without_noise(a, eps, a.abs().max())[None]])  # of the size of 1 / x
    return vectors, coefficients


def complete_basis(vecs: Tensor, eps: float = 1e-9) -> Tensor:
    """Return orthonormal vectors that span all that is orthogonal to the given ones.

    Each is what a unit vector e_1, e_2, ... has outside of the given and the preceding vectors.

    Args:
        vecs: Vectors, orthogonal or not, shape ``[n, dim]``.
        eps: See ``orthonormalize``.

    Returns:
        Shape ``[dim - rank of vecs, dim]``.

    Raises:
        ShapeError: If ``vecs`` is not ``[n, dim]``.

    Example:
        >>> complete_basis(torch.tensor([[1.0, 1.0, 0.0]]))
        tensor([[ 0.7071, -0.7071,  0.0000],
                [ 0.0000,  0.0000,  1.0000]])
    """
    _check_vectors("complete_basis", vecs)
    basis, _ = orthonormalize(vecs, eps)
    given = len(basis)
    for unit in torch.eye(vecs.shape[1], dtype=vecs.dtype, device=vecs.device):
        rest = unit
        for _ in range(2):
            rest = rest - (basis @ rest) @ basis
        if rest.norm() > _smallest(unit, eps):
            basis = torch.cat([basis, _without_noise(rest / rest.norm(), eps)[None]])
    return basis[given:]


def _check_vectors(name: str, vectors: Tensor) -> None:
    if vectors.ndim != 2:
        raise ShapeError(f"{name} needs vectors [n, dim]; got {list(vectors.shape)}.")


def _smallest(x: Tensor, eps: float) -> float:
    """Return the length below which what is left of x is nothing but rounding."""
    return max(2 * eps, 16 * torch.finfo(x.dtype).eps * float(x.detach().norm()))


def _without_noise(x: Tensor, eps: float, size: Tensor | float = 1.0) -> Tensor:
    return torch.where(x.abs() < max(eps, torch.finfo(x.dtype).eps) * size, 0.0, x)
