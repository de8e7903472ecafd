"""What a model wants to know of its data before training: energy shifts, force scale, number of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.errors import DataError

__all__ = ["average_num_neighbors", "fit_species_shifts", "force_rms", "split_isolated_atoms"]

_SAME_ENERGY = 1e-4  # eV


def split_isolated_atoms(frames: Sequence[Frame]) -> tuple[list[Frame], dict[int, float]]:
    """Take the frames of one free atom out of a set: they hold the energy that each species starts from.

    Args:
        frames: Frames of which some may be a single atom in an open system, with energy.

    Returns:
        The other frames, in their order, and the energy of each atomic number that has such a frame, eV.

    Raises:
        DataError: If two frames of one species differ in energy by more than 1e-4 eV.

    Example:
        >>> atom = Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6)
        >>> molecule = Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 0.74]], energy=-31.7)
        >>> others, energies = split_isolated_atoms([atom, molecule])
        >>> len(others), energies
        (1, {1: -13.6})
    """
    others: list[Frame] = []
    first: dict[int, Frame] = {}
    energies: dict[int, float] = {}
    for frame in frames:
        if len(frame) != 1 or frame.energy is None or frame.pbc.any():
            others.append(frame)
            continue
        number = int(frame.species[0])
        known = energies.setdefault(number, frame.energy)
        if not abs(known - frame.energy) < _SAME_ENERGY:
            raise DataError(
                f"{frame.source}: needed one energy of the free atom {number}; found {frame.energy} eV, and {known} eV "
                f"in {first[number].source}"
            )
        first.setdefault(number, frame)
    return others, energies


def fit_species_shifts(
    frames: Sequence[Frame], species: Sequence[int | str], *, fixed: Mapping[int, float] | None = None
) -> NDArray[np.float64]:
    """Return the energy per atom of each species that explains the total energies best.

    .. math:: \\min_{e} \\sum_f \\bigl(E_f - \\sum_s n_{fs} e_s\\bigr)^2

    Where the composition does not tell species apart (64 H2O in every frame), of all solutions the one of least norm.

    Args:
        frames: Frames with energies.
        species: Atomic numbers or symbols; the order of the answer.
        fixed: Energies of atomic numbers that are known, such as those of free atoms, eV; the others are fitted.

    Returns:
        Shape ``[S]``, eV, float64.

    Raises:
        DataError: If there are no frames, a frame has no energy or an atom that is not in ``species``, or an energy is
            fixed for something that is not in ``species``.

    Example:
        >>> frames = [Frame(species=[1] * n, pos=np.eye(n, 3), energy=-13.6 * n) for n in (1, 2)]
        >>> fit_species_shifts(frames, ["H"])
        array([-13.6])
        >>> fit_species_shifts(frames, ["H"], fixed={1: -13.0})
        array([-13.])
    """
    numbers = [atomic_number(element) for element in species]
    _require(frames, "energy")
    for frame in frames:
        unknown = set(frame.species.tolist()) - set(numbers)
        if unknown:
            raise DataError(f"{frame.source}: needed species {sorted(numbers)}; found {min(unknown)} too")
    counts = np.array([[(frame.species == number).sum() for number in numbers] for frame in frames], dtype=np.float64)
    energies = np.array([frame.energy for frame in frames], dtype=np.float64)
    known = dict(fixed or {})
    for number in known:
        if number not in numbers:
            raise DataError(f"fixed needs energies of species {sorted(numbers)}; found {number}")
    shifts = np.array([known.get(number, 0.0) for number in numbers])
    free = np.array([number not in known for number in numbers])
    shifts[free] = np.linalg.lstsq(counts[:, free], energies - counts @ shifts, rcond=None)[0]
    return shifts


def force_rms(frames: Sequence[Frame]) -> float:
    """Return the root mean square of all force components, eV/Å.

    Raises:
        DataError: If there are no frames or one has no forces.

    Example:
        >>> force_rms([Frame(species=[1], pos=[[0, 0, 0]], forces=[[3.0, 0.0, 0.0]])])
        1.732...
    """
    _require(frames, "forces")
    components = np.concatenate([frame.forces for frame in frames if frame.forces is not None])
    return float(np.sqrt(np.mean(components**2)))


def average_num_neighbors(graphs: Sequence[Graph]) -> float:
    """Return the number of edges per atom over all graphs.

    Raises:
        DataError: If there are no atoms.

    Example:
        >>> from irrepnet.data.neighborhood import build_graph
        >>> average_num_neighbors([build_graph(Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]]), cutoff=2.0)])
        1.0
    """
    num_nodes = sum(graph.num_nodes for graph in graphs)
    if num_nodes == 0:
        raise DataError("average_num_neighbors needs at least one atom; found none")
    return sum(graph.num_edges for graph in graphs) / num_nodes


def _require(frames: Sequence[Frame], label: str) -> None:
    if not frames:
        raise DataError(f"needed at least one frame with {label}; found no frames")
    for frame in frames:
        if getattr(frame, label) is None:
            raise DataError(f"{frame.source}: needed {label}; found none")
