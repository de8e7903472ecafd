"""Molecular dynamics at constant energy, with a guard against forces that no trained model should give."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from irrepnet.data.frame import Frame
from irrepnet.deploy.guard import DEFAULT_GUARD, Guard, check_guard, guarded_forces
from irrepnet.deploy.predictor import Predictor
from irrepnet.deploy.trajectory import Snapshot, Trajectory, record
from irrepnet.errors import ConfigError

__all__ = ["masses_of", "nve_steps", "prepared", "run_nve", "snapshot", "thermal_velocities"]

Array = NDArray[np.float64]
Predicting = nn.Module | Predictor | str | os.PathLike[str]

BOLTZMANN = 8.617333262e-5  # eV/K, CODATA 2018
AMU_A2_PER_FS2 = 103.642697  # eV; 1 amu = 1.66053906660e-27 kg and 1 eV = 1.602176634e-19 J, CODATA 2018
SKIN = 1.0  # Å; atoms of a liquid at 300 K take some hundred steps to move by half of it


def run_nve(
    model: Predicting,
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
        model: A force field or a :class:`~irrepnet.deploy.Committee`, the path of one, or a
            :class:`~irrepnet.deploy.Predictor` (for a device, or another skin than 1 Å).
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
    if not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"run_nve needs a whole number of steps, 0 or more; found {steps}")
    run = nve_steps(model, frame, temperature=temperature, timestep=timestep, seed=seed, guard=guard)
    return record(itertools.islice(run, steps + 1), frame, timestep, progress)


def nve_steps(
    model: Predicting,
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
    predict = prepared(model, temperature, timestep, guard)
    masses = masses_of(frame.species)
    kick = 0.5 * timestep / (AMU_A2_PER_FS2 * masses[:, None])  # [N, 1] Å/fs per eV/Å
    pos, velocities = frame.pos, thermal_velocities(masses, temperature, seed)
    energy, forces = guarded_forces(predict, frame, pos, guard, "step 0")
    for step in itertools.count():
        yield snapshot(step, step * timestep, pos, velocities, forces, energy, masses)
        velocities = velocities + kick * forces
        pos = pos + timestep * velocities
        energy, forces = guarded_forces(predict, frame, pos, guard, f"step {step + 1}")
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


def prepared(model: Predicting, temperature: float, timestep: float, guard: Guard) -> Predictor:
    """Check what all dynamics needs and return the model as dynamics wants it: with a kept neighbour list.

    Raises:
        ConfigError: If a setting is out of range.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> prepared(model, 300.0, 0.5, Guard()).skin
        1.0
    """
    if not (0 < timestep < np.inf and 0 <= temperature < np.inf):
        raise ConfigError(f"dynamics needs timestep > 0 fs and temperature >= 0 K; found {timestep} and {temperature}")
    predict = model if isinstance(model, Predictor) else Predictor(model, skin=SKIN)
    check_guard(guard, predict)
    return predict


def snapshot(
    step: int, time: float, pos: Array, velocities: Array, forces: Array, energy: float, masses: Array
) -> Snapshot:
    """Return the state with its kinetic energy, and the temperature of atoms whose centre of mass is at rest.

    Example:
        >>> at_rest = np.zeros((2, 3))
        >>> snapshot(0, 0.0, at_rest, at_rest, at_rest, -31.7, np.ones(2)).temperature
        0.0
    """
    kinetic = _kinetic_energy(masses, velocities)
    freedom = 3 * len(masses) - 3
    heat = 2 * kinetic / (freedom * BOLTZMANN) if freedom > 0 else 0.0
    return Snapshot(step, time, pos, velocities, forces, energy, kinetic, heat)


def masses_of(species: NDArray[Any]) -> Array:
    """Return the masses of elements by their atomic numbers, amu.

    Raises:
        ImportError: If ase, which knows them, is not installed.

    Example:
        >>> masses_of(np.array([8, 1]))
        array([15.999,  1.008])
    """
    try:
        from ase.data import atomic_masses
    except ImportError as error:
        raise ImportError(
            "dynamics needs ase for the masses; found it not installed; pip install 'irrepnet[md]'"
        ) from error
    return atomic_masses[species].astype(np.float64)


def _kinetic_energy(masses: Array, velocities: Array) -> float:
    return 0.5 * AMU_A2_PER_FS2 * float(masses @ np.square(velocities).sum(axis=1))
