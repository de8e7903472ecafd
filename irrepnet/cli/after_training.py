"""What follows a training: test the best model, check its promises, run molecular dynamics, write the report."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from irrepnet.cli.checks import Check, check_model, format_checks
from irrepnet.cli.doctor import versions
from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.data.rdf import radial_distribution
from irrepnet.deploy.molecular_dynamics import Guard, Snapshot, Trajectory, run_nve
from irrepnet.deploy.predictor import Predictor
from irrepnet.errors import NonFiniteError
from irrepnet.models.checkpoint import load_model, write_atomic
from irrepnet.ops._backend import library_status
from irrepnet.report.data import CheckRow, Dynamics, Parity, RadialDistribution, ReportData
from irrepnet.report.html import write_report
from irrepnet.train.config import MDConfig, RunConfig
from irrepnet.train.console import format_seconds
from irrepnet.train.loop import TrainResult
from irrepnet.train.metrics import Evaluation, error_rows, evaluate, format_errors, refuse_not_finite
from irrepnet.train.radial import describe_radial
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.samples import label_graphs

__all__ = ["finish"]

_RDF_REACH, _RDF_BINS, _RDF_FRAMES = 6.0, 120, 200  # Å; bins; most frames that are averaged


class _Dynamics(NamedTuple):
    """Energies of a run, its radial distributions, and why it stopped or was not made."""

    energies: Dynamics | None
    rdfs: list[RadialDistribution]
    missing: dict[str, str]


def finish(config: RunConfig, result: TrainResult) -> int:
    """Make everything that a run folder holds beside the model.

    Args:
        config: Of the run.
        result: Of the training.

    Returns:
        The exit code: 0, 1 if a check failed, 3 if dynamics was stopped by its guard.
    """
    run = result.run
    predictor = Predictor(load_model(run.best), device=config.training.device)
    model = predictor.model

    print(f"\ntesting best.model (step {result.progress.best_step}) on {len(result.splits.test)} held-back frames")
    items = label_graphs(result.splits.test, model.cutoff)
    evaluation = evaluate(model, items, batch_size=config.training.batch_size)
    assert evaluation is not None  # nothing interrupts it
    refuse_not_finite(evaluation)
    print(format_errors(error_rows(evaluation)))

    print("\nchecking symmetries, forces and stress")
    checks = check_model(model, _largest(result.splits.test))
    print(format_checks(checks))
    _write_metrics(run, evaluation, checks, result)

    dynamics = _run_dynamics(config.md, predictor, result, run)
    # As it was run: what the training frames determined is null in the configuration and known to the model.
    complete = config.model_dump(mode="json")
    complete["model"] |= model.config.model_dump(mode="json")
    missing = dict(dynamics.missing) | _write_report(complete, result, evaluation, checks, dynamics)
    _print_what_was_made(run, missing)
    if dynamics.energies is not None and dynamics.energies.stopped is not None:
        return 3
    return 0 if all(check.passed for check in checks) else 1


def _largest(frames: Sequence[Frame]) -> Frame:
    """Return the frame with the most atoms, the first of several: an isolated atom has nothing to check or to move."""
    return max(frames, key=len)


def _write_metrics(run: RunFolder, evaluation: Evaluation, checks: Sequence[Check], result: TrainResult) -> None:
    metrics = {
        "model": run.best.name,
        "step": result.progress.best_step,
        "training_seconds": result.progress.seconds,
        **evaluation.summary(),
        "checks": [{**check._asdict(), "passed": check.passed} for check in checks],
    }
    write_atomic(run.metrics, (json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _run_dynamics(settings: MDConfig, predictor: Predictor, result: TrainResult, run: RunFolder) -> _Dynamics:
    """Run constant-energy dynamics from a held-back frame; whatever stops it is told, not raised."""
    if not settings.enabled:
        return _Dynamics(None, [], dict.fromkeys(("dynamics", "rdfs"), "md.enabled is false"))
    start = _largest(result.splits.test)
    length = settings.steps * settings.timestep / 1000
    print(f"\nmolecular dynamics: {length:g} ps at constant energy from {start.source}, {settings.temperature:g} K")
    rows: list[tuple[float, float, float, float]] = []

    def note(now: Snapshot) -> None:
        rows.append((now.time, now.potential_energy, now.kinetic_energy, now.temperature))
        if now.step and now.step % max(1, settings.steps // 5) == 0:
            drift = 1000 * (rows[-1][1] + rows[-1][2] - rows[0][1] - rows[0][2]) / len(start)
            print(f"  {now.time:8.1f} fs  {now.temperature:6.1f} K  energy change {drift:+.4f} meV/atom", flush=True)

    stopped = None
    try:
        trajectory = run_nve(
            predictor,
            start,
            temperature=settings.temperature,
            timestep=settings.timestep,
            steps=settings.steps,
            seed=settings.seed,
            guard=Guard(settings.max_force, run.path / "md_stopped.extxyz"),
            progress=note,
        )
    except NonFiniteError as error:
        stopped = str(error)
        print(f"stopped: {error}")
    except ImportError as error:
        print(error)
        return _Dynamics(None, [], dict.fromkeys(("dynamics", "rdfs"), str(error)))
    time, potential, kinetic, temperature = np.array(rows).reshape(-1, 4).T
    energies = Dynamics(time, potential, kinetic, temperature, num_atoms=len(start), stopped=stopped)
    if stopped is not None:
        return _Dynamics(energies, [], {"rdfs": f"dynamics was stopped: {stopped}"})
    _write_trajectory(run, trajectory)
    if not trajectory.pbc.all():
        return _Dynamics(energies, [], {"rdfs": "the frames are not periodic in all directions"})
    references = [*result.splits.train, *result.splits.valid]
    return _Dynamics(energies, _radial_distributions(trajectory, references), {})


def _write_trajectory(run: RunFolder, trajectory: Trajectory) -> None:
    names = (
        "time",
        "potential_energy",
        "kinetic_energy",
        "temperature",
        "position_time",
        "positions",
        "species",
        "cell",
    )
    arrays = {name: getattr(trajectory, name) for name in names if getattr(trajectory, name) is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, pbc=trajectory.pbc, time_unit="fs", energy_unit="eV", length_unit="angstrom")
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


def _write_report(
    config: dict[str, Any], result: TrainResult, evaluation: Evaluation, checks: Sequence[Check], dynamics: _Dynamics
) -> dict[str, str]:
    """Write report.html; return why it is missing where it could not be."""
    if not config["report"]["enabled"]:
        return {"report": "report.enabled is false"}
    splits, progress = result.splits, result.progress
    parity = _parity(evaluation)
    missing = dict(dynamics.missing)
    not_shown = {}
    if parity is None:
        missing["parity"] = "the test frames have no energies or no forces"
    elif parity.stress_ref is None and "stress" in evaluation.reference:
        labelled = len(evaluation.reference["stress"])
        not_shown["stress in the report"] = f"{labelled} of {evaluation.num_frames} test frames have it"
    data = ReportData(
        title=config["report"]["title"],
        summary=f"{len(splits.train)} frames learned, {len(splits.valid)} to validate, {len(splits.test)} to test; "
        f"{progress.step} steps in {format_seconds(progress.seconds)}; the best model is of step {progress.best_step}.",
        history=result.run.read_log(),
        parity=parity,
        rdfs=dynamics.rdfs,
        dynamics=dynamics.energies,
        checks=[CheckRow(f"{c.name}, {c.dtype}", c.error, c.tolerance, c.unit, passed=c.passed) for c in checks],
        config=config,
        versions=versions() | {"threads": str(torch.get_num_threads())},
        backend=library_status().reason,
        radial=describe_radial(load_model(result.run.best), label_graphs(splits.test, config["model"]["cutoff"])),
        missing=missing,
    )
    write_report(result.run.report, data)
    try:
        import matplotlib  # noqa: F401 - the report is whole without it, but for the pictures
    except ImportError:
        not_shown["pictures in the report"] = "they need matplotlib; pip install 'irrepnet[report]'"
    return not_shown


def _parity(evaluation: Evaluation) -> Parity | None:
    reference, predicted = evaluation.reference, evaluation.predicted
    if not {"energy", "forces"} <= reference.keys():
        return None
    stressed = "stress" in reference and len(reference["stress"]) == len(reference["energy"]) == evaluation.num_frames
    return Parity(
        energy_ref=reference["energy"],
        energy_pred=predicted["energy"],
        forces_ref=reference["forces"],
        forces_pred=predicted["forces"],
        species=evaluation.species,
        stress_ref=reference["stress"] if stressed else None,
        stress_pred=predicted["stress"] if stressed else None,
    )


def _print_what_was_made(run: RunFolder, missing: dict[str, str]) -> None:
    print(f"\nin {run.path}:")
    for file, what in (
        (run.best, "the model; everything else takes this file"),
        (run.report, "pictures and numbers; open it in a browser"),
        (run.metrics, "errors on the held-back frames, and the checks"),
        (run.log, "one line per validation"),
        (run.md, "the trajectory of the molecular dynamics"),
        (run.state, "to go on with --resume"),
        (run.config, "the complete configuration"),
    ):
        if file.exists():
            print(f"  {file.name:<14}{what}")
    for name, reason in missing.items():
        print(f"  no {name}: {reason}")
