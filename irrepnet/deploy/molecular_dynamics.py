"""Molecular dynamics at constant energy, with a guard against forces that no trained model should give."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.deploy.predictor import Predictor
from irrepnet.errors import ConfigError, NonFiniteError

__all__ = ["Guard", "Snapshot", "Trajectory", "nve_steps", "run_nve", "thermal_velocities"]

Array = NDArray[np.float64]

BOLTZMANN = 8.617333262e-5  # eV/K, CODATA 2018
AMU_A2_PER_FS2 = 103.642697  # eV; 1 amu = 1.66053906660e-27 kg and 1 eV = 1.602176634e-19 J, CODATA 2018
POSITION_INTERVAL = 5.0  # fs between recorded positions: half a period of the fastest vibration there is, O-H


class Guard(NamedTuple):
    """When to stop, and where to write the frame at which a run was stopped.

    Example:
        >>> Guard(max_force=50.0).file
        'md_stopped.extxyz'
    """

    max_force: float = 100.0  # eV/Å on one atom; thermal forces in liquids are of the order of 1
    file: str | os.PathLike[str] = "md_stopped.extxyz"


DEFAULT_GUARD = Guard()


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


def run_nve(
    model: nn.Module | Predictor | str | os.PathLike[str],
    frame: Frame,
    *,
    temperature: float,
    timestep: float,
    steps: int,
    seed: int,
    guard: Guard = DEFAULT_GUARD,
    progress: Callable[[Snapshot], None] | None = None,
) -> Trajectory:
    """Run dynamics at constant energy and keep what a report needs of it.

    Args:
        model: A force field, the path of one, or a :class:`~irrepnet.deploy.Predictor` (for a device or a skin).
        frame: Where to start; its labels are not looked at.
        temperature: Of the first velocities, K.
        timestep: fs.
        steps: How many.
        seed: Of the first velocities.
        guard: When to stop.
        progress: Called after every step, and once before the first.

    Raises:
        ConfigError: If a setting is out of range.
        NonFiniteError: If the guard stops the run; the frame has been written.
        DataError: If the frame cannot be used, or the model does not know an element.
        ImportError: If ase, which knows the masses, is not installed.

    Example:
        >>> import torch
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> run_nve(model, hydrogen, temperature=300, timestep=0.5, steps=20, seed=0).positions.shape
        (3, 2, 3)
    """
    if steps < 0:
        raise ConfigError(f"run_nve needs steps >= 0; found {steps}")
    interval = max(1, round(POSITION_INTERVAL / timestep)) if timestep > 0 else 1
    rows, positions, position_times = [], [], []
    run = nve_steps(model, frame, temperature=temperature, timestep=timestep, seed=seed, guard=guard)
    for now in itertools.islice(run, steps + 1):
        rows.append((now.time, now.potential_energy, now.kinetic_energy, now.temperature))
        if now.step % interval == 0:
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


def nve_steps(
    model: nn.Module | Predictor | str | os.PathLike[str],
    frame: Frame,
    *,
    temperature: float,
    timestep: float,
    seed: int,
    guard: Guard = DEFAULT_GUARD,
) -> Iterator[Snapshot]:
    r"""Yield the state at step 0, 1, 2, ... without end, by the velocity Verlet method in float64.

    .. math:: v \mathrel{+}= \tfrac{\Delta t}{2} F / m, \quad x \mathrel{+}= \Delta t \, v, \quad F = F(x), \quad
              v \mathrel{+}= \tfrac{\Delta t}{2} F / m

    Args and errors are those of :func:`run_nve`.

    Reference: Swope, Andersen, Berens, Wilson 1982, J. Chem. Phys. 76, 637.

    Example:
        >>> import torch
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> f"{next(nve_steps(model, hydrogen, temperature=300, timestep=0.5, seed=0)).temperature:.1f}"
        '300.0'
    """
    if not (0 < timestep < np.inf and 0 <= temperature < np.inf and guard.max_force > 0):
        raise ConfigError(
            "dynamics needs timestep > 0 fs, temperature >= 0 K and max_force > 0 eV/Å; "
            f"found {timestep}, {temperature} and {guard.max_force}"
        )
    predict = model if isinstance(model, Predictor) else Predictor(model)
    masses = _masses(frame.species)
    freedom = 3 * len(masses) - 3  # the centre of mass is at rest
    kick = 0.5 * timestep / (AMU_A2_PER_FS2 * masses[:, None])  # [N, 1] Å/fs per eV/Å
    pos, velocities = frame.pos, thermal_velocities(masses, temperature, seed)
    energy, forces = _guarded(predict, frame, pos, 0, guard)
    for step in itertools.count():
        kinetic = _kinetic_energy(masses, velocities)
        heat = 2 * kinetic / (freedom * BOLTZMANN) if freedom > 0 else 0.0
        yield Snapshot(step, step * timestep, pos, velocities, forces, energy, kinetic, heat)
        velocities = velocities + kick * forces
        pos = pos + timestep * velocities
        energy, forces = _guarded(predict, frame, pos, step + 1, guard)
        velocities = velocities + kick * forces


def thermal_velocities(masses: Array, temperature: float, seed: int) -> Array:
    """Draw velocities from Maxwell's distribution, then set the centre of mass at rest and the temperature exactly.

    Args:
        masses: Shape ``[N]``, amu.
        temperature: K.
        seed: Of the random numbers.

    Returns:
        Shape ``[N, 3]``, Å/fs; zeros for a single atom.

    Example:
        >>> velocities = thermal_velocities(np.array([16.0, 1.0, 1.0]), 300.0, seed=0)
        >>> bool(np.allclose(np.array([16.0, 1.0, 1.0]) @ velocities, 0))
        True
    """
    if len(masses) < 2 or temperature == 0:
        return np.zeros((len(masses), 3))
    draws = np.random.default_rng(seed).standard_normal((len(masses), 3))
    velocities = draws / np.sqrt(masses)[:, None]
    velocities -= masses @ velocities / masses.sum()
    wanted = 0.5 * (3 * len(masses) - 3) * BOLTZMANN * temperature
    return velocities * np.sqrt(wanted / _kinetic_energy(masses, velocities))


def _kinetic_energy(masses: Array, velocities: Array) -> float:
    return 0.5 * AMU_A2_PER_FS2 * float(masses @ np.square(velocities).sum(axis=1))


def _masses(species: NDArray[Any]) -> Array:
    try:
        from ase.data import atomic_masses
    except ImportError as error:
        raise ImportError(
            "dynamics needs ase for the masses; found it not installed; pip install 'irrepnet[md]'"
        ) from error
    return atomic_masses[species].astype(np.float64)


def _guarded(predict: Predictor, frame: Frame, pos: Array, step: int, guard: Guard) -> tuple[float, Array]:
    """Return energy and forces, or write the frame and raise."""
    prediction = predict(frame.species, pos, frame.cell, frame.pbc)
    energy, forces = float(prediction.energy), prediction.forces.double().numpy(force=True)
    size = np.linalg.norm(forces, axis=1)
    if np.isfinite(energy) and (size <= guard.max_force).all():
        return energy, forces
    sizes = np.where(np.isnan(size), np.inf, size)
    atom = int(sizes.argmax())
    _write_extxyz(Path(guard.file), frame, pos, forces)
    name = SYMBOLS[frame.species[atom]]
    raise NonFiniteError(
        f"dynamics needs finite energies and forces up to {guard.max_force:g} eV/Å; found {size[atom]:.4g} eV/Å "
        f"on atom {atom} ({name}) and the energy {energy:.6g} eV at step {step}; the frame is in {guard.file}; "
        "start from a relaxed structure, take a shorter time step or train on structures like this one"
    )


def _write_extxyz(file: Path, frame: Frame, pos: Array, forces: Array) -> None:
    header = "Properties=species:S:1:pos:R:3:forces:R:3 energy_unit=eV length_unit=angstrom"
    if frame.cell is not None:
        header = f'Lattice="{" ".join(f"{x:.10g}" for x in frame.cell.flat)}" {header}'
    header += f' pbc="{" ".join("T" if periodic else "F" for periodic in frame.pbc)}"'
    rows = (
        f"{SYMBOLS[number]:2s} " + " ".join(f"{x:16.8f}" for x in (*where, *force))
        for number, where, force in zip(frame.species, pos, forces, strict=True)
    )
    file.parent.mkdir(parents=True, exist_ok=True)  # not to lose the error to another one
    file.write_text("\n".join([str(len(pos)), header, *rows, ""]), encoding="utf-8")
