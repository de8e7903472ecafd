"""Smooth functions of the edge length from a table: cubic splines whose knots are values of a network."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.ops._autocast import autocasting
from irrepnet.ops._backend import choose
from irrepnet.ops._register import BatchRule, Derivative, Op, register
from irrepnet.ops.reference import radial_table as reference

__all__ = [
    "FEWEST_KNOTS",
    "MOST_KNOTS",
    "SplinePlaces",
    "check_num_knots",
    "radial_table",
    "spline_matrix",
    "spline_places",
]

_HALF = (torch.float16, torch.bfloat16)
FEWEST_KNOTS = 4  # the end conditions reach over five coefficients
MOST_KNOTS = 4096  # the matrix is dense


class SplinePlaces(NamedTuple):
    """Where edges lie between the knots of a table.

    Attributes:
        b: Weights of the four rows that an edge reads, shape ``[E, 4]``: cubic B-splines of the length.
        row: The first of these rows, int64 ``[E]``.

    Example:
        >>> spline_places(torch.tensor([1.5]), cutoff=3.0, num_knots=4).row
        tensor([1])
    """

    b: Tensor
    row: Tensor


def radial_table(b: Tensor, row: Tensor, table: Tensor, *, backend: str = "auto") -> Tensor:
    r"""Read four neighbouring rows of a table for each edge.

    .. math:: \mathrm{out}_e = \sum_{a=0}^{3} b_{ea} \, \mathrm{table}_{\mathrm{row}_e + a}

    With the weights of :func:`spline_places` and the table of :func:`spline_matrix` it is a cubic spline of the
    edge length: value, slope and curvature are continuous. It is linear in ``b`` and in ``table``, and differentiable
    in both to every order.

    Args:
        b: Weights of the rows, shape ``[E, 4]``. Multiply them by what multiplies the result.
        row: First row of each edge, int64 ``[E]``, from 0 to rows - 4.
        table: Shape ``[rows, W]``, dtype of ``b``. float16 and bfloat16 are computed in float32 and rounded once.
        backend: 'auto', 'reference' or 'fused'.

    Returns:
        Shape ``[E, W]``.

    Raises:
        ShapeError: If shapes do not fit.
        DtypeError: If ``b`` and ``table`` do not share one floating-point dtype, or ``row`` is not int64.
        BackendError: If the backend is unknown, or was named and cannot serve.

    Example:
        >>> radial_table(torch.tensor([[1.0, 1.0, 0.0, 2.0]]), torch.tensor([1]), torch.arange(5.0)[:, None])
        tensor([[11.]])
    """
    _check(b, row, table)
    if b.dtype in _HALF:
        wide = radial_table(b.float(), row, table.float(), backend=backend)
        return wide if autocasting(b.device) else wide.to(b.dtype)
    if choose(backend, "radial_table", b, table) == "reference":
        return reference.read_table(b, row, table)
    return _read(b, row, table)


def spline_places(edge_len: Tensor, cutoff: float, num_knots: int) -> SplinePlaces:
    r"""Find each edge between the knots :math:`r_k = k\,h`, :math:`h = \mathrm{cutoff} / (\mathrm{num\_knots} - 1)`.

    Args:
        edge_len: Lengths >= 0, shape ``[E]``, Å. Those beyond the cutoff are taken to be the cutoff.
        cutoff: Place of the last knot, Å.
        num_knots: Number of knots K.

    Returns:
        The cubic B-splines that are not zero there, twice continuously differentiable in ``edge_len`` as a function of
        all table rows, and the first of their rows; for tables ``[K + 2, W]``.

    Raises:
        ConfigError: If ``num_knots`` is not an integer of 4 to 4096.
        ShapeError: If ``edge_len`` is not ``[E]``.

    Example:
        >>> spline_places(torch.tensor([0.0, 1.5]), cutoff=3.0, num_knots=4)
        SplinePlaces(b=tensor([[0.1667, 0.6667, 0.1667, 0.0000],
                [0.0208, 0.4792, 0.4792, 0.0208]]), row=tensor([0, 1]))
    """
    check_num_knots(num_knots)
    if edge_len.ndim != 1:
        raise ShapeError(f"spline_places needs edge_len [E]; got {list(edge_len.shape)}. Give one length per edge.")
    x = edge_len.clamp(max=cutoff) * ((num_knots - 1) / cutoff)  # in units of the spacing
    row = x.detach().long().clamp(0, num_knots - 2)
    t = x - row  # 0..1 from one knot to the next
    s = 1 - t
    t2, s2 = t * t, s * s
    # The middle ones as 4/6 - t^2 + t^3/2: their derivatives of every order follow from three products.
    b = [s * s2 / 6, (2 / 3 - t2) + t * t2 / 2, (2 / 3 - s2) + s * s2 / 2, t * t2 / 6]
    return SplinePlaces(torch.stack(b, dim=1), row)


def spline_matrix(num_knots: int, like: Tensor) -> Tensor:
    """Return the matrix that makes a table of values at equidistant knots, ``table = matrix @ values``.

    The table holds the coefficients of B-splines whose sum goes through the values. Of all such splines it is the one
    without a knot next to either end ("not a knot"). The map is linear, so what is linear in the values may be done
    after it.

    Args:
        num_knots: Number of knots K.
        like: A tensor of the dtype and device of the result; it is solved in float64.

    Returns:
        Shape ``[K + 2, K]``.

    Raises:
        ConfigError: If ``num_knots`` is not an integer of 4 to 4096.

    Reference: de Boor 2001, A Practical Guide to Splines, chapters IV and IX.

    Example:
        >>> table = spline_matrix(4, torch.empty(0)) @ torch.arange(4.0)[:, None]  # a straight line
        >>> radial_table(*spline_places(torch.tensor([0.5, 2.25]), cutoff=3.0, num_knots=4), table)
        tensor([[0.5000],
                [2.2500]])
    """
    return torch.tensor(_solved(check_num_knots(num_knots)), dtype=like.dtype, device=like.device)


def check_num_knots(num_knots: Any) -> int:
    """Return the number of knots if a table can have it; else raise ``ConfigError``.

    Example:
        >>> check_num_knots(512)
        512
    """
    if isinstance(num_knots, bool) or not isinstance(num_knots, int) or not FEWEST_KNOTS <= num_knots <= MOST_KNOTS:
        found = f"a radial table needs {FEWEST_KNOTS} to {MOST_KNOTS} knots; got {num_knots!r}"
        raise ConfigError(f"{found}. Take 256 or 512.")
    return num_knots


@cache
def _solved(num_knots: int) -> NDArray[np.float64]:
    size = num_knots + 2
    matrix = np.zeros((size, size))
    for k in range(num_knots):
        matrix[k + 1, k : k + 3] = 1 / 6, 4 / 6, 1 / 6  # what each B-spline has at knot k
    matrix[0, :5] = matrix[-1, -5:] = -1, 4, -6, 4, -1  # jump of the third derivative at the knot next to the end
    return np.linalg.inv(matrix)[:, 1:-1].astype(np.float64)


def _check(b: Tensor, row: Tensor, table: Tensor) -> None:
    if not b.is_floating_point() or b.dtype != table.dtype:
        raise DtypeError(
            f"radial_table needs b and table of one floating-point dtype; got {str(b.dtype)[6:]}, "
            f"{str(table.dtype)[6:]}. Move them with .to(...)."
        )
    if row.dtype != torch.int64:
        raise DtypeError(f"radial_table needs row in int64; got {str(row.dtype)[6:]}. Write row.long().")
    if b.ndim != 2 or b.shape[1] != 4 or row.shape != b.shape[:1] or table.ndim != 2:
        found = ", ".join(str(list(x.shape)) for x in (b, row, table))
        raise ShapeError(f"radial_table needs b [E, 4], row [E] and table [rows, W]; got {found}.")


# vmap: a batch is one long list of edges on the tables laid end to end.


def _edge_batch(call: Op) -> BatchRule:
    def rule(size: int, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[Tensor, int]:
        edges, row, table = (_lead(x, dim, size) for x, dim in zip(args, in_dims, strict=True))
        out = call(edges.flatten(0, 1), _shifted(row, table.shape[1]), table.flatten(0, 1))
        return out.unflatten(0, edges.shape[:2]), 0

    return rule


def _table_batch(call: Op) -> BatchRule:
    def rule(size: int, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        g, b, row = (_lead(x, dim, size) for x, dim in zip(args[:3], in_dims[:3], strict=True))
        out = call(g.flatten(0, 1), b.flatten(0, 1), _shifted(row, args[3]), size * args[3])
        return out.unflatten(0, (size, args[3])), 0

    return rule


def _lead(x: Tensor, dim: int | None, size: int) -> Tensor:
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


def _shifted(row: Tensor, rows: int) -> Tensor:
    return (row + rows * torch.arange(len(row), device=row.device).unsqueeze(1)).flatten()


# T(g, b, t) = sum_e sum_a b[e, a] g[e].t[row[e] + a] carries all derivatives: the ops are its gradients with respect to
# g, b and t, and each of their derivatives is another of them.

_gradient_table: Op = register(
    "radial_table_gradient_table",
    fake=lambda g, b, row, rows: g.new_empty(rows, g.shape[1]),
    derivatives={
        0: Derivative(vjp=lambda t, g, b, row, rows: _read(b, row, t)),
        1: Derivative(vjp=lambda t, g, b, row, rows: _gradient_b(g, row, t)),
    },
    batch=_table_batch,
)

_gradient_b: Op = register(
    "radial_table_gradient_b",
    fake=lambda g, row, table: g.new_empty(g.shape[0], 4),
    derivatives={
        0: Derivative(vjp=lambda b, g, row, table: _read(b, row, table)),
        2: Derivative(vjp=lambda b, g, row, table: _gradient_table(g, b, row, table.shape[0])),
    },
    batch=_edge_batch,
)

_read: Op = register(
    "radial_table",
    fake=lambda b, row, table: b.new_empty(b.shape[0], table.shape[1]),
    derivatives={
        0: Derivative(vjp=lambda g, b, row, table: _gradient_b(g, row, table)),
        2: Derivative(vjp=lambda g, b, row, table: _gradient_table(g, b, row, table.shape[0])),
    },
    batch=_edge_batch,
)
