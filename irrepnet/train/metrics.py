"""Errors of a model on labelled frames, in the units that people compare: meV/atom, meV/Å, meV/Å^3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irrepnet.errors import DataError
from irrepnet.models.force_field import Prediction
from irrepnet.train.config import LossConfig
from irrepnet.train.losses import force_field_loss
from irrepnet.train.samples import LabelledGraphs, batches

__all__ = ["METRIC_UNITS", "ErrorSums", "Evaluation", "evaluate", "format_metrics"]

METRIC_UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å^3"}
_MILLI = 1000.0  # eV -> meV


@dataclass
class ErrorSums:
    """Running sums of absolute and squared errors, in eV and Å, from which MAE and RMSE follow at any time.

    Example:
        >>> sums = ErrorSums()
        >>> sums.add("forces", torch.tensor([3e-3, -4e-3]))
        >>> {name: round(value, 6) for name, value in sums.metrics().items()}
        {'forces_mae': 3.5, 'forces_rmse': 3.535534}
    """

    count: dict[str, int] = field(default_factory=dict)
    absolute: dict[str, float] = field(default_factory=dict)
    squared: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, difference: Tensor) -> None:
        """Add the entries of a tensor of errors."""
        difference = difference.detach().double()
        self.count[name] = self.count.get(name, 0) + difference.numel()
        self.absolute[name] = self.absolute.get(name, 0.0) + difference.abs().sum().item()
        self.squared[name] = self.squared.get(name, 0.0) + difference.square().sum().item()

    def add_batch(self, prediction: Prediction, batch: LabelledGraphs) -> None:
        """Add the errors of every label that the batch has."""
        if batch.energy is not None:
            self.add("energy", (prediction.energy - batch.energy) / batch.atom_counts)
        if batch.forces is not None:
            self.add("forces", prediction.forces - batch.forces)
        if batch.stress is not None and prediction.stress is not None:
            self.add("stress", prediction.stress - batch.stress)

    def metrics(self) -> dict[str, float]:
        """Return ``{name}_mae`` and ``{name}_rmse`` in :data:`METRIC_UNITS`."""
        values = {}
        for name, count in self.count.items():
            values[f"{name}_mae"] = _MILLI * self.absolute[name] / count
            values[f"{name}_rmse"] = _MILLI * math.sqrt(self.squared[name] / count)
        return values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model does on a set of frames.

    Args:
        num_frames: Frames seen.
        loss: Mean loss over the frames; None when no weights were given.
        metrics: ``energy_mae``, ``energy_rmse`` (meV/atom), ``forces_mae``, ``forces_rmse`` (meV/Å), ``stress_...``.
        reference: Per label, the reference values: ``energy [frames]`` eV/atom, ``forces [atoms, 3]`` eV/Å.
        predicted: The same, from the model.
        species: Atomic number of every atom, in the order of ``forces``.
    """

    num_frames: int
    loss: float | None
    metrics: dict[str, float]
    reference: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]
    species: NDArray[np.int64]


def evaluate(
    model: nn.Module,
    items: Sequence[LabelledGraphs],
    *,
    batch_size: int = 1,
    loss: LossConfig | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Predict frames and compare with their labels; training validates with this very function.

    Args:
        model: Maps a graph to a :class:`~irrepnet.models.force_field.Prediction`; put into evaluation mode.
        items: The frames, on any device.
        batch_size: Frames per call of the model; the result does not depend on it beyond rounding.
        loss: Weights for :attr:`Evaluation.loss`.
        interrupted: Asked between batches; when it says yes, the evaluation is given up.

    Returns:
        The evaluation, or None if it was interrupted.

    Raises:
        DataError: If there are no frames.
    """
    if not items:
        raise DataError("evaluate needs at least one frame; found none; check the file and its groups")
    model.eval()
    weight = next(model.parameters())
    sums, parts = ErrorSums(), _Parts()
    total, num_frames = 0.0, 0
    for batch in batches(items, batch_size):
        if interrupted():
            return None
        batch = batch.to(weight.device)
        prediction = _detached(model(batch.graph, compute_stress=batch.stress is not None))
        sums.add_batch(prediction, batch)
        parts.add_batch(prediction, batch)
        if loss is not None:
            total += force_field_loss(prediction, batch, loss).item() * batch.graph.num_graphs
        num_frames += batch.graph.num_graphs
    reference, predicted, species = parts.arrays()
    mean = None if loss is None else total / num_frames
    return Evaluation(num_frames, mean, sums.metrics(), reference, predicted, species)


def format_metrics(metrics: dict[str, float], *, prefix: str = "") -> str:
    """Return the metrics as one line with units.

    Example:
        >>> format_metrics({"energy_mae": 1.5, "energy_rmse": 2.0, "forces_mae": 30.0, "forces_rmse": 41.26})
        'E 1.50 / 2.00 meV/atom  F 30.0 / 41.3 meV/Å'
    """
    parts = []
    for name, unit in METRIC_UNITS.items():
        if f"{prefix}{name}_mae" in metrics:
            mae, rmse = metrics[f"{prefix}{name}_mae"], metrics[f"{prefix}{name}_rmse"]
            digits = 1 if name == "forces" else 2
            parts.append(f"{name[0].upper()} {mae:.{digits}f} / {rmse:.{digits}f} {unit}")
    return "  ".join(parts)


class _Parts:
    """Collects labels and predictions as numpy arrays, for parity plots."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        self._species: list[Tensor] = []

    def add_batch(self, prediction: Prediction, batch: LabelledGraphs) -> None:
        if batch.energy is not None:
            self._add("energy", batch.energy / batch.atom_counts, prediction.energy / batch.atom_counts)
        if batch.forces is not None:
            self._add("forces", batch.forces, prediction.forces)
            self._species.append(batch.graph.species)
        if batch.stress is not None and prediction.stress is not None:
            self._add("stress", batch.stress, prediction.stress)

    def _add(self, name: str, reference: Tensor, predicted: Tensor) -> None:
        references, predictions = self._columns.setdefault(name, ([], []))
        references.append(reference)
        predictions.append(predicted)

    def arrays(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]], NDArray[np.int64]]:
        reference = {name: _to_numpy(columns[0]) for name, columns in self._columns.items()}
        predicted = {name: _to_numpy(columns[1]) for name, columns in self._columns.items()}
        species = torch.cat(self._species).cpu().numpy() if self._species else np.zeros(0, dtype=np.int64)
        return reference, predicted, species


def _to_numpy(pieces: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(pieces).double().cpu().numpy()


def _detached(prediction: Prediction) -> Prediction:
    stress = None if prediction.stress is None else prediction.stress.detach()
    return Prediction(prediction.energy.detach(), prediction.forces.detach(), stress)
