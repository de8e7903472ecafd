"""A trained force field at work: molecular dynamics, the structure that it gives, and molecules turned about bonds."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.data.rdf import radial_distribution
from irrepnet.deploy.guard import Guard
from irrepnet.deploy.langevin import Thermostat, run_nvt
from irrepnet.deploy.molecular_dynamics import run_nve
from irrepnet.deploy.predictor import Predictor
from irrepnet.deploy.trajectory import Snapshot, Trajectory
from irrepnet.errors import NonFiniteError
from irrepnet.models.checkpoint import write_atomic
from irrepnet.report.data import RadialDistribution
from irrepnet.report.torsions import TorsionScan, scan_torsions
from irrepnet.train.config import MDConfig
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.splits import Splits

__all__ = ["Trial", "run_dynamics", "scan_torsions_of"]

_RDF_REACH, _RDF_BINS, _RDF_FRAMES = 6.0, 120, 200  # Å; bins; most frames that are averaged


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of a force field at work.

    Args:
        stopped: Whether the guard stopped its dynamics.
        rdfs: Radial distribution functions against the reference frames.
        torsions: Energy profiles of rotatable bonds.
        missing: Part -> why it was not made.

    Example:
        >>> Trial(missing={"dynamics": "md.enabled is false"}).rdfs
        ()
    """

    stopped: bool = False
    rdfs: Sequence[RadialDistribution] = ()
    torsions: Sequence[TorsionScan] = ()
    missing: dict[str, str] = field(default_factory=dict)


def run_dynamics(settings: MDConfig, predictor: Predictor, splits: Splits, start: Frame, run: RunFolder) -> Trial:
    """Run dynamics from a held-back frame and write ``md.npz``; whatever stops it is told, not raised.

    Args:
        settings: The section ``md`` of the configuration.
        predictor: The model.
        splits: Radial distributions are compared with its test frames: training sets may hold what no liquid visits.
        start: Where to start.
        run: Where the trajectory goes.
    """
    if not settings.enabled:
        run.md.unlink(missing_ok=True)  # of an earlier end of this run: the report would show it
        return Trial(missing=dict.fromkeys(("dynamics", "rdfs"), "md.enabled is false"))
    length = settings.steps * settings.timestep / 1000
    what = "constant energy" if settings.ensemble == "nve" else "constant temperature"
    print(f"\nmolecular dynamics: {length:g} ps at {what} from {start.source}, {settings.temperature:g} K")
    rows: list[tuple[float, float, float, float]] = []

    def note(now: Snapshot) -> None:
        rows.append((now.time, now.potential_energy, now.kinetic_energy, now.temperature))
        if now.step and now.step % max(1, settings.steps // 5) == 0:
            change = 1000 * (rows[-1][1] + rows[-1][2] - rows[0][1] - rows[0][2]) / len(start)
            # A thermostat gives and takes energy: what it changes by says nothing there.
            drift = f"  energy change {change:+.4f} meV/atom" if settings.ensemble == "nve" else ""
            print(f"  {now.time:8.1f} fs  {now.temperature:6.1f} K{drift}", flush=True)

    guard = Guard(settings.max_force, run.path / "md_stopped.extxyz")
    try:
        trajectory = _runner(settings)(
            predictor,
            start,
            timestep=settings.timestep,
            steps=settings.steps,
            seed=settings.seed,
            guard=guard,
            progress=note,
        )
    except NonFiniteError as error:
        print(f"stopped: {error}")
        _write_trajectory(run, settings, _energies(rows, start), stopped=str(error))
        return Trial(stopped=True, missing={"rdfs": f"dynamics was stopped: {error}"})
    except ImportError as error:
        print(error)
        run.md.unlink(missing_ok=True)
        return Trial(missing=dict.fromkeys(("dynamics", "rdfs"), str(error)))
    _write_trajectory(run, settings, _arrays(trajectory), stopped="")
    if not trajectory.pbc.all():
        return Trial(missing={"rdfs": "the frames are not periodic in all directions"})
    rdfs = _radial_distributions(trajectory, splits.test)
    return Trial(rdfs=rdfs, missing={} if rdfs else {"rdfs": "no other frame has the same atoms in a periodic cell"})


def scan_torsions_of(trial: Trial, predictor: Predictor, frame: Frame) -> Trial:
    """Turn a molecule about its rotatable bonds and add the profiles, or the reason why there are none."""
    if frame.pbc.any():
        return replace(trial, missing=trial.missing | {"torsions": "the frames are periodic, not single molecules"})

    def energies(pos: Any) -> list[float]:
        return [float(predictor(frame.species, pos).energy)]

    scans = scan_torsions(frame.species, frame.pos, energies, source=frame.source)
    reason = {} if scans else {"torsions": f"{frame.source} has no bond that can be turned"}
    return replace(trial, torsions=scans, missing=trial.missing | reason)


def _runner(settings: MDConfig) -> Callable[..., Trajectory]:
    """Return what runs dynamics in the ensemble of the configuration."""
    if settings.ensemble == "nve":
        return partial(run_nve, temperature=settings.temperature)
    thermostat = Thermostat(settings.temperature, settings.friction, settings.equilibrate)
    return partial(run_nvt, thermostat=thermostat)


def _energies(rows: list[tuple[float, float, float, float]], start: Frame) -> dict[str, Any]:
    """Return what was noted of a run that did not end."""
    names = ("time", "potential_energy", "kinetic_energy", "temperature")
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return {**dict(zip(names, columns, strict=True)), "species": start.species, "pbc": start.pbc}


def _arrays(trajectory: Trajectory) -> dict[str, Any]:
    names = (
        "time",
        "potential_energy",
        "kinetic_energy",
        "temperature",
        "position_time",
        "positions",
        "species",
        "cell",
        "pbc",
    )
    return {name: getattr(trajectory, name) for name in names if getattr(trajectory, name) is not None}


def _write_trajectory(run: RunFolder, settings: MDConfig, arrays: dict[str, Any], *, stopped: str) -> None:
    target = np.nan if settings.ensemble == "nve" else settings.temperature
    facts = {"ensemble": settings.ensemble, "target_temperature": target, "stopped": stopped}
    units = {"time_unit": "fs", "energy_unit": "eV", "length_unit": "angstrom"}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **facts, **units)  # type: ignore[arg-type]
    write_atomic(run.md, buffer.getvalue())


def _radial_distributions(trajectory: Trajectory, frames: Sequence[Frame]) -> list[RadialDistribution]:
    """Compare the dynamics with those reference frames that hold the same atoms in a periodic cell."""
    numbers, cell = trajectory.species, trajectory.cell
    alike = [frame for frame in frames if np.array_equal(frame.species, numbers) and frame.pbc.all()]
    if cell is None or not alike:
        return []
    positions = _thinned(trajectory.positions)
    references = _thinned(np.array([frame.pos for frame in alike]))
    cells = _thinned(np.array([frame.cell for frame in alike]))
    symbols = [SYMBOLS[number] for number in np.unique(numbers)[::-1]]  # the heaviest first: O-O, O-H, H-H
    curves = []
    for pair in itertools.combinations_with_replacement(symbols, 2):
        r, g_md = radial_distribution(positions, numbers, cell, pair, _RDF_REACH, _RDF_BINS)
        _, g_ref = radial_distribution(references, numbers, cells, pair, _RDF_REACH, _RDF_BINS)
        curves.append(RadialDistribution("-".join(pair), r, g_md, g_ref))
    return curves


def _thinned(frames: np.ndarray) -> np.ndarray:
    return frames[:: max(1, -(-len(frames) // _RDF_FRAMES))]
