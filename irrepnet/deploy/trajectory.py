"""What molecular dynamics yields, step by step and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame

__all__ = ["Snapshot", "Trajectory", "record"]

Array = NDArray[np.float64]

POSITION_INTERVAL = 5.0  # fs between recorded positions: half a period of the fastest vibration there is, O-H


class Snapshot(NamedTuple):
    """The state of a run after a step.

    Example:
        >>> Snapshot._fields[:4]
        ('step', 'time', 'pos', 'velocities')
    """

    step: int
    time: float  # fs
    pos: Array  # [N, 3] Å, not wrapped into the cell
    velocities: Array  # [N, 3] Å/fs
    forces: Array  # [N, 3] eV/Å
    potential_energy: float  # eV
    kinetic_energy: float  # eV
    temperature: float  # K


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a run leaves: energies of every step, positions every 5 fs.

    Args:
        time: Shape ``[S]``, fs, from 0.
        potential_energy: Shape ``[S]``, eV.
        kinetic_energy: Shape ``[S]``, eV.
        temperature: Shape ``[S]``, K.
        position_time: Shape ``[K]``, fs.
        positions: Shape ``[K, N, 3]``, Å, not wrapped into the cell.
        species: Atomic numbers, shape ``[N]``.
        cell: Shape ``[3, 3]``, Å, or None.
        pbc: Shape ``[3]``.

    Example:
        >>> import torch
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> from irrepnet.deploy import run_nve
        >>> run = run_nve(model, hydrogen, temperature=300, timestep=0.5, steps=4, seed=0)
        >>> run.total_energy.shape, run.time
        ((5,), array([0. , 0.5, 1. , 1.5, 2. ]))
    """

    time: Array
    potential_energy: Array
    kinetic_energy: Array
    temperature: Array
    position_time: Array
    positions: Array
    species: NDArray[np.int64]
    cell: Array | None
    pbc: NDArray[np.bool_]

    @property
    def total_energy(self) -> Array:
        """Shape ``[S]``, eV; constant but for the error of the finite time step."""
        return self.potential_energy + self.kinetic_energy


def record(
    run: Iterable[Snapshot], frame: Frame, timestep: float, progress: Callable[[Snapshot], None] | None = None
) -> Trajectory:
    """Keep what a report needs of a run.

    Args:
        run: The states after step 0, 1, 2, ...; at least one.
        frame: Elements, cell and periods.
        timestep: fs.
        progress: Called with every state.

    Example:
        >>> at_rest = np.zeros((1, 3))
        >>> run = [Snapshot(i, 0.5 * i, at_rest, at_rest, at_rest, -13.6, 0.0, 0.0) for i in range(3)]
        >>> record(run, Frame(species=[1], pos=at_rest), 0.5).time
        array([0. , 0.5, 1. ])
    """
    rows, positions, position_times = [], [], []
    for now in run:
        rows.append((now.time, now.potential_energy, now.kinetic_energy, now.temperature))
        if now.step % max(1, round(POSITION_INTERVAL / timestep)) == 0:
            positions.append(now.pos)
            position_times.append(now.time)
        if progress is not None:
            progress(now)
    time, potential, kinetic, heat = np.array(rows).T
    return Trajectory(
        time=time,
        potential_energy=potential,
        kinetic_energy=kinetic,
        temperature=heat,
        position_time=np.array(position_times),
        positions=np.array(positions),
        species=frame.species,
        cell=frame.cell,
        pbc=frame.pbc,
    )
