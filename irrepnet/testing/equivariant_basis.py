"""All linear maps that commute with a group, as an orthonormal basis: what a linear layer may be at most."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DataError, IrrepsError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.testing.group import read_group

__all__ = ["equivariant_basis"]

_NEARLY = 1e-3  # a map that no element moves by more, of length 1, is looked at with all digits
_ROUNDING = 1e-12  # what rounding moves, per degree; more where the matrices of the group are rounded themselves
_UNCLEAR = 100.0  # times the rounding: neither that nor surely a move
_MOST = 4 * 2**30  # bytes


def equivariant_basis(irreps_in: Any, irreps_out: Any, group: Any = "O(3)") -> Tensor:
    r"""Return a basis of the linear maps :math:`A` for which :math:`A\, D_{in}(g) = D_{out}(g)\, A` for all ``g``.

    For the full groups these are, by Schur's lemma, the multiples of the identity between equal irreps, which is what
    ``o3.Linear`` learns; "SO(3)" does not tell parities apart. A point group, being smaller, allows more: what a
    crystal allows of a tensor that free space forbids.

    Args:
        irreps_in: Irreps of what the map is applied to.
        irreps_out: Irreps of what it returns.
        group: ``"O(3)"``, ``"SO(3)"``, or orthogonal matrices that generate a finite group (or are all of it), shape
            ``[G, 3, 3]``, in Cartesian coordinates.

    Returns:
        Float64 matrices ``[n, dim_out, dim_in]``, orthonormal: :math:`\operatorname{tr}(A_i^T A_j) = \delta_{ij}`.
        The coefficients of an equivariant map are its inner products with them.

    Raises:
        IrrepsError: If irreps cannot be read, or are so large that the basis needs more than 4 GiB.
        ConfigError: If the name of the group is unknown.
        ShapeError: If ``group`` is not ``[G, 3, 3]``.
        DataError: If its matrices are not orthogonal, or so near to 1 that rounding hides what they do.

    Reference: Finzi, Welling and Wilson 2021, arXiv:2104.09459 (maps of any group from its generators).

    Example:
        >>> equivariant_basis("2x0e + 1o", "0e + 3x1o").shape  # 2 x 1 scalars, 1 x 3 vectors
        torch.Size([5, 10, 5])
        >>> len(equivariant_basis("1o", "1e")), len(equivariant_basis("1o", "1e", "SO(3)"))
        (0, 1)
        >>> quarter_turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])  # about z
        >>> len(equivariant_basis("1o", "1o", quarter_turn))  # along z, and in the plane: scale and turn
        3
    """
    irreps_in, irreps_out = Irreps(irreps_in), Irreps(irreps_out)
    elements = read_group(group)
    between = {(ir_in, ir_out): _between(ir_in, ir_out, elements) for _, ir_in in irreps_in for _, ir_out in irreps_out}
    count = sum(m * n * len(between[b, a]) for m, a in irreps_out for n, b in irreps_in)
    size = 8 * count * irreps_out.dim * irreps_in.dim
    if size > _MOST:
        raise IrrepsError(
            f"equivariant_basis needs {size / 2**30:.0f} GiB for {count} maps from {irreps_in} to {irreps_out}, more "
            f"than {_MOST / 2**30:.0f}. Give fewer channels: each pair of channels has the maps of one pair."
        )
    maps = torch.zeros(count, irreps_out.dim, irreps_in.dim, dtype=torch.float64, device="cpu")
    start = 0
    for (mul_out, ir_out), rows in zip(irreps_out, irreps_out.slices(), strict=True):
        for (mul_in, ir_in), columns in zip(irreps_in, irreps_in.slices(), strict=True):
            block = _repeated(between[ir_in, ir_out], mul_out, mul_in)  # [n, rows, columns]
            maps[start : start + len(block), rows, columns] = block
            start += len(block)
    return maps


def _between(ir_in: Irrep, ir_out: Irrep, elements: str | Tensor) -> Tensor:
    """Return the basis between two single irreps, shape ``[n, 2 l_out + 1, 2 l_in + 1]``."""
    if isinstance(elements, Tensor):
        rounded = (elements @ elements.mT - torch.eye(3, dtype=torch.float64, device="cpu")).abs().max().item()
        rounding = (_ROUNDING + 16 * rounded) * (1 + ir_in.l + ir_out.l)
        return _null_space(ir_in.D_from_matrix(elements), ir_out.D_from_matrix(elements), rounding)
    is_same = ir_in == ir_out or (elements == "SO(3)" and ir_in.l == ir_out.l)
    identity = torch.eye(ir_in.dim, dtype=torch.float64, device="cpu") / ir_in.dim**0.5
    return identity[None] if is_same else identity.new_zeros(0, ir_out.dim, ir_in.dim)


def _null_space(d_in: Tensor, d_out: Tensor, rounding: float) -> Tensor:
    r"""Return the maps that all elements leave alone: the kernel of :math:`\sum_g |1 - D_{out} \otimes D_{in}|^2`.

    The squares find it but for small angles, the moves themselves tell those apart.
    """
    shape = d_out.shape[-1], d_in.shape[-1]
    moved = torch.einsum("gij,gkl->ikjl", d_out, d_in).reshape(shape[0] * shape[1], -1)  # sum over g of the action on A
    identity = torch.eye(len(moved), dtype=moved.dtype, device=moved.device)
    values, vectors = torch.linalg.eigh(2 * len(d_in) * identity - moved - moved.T)
    near = vectors[:, values < _NEARLY**2].T.reshape(-1, *shape)
    moves = torch.einsum("gij,njk,glk->gnil", d_out, near, d_in) - near
    _, sizes, mixtures = torch.linalg.svd(moves.transpose(0, 1).flatten(1).T, full_matrices=False)
    unclear = sizes[(sizes > rounding) & (sizes < _UNCLEAR * rounding)]
    if len(unclear):
        raise DataError(
            f"group needs matrices that are 1 or differ from it by more than rounding; got some that move a map by "
            f"{unclear.min().item():.1e}, with a rounding of {rounding:.1e}. Give them with all their digits."
        )
    return torch.einsum("an,nij->aij", mixtures[sizes <= rounding], near)


def _repeated(maps: Tensor, mul_out: int, mul_in: int) -> Tensor:
    """Put each map between each pair of channels, shape ``[mul_out mul_in n, mul_out d_out, mul_in d_in]``."""
    n, d_out, d_in = maps.shape
    channels = torch.eye(mul_out * mul_in, dtype=maps.dtype, device=maps.device).reshape(
        mul_out * mul_in, mul_out, mul_in
    )
    return torch.einsum("cuv,nij->cnuivj", channels, maps).reshape(mul_out * mul_in * n, mul_out * d_out, mul_in * d_in)
