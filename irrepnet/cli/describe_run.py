"""What the folder of a run holds: how far it came and how good its model is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from irrepnet.cli.describe_model import describe_model, format_facts, metric_lines, size_text
from irrepnet.errors import DataError
from irrepnet.train.console import format_seconds
from irrepnet.train.error_sums import metric_unit
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.tasks import FORCE_FIELD_UNITS

__all__ = ["describe_run", "is_run"]


def is_run(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is the folder of a run.

    Example:
        >>> is_run("missing")
        False
    """
    return RunFolder(Path(path)).config.is_file()


def describe_run(path: str | os.PathLike[str]) -> str:
    """Return a page of text on a run, finished or not, and on its best model.

    Args:
        path: The folder that ``irrepnet train --out`` made.

    Raises:
        DataError: If a file in it is damaged.
        CheckpointError: If its model is.
    """
    run = RunFolder(Path(path))
    text = format_facts([*_about_run(run), *_about_test(run), *_about_files(run)])
    return f"{text}\n\n{describe_model(run.best)}" if run.best.is_file() else text


def _about_run(run: RunFolder) -> Iterator[tuple[str, str]]:
    config = _mapping(run.config)
    training, data = _part(config, "training"), _part(config, "data")
    yield "run", f"{run.path}: {_part(config, 'report').get('title', 'irrepnet training run')}"
    yield "learns from", str(data.get("train"))
    budget = f"{training['minutes']:g} minutes" if training.get("minutes") else f"{training.get('steps')} steps"
    rows = run.read_log()
    if not rows:
        yield "state", f"nothing was validated yet, of {budget}"
        return
    last, finite = rows[-1], [row for row in rows if row.get("valid_loss") is not None]
    ended = "ended and tested" if run.metrics.is_file() else "not at its end; go on with irrepnet train --resume"
    yield "state", f"step {last['step']} after {format_seconds(last['seconds'])}, of {budget}; {ended}"
    if finite:
        best = min(finite, key=lambda row: row["valid_loss"])
        yield "best", f"step {best['step']}, validation loss {best['valid_loss']:.4g}"
    else:
        yield "best", "no validation loss was finite"


def _about_test(run: RunFolder) -> Iterator[tuple[str, str]]:
    if not run.metrics.is_file():
        return
    metrics = _mapping(run.metrics)
    units = {**{label: metric_unit(unit)[0] for label, unit in FORCE_FIELD_UNITS.items()}, **_part(metrics, "units")}
    for place, line in enumerate(metric_lines(_part(metrics, "metrics"), units)):
        kind = "valid." if metrics.get("tested_on") == "validation" else "test"
        yield f"{metrics.get('num_frames')} {kind} frames" if place == 0 else "", line
    checks = metrics.get("checks") or []
    if checks:
        failed = [f"{check['name']}, {check['dtype']}" for check in checks if not check["passed"]]
        yield "checks", f"failed: {'; '.join(failed)}" if failed else f"all {len(checks)} passed"


def _about_files(run: RunFolder) -> Iterator[tuple[str, str]]:
    files = sorted(file for file in run.path.iterdir() if file.is_file() and not file.name.startswith("."))
    yield "files", ", ".join(f"{file.name} ({size_text(file.stat().st_size)})" for file in files)


def _mapping(file: Path) -> dict[str, Any]:
    """Read a JSON or YAML file of names and values."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file}: needed a file that irrepnet train wrote; found it unreadable ({first})") from error
    if not isinstance(tree, dict):
        raise DataError(f"{file}: needed names and values; found {type(tree).__name__}; it was altered")
    return tree


def _part(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = tree.get(name)
    return part if isinstance(part, dict) else {}
