"""A report from what a run folder holds: the same page right after a training and any time later."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from irrepnet.errors import ConfigError, DataError
from irrepnet.models.checkpoint import write_atomic
from irrepnet.report.committee import CommitteeSpread
from irrepnet.report.data import CheckRow, Dynamics, Parity, RadialDistribution, ReportData
from irrepnet.report.older_run import PARTS, is_older, read_metrics
from irrepnet.report.structure_errors import StructureErrors
from irrepnet.report.targets import TargetParity
from irrepnet.report.torsions import TorsionScan
from irrepnet.train.evaluation_file import load_evaluation
from irrepnet.train.metrics import Evaluation
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.tasks import FORCE_FIELD_UNITS

__all__ = ["PARTS", "parity_of", "read_run", "save_parts", "targets_of"]

_FORMAT = 1
_LISTS = {"structures": StructureErrors, "rdfs": RadialDistribution, "torsions": TorsionScan}
_PLAIN = ("title", "summary", "edges_per_step", "config", "versions", "backend", "radial", "missing")
_NOT_YET = f"there is no {PARTS} in the folder: the run has not come to its end"
_OLDER = f"there is no {PARTS} in the folder: an older version made this run, or its end was interrupted"
_AGAIN = "go on with irrepnet train --resume, which makes it again"


def save_parts(folder: str | os.PathLike[str], data: ReportData) -> None:
    """Write ``report.json`` into a run folder: all of a report that no other file of the folder holds, atomically.

    Args:
        folder: Of the run.
        data: History, parity, targets and dynamics are not looked at: ``log.jsonl``, ``evaluation.npz`` and ``md.npz``
            hold them.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as run:
        ...     Path(run, "config.yaml").touch()
        ...     save_parts(run, ReportData("Water", radial="radial: exact"))
        ...     read_run(run).radial
        'radial: exact'
    """
    record: dict[str, Any] = {"format": _FORMAT, **{name: getattr(data, name) for name in _PLAIN}}
    record["tested_on"] = data.tested_on
    record["checks"] = [check._asdict() for check in data.checks]
    record["committee"] = None if data.committee is None else _fields(data.committee)
    record |= {name: [_fields(part) for part in getattr(data, name)] for name in _LISTS}
    text = json.dumps(_as_json(record), ensure_ascii=False, allow_nan=False)
    write_atomic(Path(folder) / PARTS, text.encode())


def read_run(folder: str | os.PathLike[str]) -> ReportData:
    """Return what there is to report of a run, finished or not; what is missing is said with the reason.

    Args:
        folder: Of the run: it holds ``config.yaml``.

    Raises:
        ConfigError: If it is not the folder of a run.
        DataError: If a file in it is damaged.

    Example:
        >>> read_run("missing")
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: missing: needed the folder of a run; found no config.yaml in it; ...
    """
    run = RunFolder(Path(folder))
    if not run.config.is_file():
        raise ConfigError(
            f"{run.path}: needed the folder of a run; found no {run.config.name} in it; give the folder that irrepnet "
            "train --out made"
        )
    parts = _read_parts(run)
    history = run.read_log()
    missing = dict(parts.missing)
    if not history:
        missing.setdefault("history", "nothing was validated yet")
    parity, targets = None, []
    if run.evaluation.is_file():
        evaluation = load_evaluation(run.evaluation)
        parity, targets = parity_of(evaluation), targets_of(evaluation)
    else:
        missing.setdefault("parity", f"there is no {run.evaluation.name} in {run.path}")
    dynamics = _read_dynamics(run.md) if run.md.is_file() and "dynamics" not in missing else None
    return dataclasses.replace(
        parts,
        history=history,
        parity=parity,
        targets=targets,
        dynamics=dynamics,
        missing=missing,
        findings=run.read_findings(),
    )


def parity_of(evaluation: Evaluation) -> Parity | None:
    """Return energies, forces and stresses of an evaluation of a force field; None for another model.

    Example:
        >>> values = {"energy": np.array([-1.0, -1.2])}
        >>> evaluation = Evaluation(2, None, {}, values, values, np.array([1, 1]), atom_counts=np.array([1, 1]))
        >>> parity_of(evaluation).forces_ref.shape
        (2, 3)
    """
    if not _is_force_field(evaluation):
        return None
    counts = evaluation.atom_counts if len(evaluation.atom_counts) else None
    num_frames, num_atoms = evaluation.num_frames, len(evaluation.species)

    def values(side: dict[str, Any], label: str, shape: tuple[int, ...]) -> Any:
        return side.get(label, np.full(shape, np.nan))

    reference, predicted = evaluation.reference, evaluation.predicted
    return Parity(
        energy_ref=values(reference, "energy", (num_frames,)),
        energy_pred=values(predicted, "energy", (num_frames,)),
        forces_ref=values(reference, "forces", (num_atoms, 3)),
        forces_pred=values(predicted, "forces", (num_atoms, 3)),
        species=evaluation.species,
        stress_ref=reference.get("stress"),
        stress_pred=predicted.get("stress"),
        atom_counts=counts,
        sources=evaluation.sources,
        groups=evaluation.groups,
    )


def targets_of(evaluation: Evaluation) -> list[TargetParity]:
    """Return the targets of an evaluation of a model of properties or tensors; none for a force field.

    Example:
        >>> values = {"gap": np.array([5.0, 6.0])}
        >>> evaluation = Evaluation(2, None, {}, values, values, np.array([1, 1]), units={"gap": "eV"})
        >>> [(target.name, target.unit) for target in targets_of(evaluation)]
        [('gap', 'eV')]
    """
    if _is_force_field(evaluation):
        return []
    return [
        TargetParity(
            name=label,
            unit=evaluation.units[label],
            reference=reference,
            predicted=evaluation.predicted[label],
            formula=evaluation.formulas.get(label),
            level="atom" if label in evaluation.per_atom else "structure",
            sources=() if label in evaluation.per_atom else evaluation.sources,
        )
        for label, reference in evaluation.reference.items()
    ]


def _is_force_field(evaluation: Evaluation) -> bool:
    return all(FORCE_FIELD_UNITS.get(label) == evaluation.units.get(label) for label in evaluation.reference)


def _read_parts(run: RunFolder) -> ReportData:
    path = run.path / PARTS
    if not path.is_file():
        return _without_parts(run)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] > _FORMAT:
            raise DataError(
                f"{path}: needed parts of a report of format {_FORMAT}; found {record['format']}; update irrepnet"
            )
        parts: dict[str, Any] = {name: record[name] for name in _PLAIN}
        parts |= {name: [kind(**fields) for fields in record[name]] for name, kind in _LISTS.items()}
        parts["tested_on"] = record.get("tested_on", "test")  # report.json of older versions does not say
        parts["checks"] = [CheckRow(**check) for check in record["checks"]]
        parts["committee"] = None if record["committee"] is None else CommitteeSpread(**record["committee"])
        return ReportData(**parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: needed the parts of a report; found a damaged or other file ({error}); {_AGAIN}"
        ) from None


def _without_parts(run: RunFolder) -> ReportData:
    """Return what the other files tell of a run in training, or of one by an older version."""
    config = _read_config(run.config)
    title = str((config.get("report") or {}).get("title", run.path.name))
    sections = {"structures", "rdfs", "dynamics", "torsions", "committee", "checks"}
    if not is_older(run):
        return ReportData(title, config=config, missing=dict.fromkeys(sorted(sections | {"parity"}), _NOT_YET))
    summary, checks = read_metrics(run)
    sections -= ({"checks"} if checks else set()) | ({"dynamics"} if run.md.is_file() else set())
    missing = dict.fromkeys(sorted(sections), _OLDER)
    if not run.evaluation.is_file():
        missing["parity"] = f"there is no {run.evaluation.name} in the folder; the summary has the errors"
    return ReportData(title, summary, checks=checks, config=config, missing=missing)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: needed the configuration of a run; found it unreadable ({first})") from None
    config = {} if config is None else config
    if not isinstance(config, dict) or not isinstance(config.get("report") or {}, dict):
        raise DataError(f"{path}: needed the sections of a configuration; found other text; it was altered")
    return config


def _read_dynamics(path: Path) -> Dynamics:
    """Read the energies of ``md.npz``; files from before there were thermostats are of constant energy."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = {name: file[name] for name in file.files}
        stopped = str(facts.get("stopped", ""))
        target = facts.get("target_temperature")
        return Dynamics(
            time=facts["time"],
            potential_energy=facts["potential_energy"],
            kinetic_energy=facts["kinetic_energy"],
            temperature=facts["temperature"],
            num_atoms=len(facts["species"]),
            stopped=stopped or None,
            ensemble=str(facts.get("ensemble", "nve")),
            target_temperature=None if target is None or np.isnan(target) else float(target),
        )
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: needed the dynamics of a run; found a damaged or other file ({error}); {_AGAIN}"
        ) from None


def _fields(part: Any) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}


def _as_json(value: Any) -> Any:
    """Turn arrays into lists and what is not finite into null."""
    if isinstance(value, np.ndarray | np.generic):
        return _as_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
