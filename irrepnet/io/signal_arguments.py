"""What the methods of a signal on the sphere ask of their arguments."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError

__all__ = ["as_integer", "need_tensors"]


def as_integer(number: Any) -> int | None:
    """Return an integer of any library as int, or None for what is none; a bool is none.

    Example:
        >>> as_integer(torch.tensor(3)), as_integer(3.0), as_integer(True)
        (3, None, None)
    """
    try:
        return None if isinstance(number, bool) else operator.index(number)
    except TypeError:
        return None


def need_tensors(method: str, lmax: int, **tensors: Tensor | None) -> None:
    """Refuse tensors that are not of one floating-point dtype, or whose last axes do not fit what their name says.

    Args:
        method: Names who asks.
        lmax: Degree of the signals.
        **tensors: Named signal or signals ``[..., dim]``, r or centers ``[..., 3]``, vectors or positions
            ``[..., N, 3]``, or values ``[..., N]``; values must broadcast with the points before them. None is passed
            over.

    Raises:
        DtypeError: If dtypes are not floating-point and equal.
        ShapeError: If a shape does not fit.

    Example:
        >>> need_tensors("signal_xyz", 1, signal=torch.zeros(7, 4), r=torch.zeros(3))
    """
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    kinds = {getattr(tensor, "dtype", None) for tensor in given.values()}
    if len(kinds) > 1 or not all(isinstance(kind, torch.dtype) and kind.is_floating_point for kind in kinds):
        found = ", ".join(f"{name} {getattr(tensor, 'dtype', type(tensor).__name__)}" for name, tensor in given.items())
        raise DtypeError(f"{method} needs floating-point tensors of one dtype; got {found}.")
    points: tuple[str, Tensor] | None = None
    for name, tensor in given.items():
        if name == "values":
            if points is not None:
                _need_values(method, *points, tensor)
            continue
        sets = name in ("vectors", "positions")
        width = (lmax + 1) ** 2 if name in ("signal", "signals") else 3
        if tensor.ndim < 1 + sets or tensor.shape[-1] != width:
            needed = f"[..., N, {width}]" if sets else f"[..., {width}]"
            raise ShapeError(f"{method} needs {name} {needed} for lmax = {lmax}; got {name} {list(tensor.shape)}.")
        points = (name, tensor) if sets else points


def _need_values(method: str, name: str, points: Tensor, values: Tensor) -> None:
    """Refuse values that do not go with the points."""
    if values.ndim > 0:
        pairs = zip(reversed(points.shape[:-1]), reversed(values.shape), strict=False)
        if all(n in (m, 1) or m == 1 for n, m in pairs):
            return
    raise ShapeError(
        f"{method} needs one value for each point, values [..., N] for {name} [..., N, 3]; "
        f"got {name} {list(points.shape)} and values {list(values.shape)}."
    )
