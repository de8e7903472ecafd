"""What follows a training: test the best model, check its promises, run molecular dynamics, write the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from irrepnet.cli.checks import RATTLE, Check, check_model, format_checks
from irrepnet.cli.doctor import versions
from irrepnet.cli.trial import Trial, run_dynamics, scan_torsions_of
from irrepnet.data.frame import Frame
from irrepnet.deploy.predictor import Predictor
from irrepnet.errors import DataError
from irrepnet.models.checkpoint import load_model, write_atomic
from irrepnet.models.force_field import ForceField
from irrepnet.ops._backend import library_status
from irrepnet.report.breakdown import worst_frames
from irrepnet.report.data import CheckRow, Parity, ReportData
from irrepnet.report.html import view_obstacle, write_report
from irrepnet.report.run_report import parity_of, read_run, save_parts
from irrepnet.report.structure_errors import StructureErrors
from irrepnet.train.config import RunConfig
from irrepnet.train.console import format_seconds
from irrepnet.train.evaluation_file import save_evaluation
from irrepnet.train.loop import TrainResult
from irrepnet.train.metrics import Evaluation, error_rows, evaluate, format_errors, refuse_not_finite
from irrepnet.train.radial import describe_radial
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.run_lock import RunLock
from irrepnet.train.samples import LabelledGraphs, label_graphs
from irrepnet.train.splits import Splits
from irrepnet.train.tasks import task_of

__all__ = ["finish"]

_MOST_STRUCTURES = 5  # worst frames that are kept with their atoms
_MOST_COUNTED = 50  # training frames in which edges are counted


def finish(config: RunConfig, result: TrainResult) -> int:
    """Make everything that a run folder holds beside the model.

    Args:
        config: Of the run.
        result: Of the training.

    Returns:
        The exit code: 0, 1 if a check failed, 3 if dynamics was stopped by its guard.

    Raises:
        ConfigError: If another process is training in the folder.
        DataError: If no test frame has a label that the model predicts.
        NonFiniteError: If a prediction is not finite.
    """
    with RunLock(result.run.path) as lock:
        lock.acquire()  # another process may have been started in the folder since training ended
        return _finish(config, result)


def _finish(config: RunConfig, result: TrainResult) -> int:
    run, test = result.run, result.splits.test
    model: Any = load_model(run.best, config.training.device)

    kind = _tested_on(result.splits)
    print(f"\ntesting best.model (step {result.progress.best_step}) on the {len(test)} {kind} frames")
    if kind == "validation":
        print(
            "note: there are no others, and the best weights were chosen on these; data.test, data.test_ids give some"
        )
    items = label_graphs(test, model.cutoff)
    groups = [frame.group for frame in test]
    evaluation = evaluate(model, items, batch_size=config.training.batch_size, groups=groups)
    assert evaluation is not None  # nothing interrupts it
    refuse_not_finite(evaluation)
    if not evaluation.reference:
        raise DataError(
            f"{config.data.test or config.data.train}: the test frames need labels that the model predicts "
            f"({', '.join(task_of(model).units)}); found none; check data.keys, or leave data.test out"
        )
    print(format_errors(error_rows(evaluation)))
    save_evaluation(evaluation, run.evaluation)

    checks, trial = _try_out(config, model, result)
    trial = replace(trial, missing=dict(trial.missing) | _untested(model, evaluation))
    _write_metrics(run, evaluation, checks, result)
    _save_parts(config, result, items, parity_of(evaluation), checks, trial)
    missing = dict(trial.missing) | _write_report(config, run)
    _print_what_was_made(run, missing)
    if trial.stopped:
        return 3
    return 0 if all(check.passed for check in checks) else 1


def _try_out(config: RunConfig, model: nn.Module, result: TrainResult) -> tuple[list[Check], Trial]:
    """Check a force field, let it run and turn molecules with it; other models give no forces to do so with."""
    if not isinstance(model, ForceField):
        reason = "the model predicts no energies and forces"
        return [], Trial(missing=dict.fromkeys(("checks", "dynamics", "rdfs", "torsions", "structures"), reason))
    largest = _largest(result.splits.test)
    print(f"\nchecking symmetries, forces and stress, each atom moved by about {RATTLE} Å")
    checks = check_model(model, largest)
    print(format_checks(checks))
    predictor = Predictor(model, device=config.training.device, skin=1.0)
    trial = run_dynamics(config.md, predictor, result.splits, largest, result.run)
    return checks, scan_torsions_of(trial, predictor, largest)


def _untested(model: nn.Module, evaluation: Evaluation) -> dict[str, str]:
    """Return the targets that could not be compared, with the reason; labels of a force field are as the loss says."""
    if isinstance(model, ForceField):
        return {}
    without = [label for label in task_of(model).units if label not in evaluation.reference]
    return {f"errors of {label}": "no test frame has this label" for label in without}


def _largest(frames: Sequence[Frame]) -> Frame:
    """Return the frame with the most atoms, the first of several: an isolated atom has nothing to check or to move."""
    return max(frames, key=len)


def _write_metrics(run: RunFolder, evaluation: Evaluation, checks: Sequence[Check], result: TrainResult) -> None:
    metrics = {
        "model": run.best.name,
        "step": result.progress.best_step,
        "training_seconds": result.progress.seconds,
        "tested_on": _tested_on(result.splits),
        **evaluation.summary(),
        "checks": [{**check._asdict(), "passed": check.passed} for check in checks],
    }
    write_atomic(run.metrics, (json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _save_parts(
    config: RunConfig,
    result: TrainResult,
    items: Sequence[LabelledGraphs],
    parity: Parity | None,
    checks: Sequence[Check],
    trial: Trial,
) -> None:
    """Keep what the report shows and no other file holds."""
    splits, progress = result.splits, result.progress
    model: Any = load_model(result.run.best)
    # As it was run: what the training frames determined is null in the configuration and known to the model.
    complete = config.model_dump(mode="json")
    complete["model"] |= model.config.model_dump(mode="json")
    data = ReportData(
        title=config.report.title,
        tested_on=_tested_on(splits),
        summary=f"{len(splits.train)} frames learned, {len(splits.valid)} to validate, {_to_test(splits)}; "
        f"{progress.step} steps in {format_seconds(progress.seconds)}; the best model is of step {progress.best_step}.",
        edges_per_step=_edges_per_step(splits.train, model.cutoff, config.training.batch_size),
        structures=[] if parity is None else _structures(parity, splits.test),
        rdfs=trial.rdfs,
        torsions=trial.torsions,
        checks=[CheckRow(f"{c.name}, {c.dtype}", c.error, c.tolerance, c.unit, passed=c.passed) for c in checks],
        config=complete,
        versions=versions() | {"threads": str(torch.get_num_threads())},
        backend=library_status().reason,
        radial=describe_radial(model, items),
        missing=trial.missing,
    )
    save_parts(result.run.path, data)


def _tested_on(splits: Splits) -> str:
    return "validation" if splits.test is splits.valid else "test"


def _to_test(splits: Splits) -> str:
    if _tested_on(splits) == "test":
        return f"{len(splits.test)} to test"
    return "none to test: errors are those on the validation frames, on which the best weights were chosen"


def _edges_per_step(frames: Sequence[Frame], cutoff: float, batch_size: int) -> float:
    """Return the mean number of edges in a training batch, from at most 50 frames over the whole set."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST_COUNTED)).round().astype(int))
    items = label_graphs([frames[place] for place in places.tolist()], cutoff)
    return batch_size * sum(item.graph.num_edges for item in items) / len(items)


