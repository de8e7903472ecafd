"""Predicted properties and tensors against their reference, per target and per irrep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.errors import ShapeError
from irrepnet.io.cartesian_tensor import CartesianTensor
from irrepnet.io.irrep_parts import irrep_parts, irrep_spread
from irrepnet.report.arrays import freeze_arrays

__all__ = ["IrrepRow", "TargetParity", "TargetRow", "irrep_rows", "target_row"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TargetParity:
    """One target on the test frames: a row per structure or per atom; a row with NaN is not known.

    Args:
        name: Of the target, ``"gap"``.
        unit: As text, ``"eV"``; empty for none.
        reference: Shape ``[R]`` or ``[R, 3, ...]``, in the unit.
        predicted: The same, predicted.
        formula: How the Cartesian indices transform, as :class:`~irrepnet.io.CartesianTensor` takes it: ``"i"`` for a
            vector, ``"ij=ji"`` for a symmetric matrix; None for plain numbers.
        level: ``"structure"`` or ``"atom"``: what a row belongs to.
        sources: Where each structure is from, a text per row of a target per structure; empty if not known.

    Raises:
        ShapeError: If reference and prediction do not fit each other or the formula.

    Example:
        >>> TargetParity("gap", "eV", [5.0, 6.0], [5.1, 5.9]).errors.round(6)
        array([ 0.1, -0.1])
    """

    name: str
    unit: str
    reference: Array
    predicted: Array
    formula: str | None = None
    level: str = "structure"
    sources: Sequence[str] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self, ("reference", "predicted"))
        num_axes = 0 if self.formula is None else len(CartesianTensor(self.formula).indices)
        shape = (len(self.reference), *[3] * num_axes)
        for name in ("reference", "predicted"):
            if getattr(self, name).shape != shape:
                found = list(getattr(self, name).shape)
                raise ShapeError(f"TargetParity {self.name!r} needs {name} {list(shape)}; found {found}")
        if len(self.sources) not in (0, len(self.reference)):
            raise ShapeError(
                f"TargetParity {self.name!r} needs {len(self.reference)} sources or none; found {len(self.sources)}"
            )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a reference, shape ``[R]``."""
        return np.asarray(np.isfinite(self.reference).reshape(len(self.reference), -1).all(axis=1))

    @property
    def errors(self) -> Array:
        """Predicted minus reference of the rows that are known, in the unit."""
        return (self.predicted - self.reference)[self.known]


class TargetRow(NamedTuple):
    """Errors of one target; ``spread`` is the standard deviation of the reference.

    Example:
        >>> TargetRow("gap", "eV", mae=0.1, rmse=0.2, spread=2.0, size=9).share
        0.1
    """

    name: str
    unit: str
    mae: float
    rmse: float
    spread: float
    size: int  # numbers compared

    @property
    def share(self) -> float:
        """RMSE over spread; NaN where the reference does not vary."""
        return self.rmse / self.spread if self.spread > 0 else float("nan")


class IrrepRow(NamedTuple):
    """Errors of the part of a tensor that transforms as one irrep, per component of it.

    Example:
        >>> IrrepRow("alpha", "2e", "a0^3", rmse=0.1, spread=2.0).share
        0.05
    """

    name: str
    irrep: str
    unit: str
    rmse: float
    spread: float  # see io.irrep_spread

    @property
    def share(self) -> float:
        """RMSE over spread; NaN where the reference does not vary."""
        return self.rmse / self.spread if self.spread > 0 else float("nan")


def target_row(target: TargetParity) -> TargetRow:
    """Return the errors of a target over all its components.

    Example:
        >>> row = target_row(TargetParity("gap", "eV", [5.0, 7.0, np.nan], [5.1, 6.9, 1.0]))
        >>> round(row.mae, 6), row.spread, row.size
        (0.1, 1.0, 2)
    """
    reference, error = target.reference[target.known], target.errors
    if error.size == 0:
        return TargetRow(target.name, target.unit, np.nan, np.nan, np.nan, 0)
    mae, rmse = float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))
    return TargetRow(target.name, target.unit, mae, rmse, float(reference.std()), error.size)


def irrep_rows(target: TargetParity) -> list[IrrepRow]:
    """Return the errors of each irrep that a vector or tensor holds; none for plain numbers.

    Example:
        >>> tensors = np.stack([np.eye(3), 3 * np.eye(3)])
        >>> target = TargetParity("a", "", tensors, 1.5 * tensors, "ij=ji")
        >>> [(row.irrep, round(row.rmse, 6)) for row in irrep_rows(target)]
        [('0e', 1.936492), ('2e', 0.0)]
    """
    if target.formula is None or not target.known.any():
        return []
    reference = irrep_parts(target.formula, target.reference[target.known])
    errors = irrep_parts(target.formula, target.errors)
    return [
        IrrepRow(
            target.name, str(ir), target.unit, float(np.sqrt(np.square(errors[ir]).mean())), irrep_spread(ir, part)
        )
        for ir, part in reference.items()
    ]
