"""Evaluations on disk: what ``evaluation.npz`` of a run folder holds, so that a report can be made again from it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from irrepnet.errors import DataError
from irrepnet.models.checkpoint import write_atomic
from irrepnet.train.metrics import Evaluation

__all__ = ["load_evaluation", "save_evaluation"]

_FORMAT = 1
_AGAIN = "go on with irrepnet train --resume, which makes it again"


def save_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write an evaluation to an npz file, atomically.

    Arrays ``reference/LABEL``, ``predicted/LABEL``, ``species`` and ``atom_counts`` are as in
    :class:`~irrepnet.train.metrics.Evaluation`; ``facts`` is a text of JSON with all the rest. Nothing is pickled.

    Args:
        evaluation: What is to be kept.
        path: The file; its folder must exist.

    Raises:
        OSError: If the disk is full or the folder cannot be written; an older file is then as it was.

    Example:
        >>> import tempfile
        >>> values = {"energy": np.array([-1.0, -1.2])}
        >>> evaluation = Evaluation(2, None, {"energy_mae": 0.0}, values, values, np.zeros(0, int), sources=("a", "b"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_evaluation(evaluation, f"{folder}/evaluation.npz")
        ...     load_evaluation(f"{folder}/evaluation.npz").sources
        ('a', 'b')
    """
    facts = {
        "format": _FORMAT,
        "num_frames": evaluation.num_frames,
        "loss": evaluation.loss,
        "metrics": evaluation.metrics,
        "not_finite": evaluation.not_finite,
        "units": dict(evaluation.units),
        "per_atom": sorted(evaluation.per_atom),
        "formulas": dict(evaluation.formulas),
        "sources": evaluation.sources,
        "groups": evaluation.groups,
    }
    arrays: dict[str, Any] = {"species": evaluation.species, "atom_counts": evaluation.atom_counts}
    for label in evaluation.reference:
        arrays[f"reference/{label}"] = evaluation.reference[label]
        arrays[f"predicted/{label}"] = evaluation.predicted[label]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)
    write_atomic(path, buffer.getvalue())


def load_evaluation(path: str | Path) -> Evaluation:
    """Read what :func:`save_evaluation` wrote; nothing is unpickled.

    Raises:
        DataError: If there is no such file, or it is damaged or of another kind.

    Example:
        >>> load_evaluation("missing.npz")
        Traceback (most recent call last):
        irrepnet.errors.DataError: missing.npz: needed the evaluation of a run; found nothing there; go on with ...
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: needed the evaluation of a run; found nothing there; {_AGAIN}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if facts["format"] > _FORMAT:
            raise DataError(
                f"{path}: needed an evaluation of format {_FORMAT}; found {facts['format']}; update irrepnet"
            )
        return Evaluation(
            num_frames=facts["num_frames"],
            loss=facts["loss"],
            metrics=facts["metrics"],
            reference=_columns("reference/", arrays),
            predicted=_columns("predicted/", arrays),
            species=arrays["species"],
            not_finite=tuple(facts["not_finite"]),
            units=facts["units"],
            per_atom=frozenset(facts["per_atom"]),
            formulas=facts["formulas"],
            atom_counts=arrays["atom_counts"],
            sources=tuple(facts["sources"]),
            groups=tuple(facts["groups"]),
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: needed the evaluation of a run; found a damaged or other file ({error}); {_AGAIN}"
        ) from None


def _columns(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
