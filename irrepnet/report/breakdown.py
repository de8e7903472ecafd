"""Where a force field errs: by the size of the reference force, by frame, by group and by size of the system."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.report.data import Parity
from irrepnet.report.key_numbers import MILLI

__all__ = [
    "ForceBins",
    "FrameErrors",
    "GroupRow",
    "force_bins",
    "formula",
    "frame_errors",
    "group_rows",
    "worst_frames",
]

Array = NDArray[np.float64]
# Shares of the atoms, by rising reference force: the last bins are the rare large forces that simulations break on.
_QUANTILES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0)
_LEAST_IN_BIN = 5


class ForceBins(NamedTuple):
    """Force errors of the atoms whose reference force is of like size; a row for each bin.

    Example:
        >>> ForceBins(np.array([0.0, 2.0]), np.array([1.0]), np.array([50.0]), np.array([40])).share
        array([0.05])
    """

    edges: Array  # [K + 1] eV/Å
    mean: Array  # [K] mean length of the reference force, eV/Å
    error: Array  # [K] rms length of the error of the force, meV/Å
    size: NDArray[np.int64]  # [K] atoms

    @property
    def share(self) -> Array:
        """Error over the mean force, shape ``[K]``; NaN where the forces are 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean > 0, self.error / MILLI / self.mean, np.nan)


class FrameErrors(NamedTuple):
    """Errors of one frame.

    Example:
        >>> FrameErrors(3, "a.npz frame 3", None, "H2O", 3, -0.4, 120.0, 50.0, 0, "O").atom
        0
    """

    place: int  # among the test frames
    source: str
    group: str | None
    formula: str
    num_atoms: int
    energy_error: float  # predicted - reference, meV/atom; NaN: not known
    largest_force_error: float  # length of the error on the worst atom, meV/Å; NaN: not known
    force_rmse: float  # of the components, meV/Å
    atom: int  # the worst
    symbol: str


class GroupRow(NamedTuple):
    """Errors of the frames of one group, or of one composition.

    Example:
        >>> GroupRow("bulk", 5, 960, 0.4, 0.5, 45.0, 900.0).force_share
        0.05
    """

    name: str
    num_frames: int
    num_atoms: int
    energy_mae: float  # meV/atom
    energy_rmse: float  # meV/atom
    force_rmse: float  # of a component, meV/Å
    force_spread: float  # standard deviation of the reference components, meV/Å

    @property
    def force_share(self) -> float:
        """RMSE over spread; NaN where the reference does not vary."""
        return self.force_rmse / self.force_spread if self.force_spread > 0 else float("nan")


def force_bins(parity: Parity) -> ForceBins | None:
    """Bin the atoms by the length of their reference force and return the error in each bin.

    The bins hold shares of the atoms (five fifths, the last of them cut again at 90, 95 and 99 %), so that the rare
    large forces have bins of their own; bins of fewer than 5 atoms are joined with the one below.

    Returns:
        The bins; None if no force is known.

    Example:
        >>> forces = np.outer(np.arange(1.0, 101.0), [0.0, 0.0, 1.0])
        >>> bins = force_bins(Parity([-1.0], [-1.0], forces, 1.1 * forces, [1] * 100))
        >>> bins.size.tolist(), bins.share.round(2).tolist()[:2]
        ([20, 20, 20, 20, 10, 5, 5], [0.11, 0.1])
    """
    known = np.isfinite(parity.forces_ref).all(axis=1)
    if not known.any():
        return None
    size = np.linalg.norm(parity.forces_ref[known], axis=1)
    error = np.square(parity.forces_pred[known] - parity.forces_ref[known]).sum(axis=1)
    order = np.argsort(size, kind="stable")
    cuts = np.unique(np.round(np.array(_QUANTILES) * len(size)).astype(int))
    while len(cuts) > 2 and (narrow := np.flatnonzero(np.diff(cuts) < _LEAST_IN_BIN)).size:
        cuts = np.delete(cuts, max(int(narrow[-1]), 1))
    bins = [order[start:end] for start, end in itertools.pairwise(cuts)]
    return ForceBins(
        edges=np.array([size[bins[0]].min(), *(size[atoms].max() for atoms in bins)]),
        mean=np.array([size[atoms].mean() for atoms in bins]),
        error=np.array([MILLI * np.sqrt(error[atoms].mean()) for atoms in bins]),
        size=np.array([len(atoms) for atoms in bins], dtype=np.int64),
    )


def frame_errors(parity: Parity) -> list[FrameErrors]:
    """Return the errors of each frame; none if the parity does not say which atoms are of which frame.

    Example:
        >>> forces = np.zeros((3, 3))
        >>> parity = Parity([-1.0], [-1.001], forces, forces + [[0.0], [0.0], [0.03]], [8, 1, 1], atom_counts=[3])
        >>> frame, = frame_errors(parity)
        >>> frame.formula, round(frame.energy_error, 6), round(frame.largest_force_error, 3), frame.atom
        ('H2O', -1.0, 51.962, 2)
    """
    if parity.atom_counts is None or not len(parity.species):
        return []
    starts = np.cumsum([0, *parity.atom_counts])
    return [_frame_error(parity, index, slice(*starts[index : index + 2])) for index in range(len(parity.energy_ref))]


