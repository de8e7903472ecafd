"""Single structures with the errors on their atoms, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.errors import ShapeError
from irrepnet.report.arrays import check_shapes, freeze_arrays

__all__ = ["StructureErrors", "last_part"]

Array = NDArray[np.float64]


def last_part(source: str) -> str:
    """Return where a frame is from without the folders of its file.

    Example:
        >>> last_part("/data/water.npz frame 12")
        'water.npz frame 12'
    """
    return source.rsplit("/", 1)[-1]


@dataclass(frozen=True, eq=False)
class StructureErrors:
    """A structure with reference and predicted forces.

    Args:
        source: Where it is from, ``"water.npz frame 12"``.
        species: Atomic numbers, shape ``[N]``, at least one.
        pos: Shape ``[N, 3]``, Å.
        forces_ref: Shape ``[N, 3]``, eV/Å.
        forces_pred: Shape ``[N, 3]``, eV/Å.
        cell: Lattice vectors as rows, shape ``[3, 3]``, Å; None for an open structure.
        pbc: Which lattice vectors are periods, shape ``[3]``.
        energy_error: Predicted minus reference, meV/atom; None if not known.

    Raises:
        ShapeError: If the arrays do not fit each other or there is no atom.

    Example:
        >>> frame = StructureErrors("a frame 0", [1, 1], np.eye(2, 3), np.zeros((2, 3)), 0.01 * np.eye(2, 3))
        >>> frame.force_error, frame.worst_atom
        (array([10., 10.]), 0)
    """

    source: str
    species: NDArray[np.int64]
    pos: Array
    forces_ref: Array
    forces_pred: Array
    cell: Array | None = None
    pbc: tuple[bool, bool, bool] = (False, False, False)
    energy_error: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", np.asarray(self.species, dtype=np.int64))
        object.__setattr__(self, "pbc", tuple(bool(periodic) for periodic in self.pbc))
        freeze_arrays(self, ("pos", "forces_ref", "forces_pred", "cell"))
        if not len(self.species):
            raise ShapeError("StructureErrors needs at least one atom; found none")
        check_shapes(self, ("pos", "forces_ref", "forces_pred"), (len(self.species), 3))
        if self.cell is not None:
            check_shapes(self, ("cell",), (3, 3))

    @property
    def force_error(self) -> Array:
        """Length of the error of the force on each atom, shape ``[N]``, meV/Å."""
        return 1000 * np.linalg.norm(self.forces_pred - self.forces_ref, axis=1)

    @property
    def worst_atom(self) -> int:
        """Place of the atom with the largest error."""
        return int(np.nanargmax(self.force_error)) if np.isfinite(self.force_error).any() else 0

    @property
    def name(self) -> str:
        """The source without its folders."""
        return last_part(self.source)

    @property
    def words(self) -> str:
        """What there is to say of it in a line."""
        atom = self.worst_atom
        symbol = SYMBOLS[self.species[atom]]
        energy = "" if self.energy_error is None else f"; energy {self.energy_error:+.2f} meV/atom".replace("-", "−")
        return f"{self.name}: force error {self.force_error[atom]:.0f} meV/Å on atom {atom} ({symbol}){energy}"
