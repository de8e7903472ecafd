"""Molecular dynamics at constant temperature: Langevin's equation, by the integrator of ASE."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.deploy.guard import DEFAULT_GUARD, Guard, guarded_forces
from irrepnet.deploy.molecular_dynamics import Predicting, masses_of, prepared, snapshot, thermal_velocities
from irrepnet.deploy.predictor import Predictor
from irrepnet.deploy.trajectory import Snapshot, Trajectory, record
from irrepnet.errors import ConfigError

__all__ = ["Thermostat", "nvt_steps", "run_nvt"]

Array = NDArray[np.float64]

# The integrator is an expansion in friction * timestep; beyond, its temperature is off by more than 1 %.
_LARGEST_DAMPING = 0.2


class Thermostat(NamedTuple):
    """The bath that atoms are in.

    Example:
        >>> Thermostat(temperature=330.0).friction
        5.0
    """

    temperature: float  # K; that of the first velocities too
    friction: float = 5.0  # 1/ps; the inverse of the time after which a velocity is forgotten
    equilibrate: int = 0  # steps that come first and are not recorded


def run_nvt(
    model: Predicting,
    frame: Frame,
    *,
    thermostat: Thermostat,
    timestep: float,
    steps: int,
    seed: int,
    guard: Guard = DEFAULT_GUARD,
    progress: Callable[[Snapshot], None] | None = None,
) -> Trajectory:
    r"""Run dynamics at constant temperature and keep what a report needs of it.

    .. math:: m \dot v = F(x) - m \gamma v + \sqrt{2 m \gamma k_B T} \, \eta(t)

    with white noise of unit strength. The centre of mass stays where it is. Steps are those of the integrator of
    Vanden-Eijnden and Ciccotti in float64.

    Args:
        model: A force field or a :class:`~irrepnet.deploy.Committee`, the path of one, or a
            :class:`~irrepnet.deploy.Predictor` (for a device, or another skin than 1 Å).
        frame: Where to start; its labels are not looked at.
        thermostat: Temperature, friction and steps of equilibration; time and steps count from the end of these.
        timestep: fs.
        steps: How many are recorded.
        seed: Of the first velocities and of the noise: the same seed gives the same run, bit for bit.
        guard: When to stop.
        progress: Called after every recorded step, and once before the first.

    Raises:
        ConfigError: If a setting is out of range.
        NonFiniteError: If the guard stops the run; the frame has been written.
        DataError: If the frame cannot be used, or the model does not know an element.
        ImportError: If ase is not installed.

    Reference: Vanden-Eijnden, Ciccotti 2006, Chem. Phys. Lett. 429, 310, eq. 23.

    Example:
        >>> import torch
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> run = run_nvt(model, hydrogen, thermostat=Thermostat(300.0), timestep=0.5, steps=20, seed=0)
        >>> run.time.shape, run.positions.shape
        ((21,), (3, 2, 3))
    """
    if not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"run_nvt needs a whole number of steps, 0 or more; found {steps}")
    run = nvt_steps(model, frame, thermostat=thermostat, timestep=timestep, seed=seed, guard=guard)
    return record(itertools.islice(run, steps + 1), frame, timestep, progress)


def nvt_steps(
    model: Predicting,
    frame: Frame,
    *,
    thermostat: Thermostat,
    timestep: float,
    seed: int,
    guard: Guard = DEFAULT_GUARD,
) -> Iterator[Snapshot]:
    """Yield the state at step 0, 1, 2, ... after the equilibration, without end.

    Args and errors are those of :func:`run_nvt`.

    Example:
        >>> import torch
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> run = nvt_steps(model, hydrogen, thermostat=Thermostat(300.0), timestep=0.5, seed=0)
        >>> f"{next(run).temperature:.1f}"
        '300.0'
    """
    predict = prepared(model, thermostat.temperature, timestep, guard)
    _check(thermostat, timestep)
    masses = masses_of(frame.species)
    forces_at = _Forces(predict, frame, guard)
    dynamics = _integrator(frame, forces_at, masses, thermostat, timestep, seed)
    from ase import units

    first = -thermostat.equilibrate
    for step in itertools.count(first):
        forces_at.when = f"step {step}" if step >= 0 else f"step {step - first} of the equilibration"
        if step > first:
            dynamics.step()
        energy, forces = forces_at(dynamics.atoms.positions)
        if step >= 0:
            pos, velocities = dynamics.atoms.get_positions(), dynamics.atoms.get_velocities() * units.fs
            yield snapshot(step, step * timestep, pos, velocities, forces, energy, masses)


def _check(thermostat: Thermostat, timestep: float) -> None:
    if not isinstance(thermostat.equilibrate, int) or thermostat.equilibrate < 0:
        raise ConfigError(
            f"a thermostat needs a whole number of steps to equilibrate, 0 or more; found {thermostat.equilibrate}"
        )
    if not 0 < thermostat.friction * timestep / 1000 <= _LARGEST_DAMPING:
        raise ConfigError(
            f"a thermostat needs a friction above 0 and, with a time step of {timestep:g} fs, up to "
            f"{1000 * _LARGEST_DAMPING / timestep:g} 1/ps; found {thermostat.friction:g}"
        )


class _Forces:
    """As much of a calculator as ASE's integrator needs; it asks more than once for the forces at a place."""

    def __init__(self, predict: Predictor, frame: Frame, guard: Guard):
        self.predict, self.frame, self.guard = predict, frame, guard
        self.when = ""
        self._last: tuple[Array, float, Array] | None = None

    def __call__(self, pos: Array) -> tuple[float, Array]:
        if self._last is None or not np.array_equal(self._last[0], pos):
            self._last = (pos.copy(), *guarded_forces(self.predict, self.frame, pos, self.guard, self.when))
        return self._last[1:]

    def get_forces(self, atoms: Any) -> Array:
        return self(atoms.positions)[1].copy()  # the integrator's constraint writes into them


def _integrator(
    frame: Frame, forces: _Forces, masses: Array, thermostat: Thermostat, timestep: float, seed: int
) -> Any:
    from ase import Atoms, units
    from ase.constraints import FixCom
    from ase.md.langevin import Langevin

    atoms = Atoms(numbers=frame.species, positions=frame.pos, cell=frame.cell, pbc=frame.pbc, constraint=FixCom())
    atoms.set_velocities(thermal_velocities(masses, thermostat.temperature, seed) / units.fs)
    atoms.calc = forces
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=thermostat.temperature,
        friction=thermostat.friction / (1000 * units.fs),
        fixcm=False,  # it does not sample the ensemble exactly; the constraint does
        rng=np.random.default_rng([seed, 1]),  # another stream than that of the velocities
    )