def _structures(parity: Parity, frames: Sequence[Frame]) -> list[StructureErrors]:
    """Return the worst test frames with their atoms; none if no forces are known."""
    if parity.atom_counts is None:
        return []
    starts = np.cumsum([0, *parity.atom_counts])
    found = []
    for row in worst_frames(parity, _MOST_STRUCTURES):
        if not np.isfinite(row.largest_force_error):
            continue
        frame, atoms = frames[row.place], slice(starts[row.place], starts[row.place + 1])
        found.append(
            StructureErrors(
                source=row.source,
                species=frame.species,
                pos=frame.pos,
                forces_ref=parity.forces_ref[atoms],
                forces_pred=parity.forces_pred[atoms],
                cell=frame.cell,
                pbc=tuple(frame.pbc.tolist()),
                energy_error=row.energy_error if np.isfinite(row.energy_error) else None,
            )
        )
    return found


def _write_report(config: RunConfig, run: RunFolder) -> dict[str, str]:
    """Write report.html from the folder, as ``irrepnet report`` does; return what is missing beyond its parts."""
    if not config.report.enabled:
        return {"report": "report.enabled is false"}
    data = read_run(run.path)
    obstacle = view_obstacle(run.report, data)
    write_report(run.report, data)
    not_shown = {} if obstacle is None else {"view in three dimensions": obstacle}
    try:
        import matplotlib  # noqa: F401 - the report is whole without it, but for the pictures
    except ImportError:
        not_shown["pictures in the report"] = "they need matplotlib; pip install 'irrepnet[report]'"
    return not_shown


def _print_what_was_made(run: RunFolder, missing: dict[str, str]) -> None:
    print(f"\nin {run.path}:")
    for file, what in (
        (run.best, "the model; everything else takes this file"),
        (run.report, "pictures and numbers; open it in a browser"),
        (run.path / "report_3d.html", "the worst frames, to turn with the mouse"),
        (run.metrics, "errors on the held-back frames, and the checks"),
        (run.evaluation, "labels and predictions of the held-back frames"),
        (run.log, "one line per validation"),
        (run.findings, "what looked odd in the frames"),
        (run.md, "the trajectory of the molecular dynamics"),
        (run.state, "to go on with --resume"),
        (run.config, "the complete configuration"),
    ):
        if file.exists():
            print(f"  {file.name:<16}{what}")
    for name, reason in missing.items():
        print(f"  no {name}: {reason}")
