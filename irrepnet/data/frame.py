"""One structure with its labels, as read from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.errors import DataError, ShapeError

__all__ = ["Frame"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure and what is known of it, in numpy; anything array-like is taken and kept as float64 or int64.

    Shapes, kinds and the cell are checked here; :func:`~irrepnet.data.validate_frames` checks the other values. Tensors
    are detached.

    Args:
        species: Atomic numbers, shape ``[N]``.
        pos: Positions, shape ``[N, 3]``, Å; also outside the cell.
        cell: Lattice vectors as rows, shape ``[3, 3]``, Å; None for an open system.
        pbc: Which lattice vectors are periods: one bool, or shape ``[3]``.
        energy: Total energy, eV; None if not known.
        forces: Shape ``[N, 3]``, eV/Å; None if not known.
        stress: dE/dstrain / V, shape ``[3, 3]``, eV/Å^3; None if not known.
        source: Where the frame is from, for messages: ``"water.npz frame 12"``.
        group: The trajectory it belongs to; None if not known.
        available: Names that its file holds, for messages about missing labels.
        id: Its name in its data set, which files of ids list; None if it has none.
        properties: Labels of the structure by name, any shape (``{"dipole": [3], "alpha": [3, 3]}``), in the unit of
            their source. What is not known is left out.
        atom_properties: Labels of the atoms by name, shape ``[N, ...]``; a row of NaN: not known for this atom.

    Raises:
        ShapeError: If a shape does not fit the number of atoms.
        DataError: If something is not real numbers, ``pbc`` is not bool, the cell is not finite, there are periods
            without a cell, or ``id`` is not a text.

    Example:
        >>> frame = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], energy=-2056.3)
        >>> len(frame), frame.pos.dtype, frame.pbc
        (3, dtype('float64'), array([False, False, False]))
    """

    species: NDArray[np.int64]
    pos: Array
    cell: Array | None = None
    pbc: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(3, dtype=bool))
    energy: float | None = None
    forces: Array | None = None
    stress: Array | None = None
    source: str = "frame"
    group: str | None = None
    available: tuple[str, ...] = ()
    id: str | None = None
    properties: Mapping[str, Array] = field(default_factory=dict)
    atom_properties: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        species = self._numbers("species", self.species, (None,), np.int64)
        num_atoms = len(species)
        self._set("species", species)
        self._set("pos", self._numbers("pos", self.pos, (num_atoms, 3)))
        self._set("pbc", self._bools("pbc", self.pbc))
        for name, shape in (("cell", (3, 3)), ("forces", (num_atoms, 3)), ("stress", (3, 3))):
            if getattr(self, name) is not None:
                self._set(name, self._numbers(name, getattr(self, name), shape))
        if not isinstance(self.id, str | None):
            raise DataError(f"{self.source}: id needs a text or None; found {self.id!r:.80}")
        if self.energy is not None:
            self._set("energy", float(self._numbers("energy", self.energy, ())))
        self._set("properties", {name: self._any_shape(name, value) for name, value in self.properties.items()})
        self._set("atom_properties", {name: self._rows(name, value) for name, value in self.atom_properties.items()})
        if self.cell is not None and not np.isfinite(self.cell).all():
            raise DataError(f"{self.source}: cell needs finite numbers; found {self.cell.tolist()}")
        if self.cell is None and self.pbc.any():
            raise DataError(f"{self.source}: pbc {self.pbc.tolist()} needs a cell; found None; give cell, or pbc=False")

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.species)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _array(self, name: str, value: Any, kinds: str, wanted: str) -> NDArray[Any]:
        """Return the value as an array of one of some kinds of dtype, which numpy names by a letter."""
        try:
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{self.source}: {name} needs {wanted}; found {value!r:.80}") from error
        if array.dtype.kind not in kinds:
            raise DataError(f"{self.source}: {name} needs {wanted}; found {value!r:.80} of dtype {array.dtype}")
        return array

    def _any_shape(self, name: str, value: ArrayLike) -> Array:
        return np.array(self._array(f"property {name}", value, "biuf", "numbers"), dtype=np.float64)

    def _rows(self, name: str, value: ArrayLike) -> Array:
        array = self._any_shape(name, value)
        if array.ndim == 0 or len(array) != len(self):
            raise ShapeError(
                f"{self.source}: property {name} of atoms needs shape [{len(self)}, ...]; found {list(array.shape)}"
            )
        return array

    def _bools(self, name: str, value: ArrayLike) -> NDArray[np.bool_]:
        array = self._array(name, value, "biu", "one bool or three")
        if array.shape not in ((), (3,)):
            raise ShapeError(f"{self.source}: {name} needs one bool or three; found shape {list(array.shape)}")
        if not np.isin(array, (0, 1)).all():
            raise DataError(f"{self.source}: {name} needs one bool or three; found {array.tolist()}")
        return np.broadcast_to(array, 3).astype(bool)

    def _numbers(self, name: str, value: ArrayLike, shape: tuple[int | None, ...], dtype: Any = np.float64) -> Any:
        array = self._array(name, value, "biuf", "numbers")
        if dtype is np.int64 and array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
            raise DataError(f"{self.source}: {name} needs integers (atomic numbers); found {array.max()}")
        exact = array.astype(dtype)
        if dtype is np.int64 and array.dtype.kind not in "iu" and array.size:
            raise DataError(f"{self.source}: {name} needs integers (atomic numbers); found dtype {array.dtype}")
        if len(shape) != exact.ndim or any(
            want not in (None, have) for want, have in zip(shape, exact.shape, strict=True)
        ):
            wanted = "[N]" if None in shape else str(list(shape))
            raise ShapeError(f"{self.source}: {name} needs shape {wanted}; found {list(exact.shape)}")
        return exact
