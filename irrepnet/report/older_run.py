"""Runs of versions that did not keep the parts of their report: what metrics.json tells in their place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from irrepnet.errors import DataError
from irrepnet.report.data import CheckRow
from irrepnet.train.run_folder import RunFolder

__all__ = ["is_older", "read_metrics"]

PARTS = "report.json"  # what a report shows beyond log.jsonl, evaluation.npz and md.npz


def is_older(run: RunFolder) -> bool:
    """Tell whether a run has ended without keeping the parts of its report.

    Example:
        >>> is_older(RunFolder("missing"))
        False
    """
    return run.metrics.is_file() and not (run.path / PARTS).is_file()


def read_metrics(run: RunFolder) -> tuple[str, list[CheckRow]]:
    """Return a summary in words and the checks, from ``metrics.json``.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        found = json.loads(run.metrics.read_text(encoding="utf-8"))
        units = found.get("units", {})
        errors = [_words(label, numbers, units) for label, numbers in found.get("errors", {}).items()]
        checks = [
            CheckRow(
                f"{check['name']}, {check['dtype']}",
                check["error"],
                check["tolerance"],
                check["unit"],
                passed=bool(check["passed"]),
            )
            for check in found.get("checks") or []
        ]
        summary = (
            f"An older version of irrepnet made this run, and kept less of it. The model of step {found.get('step')} "
            f"on {found.get('num_frames')} held-back frames: {'; '.join(errors) or 'no errors are known'}."
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{run.metrics}: needed the numbers of a run; found a damaged or other file ({type(error).__name__}: "
            f"{error}); move it away"
        ) from None
    return summary, checks


def _words(label: str, numbers: Mapping[str, float], units: Mapping[str, Any]) -> str:
    unit = units.get("forces" if label.startswith("forces on ") else label) or ""
    return f"{label} MAE {numbers['mae']:.3g}, RMSE {numbers['rmse']:.3g} {unit}".rstrip()