def worst_frames(parity: Parity, most: int = 10) -> list[FrameErrors]:
    """Return the frames with the largest force error on an atom, the worst first; by energy where forces are unknown.

    Example:
        >>> forces = np.zeros((2, 3))
        >>> parity = Parity([0.0, 0.0], [0.0, 0.0], forces, [[0.1, 0, 0], [0.2, 0, 0]], [1, 1], atom_counts=[1, 1])
        >>> [frame.place for frame in worst_frames(parity)]
        [1, 0]
    """
    frames = frame_errors(parity)
    by_force = [frame for frame in frames if np.isfinite(frame.largest_force_error)]
    if by_force:
        return sorted(by_force, key=lambda frame: -frame.largest_force_error)[:most]
    by_energy = [frame for frame in frames if np.isfinite(frame.energy_error)]
    return sorted(by_energy, key=lambda frame: -abs(frame.energy_error))[:most]


def group_rows(parity: Parity) -> tuple[str, list[GroupRow]]:
    """Return the errors per group, or per composition where there are no groups, largest force error first.

    Returns:
        ``"group"`` or ``"composition"``, and a row for each; no rows if there is only one or frames are not known.

    Example:
        >>> forces = np.eye(2, 3)
        >>> parity = Parity(
        ...     [0.0, 0.0], [0.001, 0.0], forces, forces + [[0.03], [0.0]], [1, 1],
        ...     atom_counts=[1, 1], groups=["a", "b"])
        >>> kind, rows = group_rows(parity)
        >>> kind, [(row.name, round(row.force_rmse, 6), round(row.energy_mae, 6)) for row in rows]
        ('group', [('a', 30.0, 1.0), ('b', 0.0, 0.0)])
    """
    if parity.atom_counts is None or not len(parity.species):
        return "group", []
    kind, names = _names_of_groups(parity)
    if len(set(names)) < 2:
        return kind, []
    frame_names = np.array(names)
    atom_names = np.repeat(frame_names, parity.atom_counts)
    rows = [_group_row(parity, name, frame_names == name, atom_names == name) for name in dict.fromkeys(names)]
    return kind, sorted(rows, key=lambda row: -np.nan_to_num(row.force_rmse))


def formula(species: NDArray[np.int64]) -> str:
    """Return a chemical formula: carbon and hydrogen first where there is carbon, then by symbol.

    Example:
        >>> formula(np.array([8, 1, 1])), formula(np.array([8, 6, 1, 1, 1, 1]))
        ('H2O', 'CH4O')
    """
    numbers, counts = np.unique(species, return_counts=True)
    count_of = {SYMBOLS[number]: int(count) for number, count in zip(numbers, counts, strict=True)}
    first = [symbol for symbol in ("C", "H") if "C" in count_of and symbol in count_of]
    order = [*first, *sorted(symbol for symbol in count_of if symbol not in first)]
    return "".join(symbol + (str(count_of[symbol]) if count_of[symbol] > 1 else "") for symbol in order)


def _names_of_groups(parity: Parity) -> tuple[str, list[str]]:
    groups = [group for group in parity.groups if group is not None]
    if len(groups) == len(parity.energy_ref) and len(set(groups)) > 1:
        return "group", groups
    assert parity.atom_counts is not None
    return "composition", [formula(species) for species in np.split(parity.species, np.cumsum(parity.atom_counts)[:-1])]


def _frame_error(parity: Parity, index: int, atoms: slice) -> FrameErrors:
    error = MILLI * (parity.forces_pred[atoms] - parity.forces_ref[atoms])
    lengths = np.linalg.norm(error, axis=1)
    is_known = bool(np.isfinite(lengths).any())
    worst = int(np.nanargmax(lengths)) if is_known else 0
    species = parity.species[atoms]
    return FrameErrors(
        place=index,
        source=_entry(parity.sources, index) or f"test frame {index}",
        group=_entry(parity.groups, index),
        formula=formula(species),
        num_atoms=len(species),
        energy_error=float(MILLI * (parity.energy_pred[index] - parity.energy_ref[index])),
        largest_force_error=float(lengths[worst]) if is_known else float("nan"),
        force_rmse=float(np.sqrt(np.nanmean(np.square(error)))) if is_known else float("nan"),
        atom=worst,
        symbol=SYMBOLS[species[worst]] if len(species) else "",
    )


def _group_row(parity: Parity, name: str, frames: NDArray[np.bool_], atoms: NDArray[np.bool_]) -> GroupRow:
    energy = MILLI * (parity.energy_pred - parity.energy_ref)[frames]
    forces, reference = MILLI * (parity.forces_pred - parity.forces_ref)[atoms], MILLI * parity.forces_ref[atoms]
    energy, forces, reference = (values[np.isfinite(values)] for values in (energy, forces, reference))
    return GroupRow(
        name=name,
        num_frames=int(frames.sum()),
        num_atoms=int(atoms.sum()),
        energy_mae=float(np.abs(energy).mean()) if energy.size else float("nan"),
        energy_rmse=float(np.sqrt(np.square(energy).mean())) if energy.size else float("nan"),
        force_rmse=float(np.sqrt(np.square(forces).mean())) if forces.size else float("nan"),
        force_spread=float(reference.std()) if reference.size else float("nan"),
    )


def _entry(texts: Sequence[str | None], index: int) -> str | None:
    return texts[index] if len(texts) else None
