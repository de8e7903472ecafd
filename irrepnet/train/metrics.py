"""Errors of a model on labelled frames, in the units that people compare: meV/atom, meV/Å, meV/Å^3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irrepnet.data.elements import SYMBOLS
from irrepnet.errors import DataError, NonFiniteError
from irrepnet.models.force_field import Prediction
from irrepnet.train.config import LossConfig
from irrepnet.train.losses import force_field_loss
from irrepnet.train.samples import LabelledGraphs, batches

__all__ = [
    "METRIC_UNITS",
    "ErrorRow",
    "ErrorSums",
    "Evaluation",
    "error_rows",
    "evaluate",
    "format_errors",
    "not_finite_frames",
    "refuse_not_finite",
]

METRIC_UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å^3"}
_MILLI = 1000.0  # eV -> meV
_MOST_NAMED = 10  # frames in a message


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


class ErrorRow(NamedTuple):
    """Errors of one label; ``spread`` is the standard deviation of the reference, the RMSE of a constant.

    Example:
        >>> ErrorRow("forces", "meV/Å", mae=31.2, rmse=44.4, spread=817.0).unit
        'meV/Å'
    """

    label: str
    unit: str
    mae: float
    rmse: float
    spread: float


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
        not_finite: Sources of the frames with a prediction that is NaN or infinite, labelled or not.

    Example:
        >>> values = {"energy": np.array([-1.0, -1.2])}
        >>> Evaluation(2, None, {"energy_mae": 0.0}, values, values, np.zeros(0, int)).summary()["units"]["forces"]
        'meV/Å'
    """

    num_frames: int
    loss: float | None
    metrics: dict[str, float]
    reference: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]
    species: NDArray[np.int64]
    not_finite: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
        errors = {row.label: {"mae": row.mae, "rmse": row.rmse, "spread": row.spread} for row in error_rows(self)}
        return {
            "num_frames": self.num_frames,
            "num_values": self.num_values,
            "units": METRIC_UNITS,
            "metrics": self.metrics,
            "errors": errors,
        }

    @property
    def num_values(self) -> dict[str, int]:
        """How many numbers of each label were compared."""
        return {label: values.size for label, values in self.reference.items()}


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

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> from irrepnet.train import label_graphs
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o", species_shifts=(-16.0,)))
        >>> far = Frame(species=[1, 1], pos=[[0, 0, 0], [9, 0, 0]], energy=-32.1)
        >>> round(evaluate(model, label_graphs([far], model.cutoff)).metrics["energy_mae"], 6)
        50.0
    """
    if not items:
        raise DataError("evaluate needs at least one frame; found none; check the file and its groups")
    model.eval()
    weight = next(model.parameters())
    sums, parts = ErrorSums(), _Parts()
    total, num_frames = 0.0, 0
    not_finite: list[str] = []
    for joined in batches(items, batch_size):
        if interrupted():
            return None
        batch = joined.to(weight.device)
        prediction = _detached(model(batch.graph, compute_stress=batch.stress is not None))
        sums.add_batch(prediction, batch)
        parts.add_batch(prediction, batch)
        not_finite += not_finite_frames(prediction, batch)
        if loss is not None:
            total += force_field_loss(prediction, batch, loss).item() * batch.graph.num_graphs
        num_frames += batch.graph.num_graphs
    reference, predicted, species = parts.arrays()
    mean = None if loss is None else total / num_frames
    return Evaluation(num_frames, mean, sums.metrics(), reference, predicted, species, tuple(not_finite))


def not_finite_frames(prediction: Prediction, batch: LabelledGraphs) -> list[str]:
    """Return the sources of the structures with an energy, force or stress that is NaN or infinite.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.train import label_graphs
        >>> (item,) = label_graphs([Frame(species=[1], pos=[[0, 0, 0]], source="a.npz frame 0")], cutoff=1.0)
        >>> not_finite_frames(Prediction(torch.tensor([torch.nan]), torch.zeros(1, 3), None), item)
        ['a.npz frame 0']
    """
    sick = ~prediction.energy.isfinite()
    sick[batch.graph.batch[~prediction.forces.isfinite().all(dim=1)]] = True
    if prediction.stress is not None:
        sick |= ~prediction.stress.isfinite().flatten(1).all(dim=1)
    return [source for source, is_sick in zip(batch.sources, sick.tolist(), strict=True) if is_sick]


def refuse_not_finite(evaluation: Evaluation) -> None:
    """Raise where a prediction is not finite: such errors are no numbers to report.

    Raises:
        NonFiniteError: If a prediction is NaN or infinite; it names the frames.

    Example:
        >>> refuse_not_finite(Evaluation(1, None, {}, {}, {}, np.zeros(0, int), not_finite=("a.npz frame 3",)))
        Traceback (most recent call last):
        irrepnet.errors.NonFiniteError: predictions need to be finite; found NaN or infinity for a.npz frame 3; ...
    """
    sick = evaluation.not_finite
    if sick:
        more = f" and {len(sick) - _MOST_NAMED} more" if len(sick) > _MOST_NAMED else ""
        raise NonFiniteError(
            f"predictions need to be finite; found NaN or infinity for {', '.join(sick[:_MOST_NAMED])}{more}; "
            "look at these frames and at the model's weights"
        )


def error_rows(evaluation: Evaluation) -> list[ErrorRow]:
    """Return the errors per label, and those of the forces per element.

    Example:
        >>> import numpy as np
        >>> values = {"energy": np.array([1.0, 3.0])}
        >>> evaluation = Evaluation(2, None, {}, values, {"energy": np.array([1.001, 3.001])}, np.zeros(0, int))
        >>> row, = error_rows(evaluation)
        >>> row.label, round(row.rmse, 6), row.spread
        ('energy', 1.0, 1000.0)
    """
    rows = []
    for label, reference in evaluation.reference.items():
        difference = evaluation.predicted[label] - reference
        rows.append(_error_row(label, difference, reference))
        elements = np.unique(evaluation.species) if label == "forces" else ()
        for number in elements if len(elements) > 1 else ():
            atoms = evaluation.species == number
            rows.append(_error_row(f"forces on {SYMBOLS[number]}", difference[atoms], reference[atoms]))
    return rows


def format_errors(rows: Sequence[ErrorRow]) -> str:
    """Return the errors as a table with units.

    Example:
        >>> print(format_errors([ErrorRow("forces", "meV/Å", 31.2, 44.4, 817.0)]))
        label             MAE      RMSE    spread  RMSE/spread  unit
        forces          31.20     44.40    817.00        5.4 %  meV/Å
    """
    lines = [f"{'label':<12}{'MAE':>9}{'RMSE':>10}{'spread':>10}{'RMSE/spread':>13}  unit"]
    for row in rows:
        share = f"{100 * row.rmse / row.spread:.1f} %" if row.spread > 0 else "-"
        lines.append(f"{row.label:<12}{row.mae:>9.2f}{row.rmse:>10.2f}{row.spread:>10.2f}{share:>13}  {row.unit}")
    return "\n".join(lines)


def _error_row(label: str, difference: NDArray[np.float64], reference: NDArray[np.float64]) -> ErrorRow:
    mae, rmse = np.abs(difference).mean(), np.sqrt(np.square(difference).mean())
    unit = METRIC_UNITS[label.split(maxsplit=1)[0]]  # "forces on H" are forces
    return ErrorRow(label, unit, _MILLI * float(mae), _MILLI * float(rmse), _MILLI * float(reference.std()))


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
