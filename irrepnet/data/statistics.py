"""What a model wants to know of its data before training: energy shifts, force scale, number of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.errors import DataError

__all__ = ["average_num_neighbors", "fit_species_shifts", "force_rms"]


def fit_species_shifts(frames: Sequence[Frame], species: Sequence[int | str]) -> NDArray[np.float64]:
    """Return the energy per atom of each species that explains the total energies best.

    .. math:: \\min_{e} \\sum_f \\bigl(E_f - \\sum_s n_{fs} e_s\\bigr)^2

    Where the composition does not tell species apart (64 H2O in every frame), of all solutions the one of least norm.

    Args:
        frames: Frames with energies.
        species: Atomic numbers or symbols; the order of the answer.

    Returns:
        Shape ``[S]``, eV, float64.

    Raises:
        DataError: If there are no frames, a frame has no energy or an atom that is not in ``species``.

    Example:
        >>> frames = [Frame(species=[1] * n, pos=np.eye(n, 3), energy=-13.6 * n) for n in (1, 2)]
        >>> fit_species_shifts(frames, ["H"])
        array([-13.6])
    """
    numbers = [atomic_number(element) for element in species]
    _require(frames, "energy")
    for frame in frames:
        unknown = set(frame.species.tolist()) - set(numbers)
        if unknown:
            raise DataError(f"{frame.source}: needed species {sorted(numbers)}; found {min(unknown)} too")
    counts = np.array([[(frame.species == number).sum() for number in numbers] for frame in frames], dtype=np.float64)
    energies = np.array([frame.energy for frame in frames], dtype=np.float64)
    return np.asarray(np.linalg.lstsq(counts, energies, rcond=None)[0], dtype=np.float64)


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
