"""Energy profiles of a molecule as one side of a bond is turned about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.report.arrays import check_shapes, freeze_arrays
from irrepnet.report.bonds import find_bonds, neighbours_of, side_of_bridge

__all__ = ["RotatableBond", "TorsionScan", "rotatable_bonds", "scan_torsions", "turned"]

Array = NDArray[np.float64]
_MOST_SCANS = 4


@dataclass(frozen=True, eq=False)
class TorsionScan:
    """Energies of a molecule whose one side is turned rigidly about a bond.

    Args:
        source: Where the molecule is from.
        atoms: The four atoms of the dihedral angle; the bond is between the second and the third.
        symbols: Their elements.
        angles: How far it was turned, shape ``[K]``, degrees; 0 is the structure as it was.
        energies: Shape ``[M, K]``, eV, a row for each model.
        clash: Where atoms of the two sides came as near as if they were bonded, shape ``[K]``; empty: nowhere.

    Raises:
        ShapeError: If the arrays do not fit each other.

    Example:
        >>> scan = TorsionScan("a", (2, 0, 1, 5), ("H", "C", "C", "H"), [0, 60], [[-1.0, -1.1], [-1.0, -1.3]])
        >>> scan.profile.round(1), scan.spread.round(1)
        (array([   0., -200.]), array([  0. , 141.4]))
    """

    source: str
    atoms: tuple[int, int, int, int]
    symbols: tuple[str, str, str, str]
    angles: Array
    energies: Array
    clash: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        freeze_arrays(self, ("angles", "energies"))
        clash = self.clash if len(self.clash) else np.zeros(len(self.angles))
        object.__setattr__(self, "clash", np.asarray(clash, dtype=bool))
        check_shapes(self, ("energies",), (len(self.energies), len(self.angles)))
        check_shapes(self, ("clash",), (len(self.angles),))

    @property
    def profile(self) -> Array:
        """Mean energy over the models against that of the first angle, shape ``[K]``, meV."""
        return self._changes.mean(axis=0)

    @property
    def spread(self) -> Array | None:
        """Standard deviation over the models, shape ``[K]``, meV; None for a single one."""
        return self._changes.std(axis=0, ddof=1) if len(self.energies) > 1 else None

    @property
    def _changes(self) -> Array:
        return 1000 * (self.energies - self.energies[:, :1])

    @property
    def name(self) -> str:
        """The bond in words: ``"C0–O2 (dihedral C1–C0–O2–H8)"``."""
        names = [f"{symbol}{atom}" for symbol, atom in zip(self.symbols, self.atoms, strict=True)]
        return f"{names[1]}–{names[2]} (dihedral {'–'.join(names)})"


@dataclass(frozen=True)
class RotatableBond:
    """A bond about which one side of a molecule can be turned.

    Args:
        atoms: The four atoms of a dihedral angle about it.
        moving: The atoms that are turned, the smaller side.
        heavy: Whether both sides hold a heavy atom beyond the bond; false for a methyl group.

    Example:
        >>> RotatableBond((2, 0, 1, 5), (5, 6, 7), heavy=False).atoms[1:3]
        (0, 1)
    """

    atoms: tuple[int, int, int, int]
    moving: tuple[int, ...]
    heavy: bool


def rotatable_bonds(species: ArrayLike, pos: ArrayLike) -> list[RotatableBond]:
    """Return the bonds that join two parts, are in no ring and do not end at a single atom.

    Those between parts with heavy atoms come first: turning them changes the shape of the molecule most.

    Example:
        >>> peroxide = [[0.0, 0.73, -0.05], [0.0, -0.73, -0.05], [0.84, 0.88, 0.42], [-0.84, -0.88, 0.42]]
        >>> [bond.atoms for bond in rotatable_bonds([8, 8, 1, 1], peroxide)]
        [(2, 0, 1, 3)]
    """
    numbers = np.asarray(species)
    bonds = find_bonds(numbers, pos)
    neighbours = neighbours_of(bonds, len(numbers))
    found = []
    for here, there in bonds.ends.T.tolist():
        far = side_of_bridge(neighbours, here, there)
        if far is None or min(len(neighbours[here]), len(neighbours[there])) < 2:
            continue
        near = side_of_bridge(neighbours, there, here)
        assert near is not None  # the same bond, seen from its other end
        heavy = all(any(numbers[atom] > 1 for atom in side - {here, there}) for side in (near, far))
        one, two, moving = (here, there, far) if len(far) <= len(near) else (there, here, near)
        before, after = (min(neighbours[end] - {other}, key=lambda atom: (numbers[atom] == 1, atom))
                         for end, other in ((one, two), (two, one)))  # fmt: skip
        found.append(RotatableBond((before, one, two, after), tuple(sorted(moving)), heavy))
    return sorted(found, key=lambda bond: (not bond.heavy, bond.atoms))


def turned(pos: ArrayLike, bond: RotatableBond, degrees: float) -> Array:
    """Return positions with the moving side of a bond turned about it, shape ``[N, 3]``, Å.

    Example:
        >>> bond = RotatableBond((2, 0, 1, 3), (1, 3), heavy=False)
        >>> turned([[0, 0, 0], [0, 0, 1.4], [1, 0, 0], [1, 0, 1.4]], bond, 90)[3].round(6) + 0.0
        array([0. , 1. , 1.4])
    """
    points = np.array(pos, dtype=np.float64)
    _, start, end, _ = bond.atoms
    axis = (points[end] - points[start]) / np.linalg.norm(points[end] - points[start])
    moving, angle = list(bond.moving), np.radians(degrees)
    arms = points[moving] - points[start]
    along = np.outer(arms @ axis, axis)
    # Rodrigues' formula
    points[moving] = points[start] + along + np.cos(angle) * (arms - along) + np.sin(angle) * np.cross(axis, arms)
    return points


def scan_torsions(
    species: ArrayLike,
    pos: ArrayLike,
    energies: Callable[[Array], Sequence[float]],
    *,
    source: str = "structure",
    step: float = 15.0,
) -> list[TorsionScan]:
    """Turn one side about each rotatable bond, at most four of them, by a full circle.

    The two sides stay rigid: a profile holds no relaxation.

    Args:
        species: Atomic numbers, shape ``[N]``.
        pos: Shape ``[N, 3]``, Å; an open structure.
        energies: Maps positions ``[N, 3]``, Å, to the energies of all models, ``[M]``, eV.
        source: Where the molecule is from.
        step: Degrees.

    Returns:
        A scan per bond; none if no bond can be turned.

    Example:
        >>> peroxide = [[0.0, 0.73, -0.05], [0.0, -0.73, -0.05], [0.84, 0.88, 0.42], [-0.84, -0.88, 0.42]]
        >>> scan, = scan_torsions([8, 8, 1, 1], peroxide, lambda pos: [pos[3, 0]], step=90.0)
        >>> scan.angles, scan.symbols
        (array([  0.,  90., 180., 270., 360.]), ('H', 'O', 'O', 'H'))
    """
    numbers = np.asarray(species)
    angles = np.arange(0.0, 360.0 + step / 2, step)
    bonded = _pairs(numbers, pos)
    scans = []
    for bond in rotatable_bonds(numbers, pos)[:_MOST_SCANS]:
        shapes = [turned(pos, bond, degrees) for degrees in angles]
        scans.append(
            TorsionScan(
                source=source,
                atoms=bond.atoms,
                symbols=tuple(SYMBOLS[numbers[atom]] for atom in bond.atoms),
                angles=angles,
                energies=np.array([energies(shape) for shape in shapes], dtype=np.float64).T,
                clash=np.array([bool(_pairs(numbers, shape) - bonded) for shape in shapes]),
            )
        )
    return scans


def _pairs(species: NDArray[np.int64], pos: ArrayLike) -> set[tuple[int, int]]:
    return {(one, two) for one, two in find_bonds(species, pos).ends.T.tolist()}
