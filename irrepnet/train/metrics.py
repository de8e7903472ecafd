"""Errors of a model on labelled frames, in the units that people compare: meV/atom, meV/Å, or the label's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from irrepnet.data.elements import SYMBOLS
from irrepnet.errors import DataError, NonFiniteError
from irrepnet.io.irrep_parts import irrep_parts, irrep_spread
from irrepnet.train.collected import Collected
from irrepnet.train.config import LossConfig
from irrepnet.train.distributed import Ranks
from irrepnet.train.error_sums import metric_unit
from irrepnet.train.samples import LabelledGraphs, batches
from irrepnet.train.tasks import FORCE_FIELD_UNITS, Task, task_of

__all__ = [
    "ErrorRow",
    "Evaluation",
    "error_rows",
    "evaluate",
    "format_errors",
    "refuse_not_finite",
]

_MOST_NAMED = 10  # frames in a message
_ALONE = Ranks()


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
    """What a model does on a set of frames; any label can be cut by frame, group or element.

    Args:
        num_frames: Frames seen, F.
        loss: Loss of all frames as of one batch, however they were cut; None when no weights were given.
        metrics: ``energy_mae``, ``energy_rmse`` (meV/atom), ``forces_mae``, ``forces_rmse`` (meV/Å), ``stress_...``; of
            other labels likewise, in their unit.
        reference: Per label, the reference values in :attr:`units`, a row per frame (``energy [F]``, by its number of
            atoms) or per atom (``forces [N, 3]``); rows of NaN are not known.
        predicted: The same, from the model; NaN where it was not asked.
        species: Atomic number of every atom of all frames, ``[N]``.
        not_finite: Sources of the frames with a prediction that is NaN or infinite, labelled or not.
        units: Unit of the values of each label; errors of energies per atom, forces and stresses are shown in meV.
        per_atom: Labels with a row per atom.
        formulas: Of labels that are vectors or tensors, how their indices transform (``"i"``, ``"ij=ji"``).
        atom_counts: Number of atoms of each frame, ``[F]``: the rows of atoms lie in the order of the frames.
        sources: Where each frame is from, F texts.
        groups: Group of each frame, or None; empty if not asked for.

    Example:
        >>> values = {"energy": np.array([-1.0, -1.2])}
        >>> Evaluation(2, None, {"energy_mae": 0.0}, values, values, np.zeros(0, int)).summary()["units"]
        {'energy': 'meV/atom'}
    """

    num_frames: int
    loss: float | None
    metrics: dict[str, float]
    reference: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]
    species: NDArray[np.int64]
    not_finite: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=lambda: dict(FORCE_FIELD_UNITS))
    per_atom: frozenset[str] = frozenset({"forces"})
    formulas: Mapping[str, str] = field(default_factory=dict)
    atom_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    sources: tuple[str, ...] = ()
    groups: tuple[str | None, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
        errors = {row.label: {"mae": row.mae, "rmse": row.rmse, "spread": row.spread} for row in error_rows(self)}
        return {
            "num_frames": self.num_frames,
            "num_values": self.num_values,
            "units": {label: metric_unit(self.units[label])[0] for label in self.reference},
            "metrics": self.metrics,
            "errors": errors,
        }

    @property
    def num_values(self) -> dict[str, int]:
        """How many numbers of each label were compared."""
        return {label: int(self.known(label).sum()) * _entries(values) for label, values in self.reference.items()}

    @property
    def atom_frames(self) -> NDArray[np.int64]:
        """Place of the frame of every atom, ``[N]``."""
        return np.repeat(np.arange(len(self.atom_counts)), self.atom_counts)

    def known(self, label: str) -> NDArray[np.bool_]:
        """Return which rows of a label have a reference, one bool per frame or atom."""
        reference = self.reference[label]
        return np.asarray(np.isfinite(reference).reshape(len(reference), -1).all(axis=1), dtype=np.bool_)


def evaluate(
    model: nn.Module,
    items: Sequence[LabelledGraphs],
    *,
    batch_size: int = 1,
    loss: LossConfig | None = None,
    task: Task | None = None,
    groups: Sequence[str | None] = (),
    ranks: Ranks = _ALONE,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Predict frames and compare with their labels; training validates with this very function.

    Args:
        model: Maps a graph to a :class:`~irrepnet.models.force_field.Prediction`, or to targets by name; put into
            evaluation mode.
        items: The frames, on any device.
        batch_size: Frames per call of the model; the result does not depend on it beyond rounding.
        loss: Weights for :attr:`Evaluation.loss`.
        task: What the model predicts; None: by its class.
        groups: Of the frames, for :attr:`Evaluation.groups`.
        ranks: Processes that share the frames; each gets the whole evaluation, the same as that of one process.
        interrupted: Asked between batches; when it says yes on some rank, the evaluation is given up.

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
    device = next(model.parameters()).device
    task = task or task_of(model)
    found = Collected(task)
    for joined in batches(_block(items, batch_size, ranks), batch_size):
        if interrupted():
            found.is_interrupted = True
            break
        batch = joined.to(device)
        predicted = task.predict(model, batch, labels=task.labels_of(batch))
        predicted = {label: value.detach() for label, value in predicted.items()}
        found.add_batch(predicted, batch, loss)
    found = found.of_all_ranks(ranks)
    if found.is_interrupted:
        return None
    columns = found.columns()
    labels = columns.reference.keys()
    return Evaluation(
        num_frames=found.num_frames,
        loss=None if loss is None else found.loss,
        metrics=found.errors().metrics(task.units),
        reference=columns.reference,
        predicted=columns.predicted,
        species=columns.species,
        not_finite=tuple(found.not_finite),
        units={label: task.units[label] for label in labels},
        per_atom=frozenset(label for label in labels if label in task.per_atom),
        formulas={label: task.formulas[label] for label in labels if label in task.formulas},
        atom_counts=columns.atom_counts,
        sources=tuple(found.sources),
        groups=tuple(groups),
    )


def _block(items: Sequence[LabelledGraphs], batch_size: int, ranks: Ranks) -> Sequence[LabelledGraphs]:
    """Return this rank's part, whole batches of neighbouring items: the ranks' parts in their order are all of them."""
    if ranks.size == 1:
        return items
    per_rank = -(-len(items) // (batch_size * ranks.size)) * batch_size
    return items[ranks.rank * per_rank : (ranks.rank + 1) * per_rank]


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
    """Return the errors per label; for tensors also per irrep, for labels of atoms per element.

    Predictions of tensors other than the stress are compared per irrep in an orthonormal basis, in which the squared
    errors of all irreps add up to those of the tensor.

    Example:
        >>> import numpy as np
        >>> values = {"energy": np.array([1.0, 3.0])}
        >>> evaluation = Evaluation(2, None, {}, values, {"energy": np.array([1.001, 3.001])}, np.zeros(0, int))
        >>> row, = error_rows(evaluation)
        >>> row.label, round(row.rmse, 6), row.spread
        ('energy', 1.0, 1000.0)
    """
    rows = []
    for label in evaluation.reference:
        rows.append(_error_row(evaluation, label))
        rows += _tensor_rows(evaluation, label) if len(evaluation.formulas.get(label, "i")) > 1 else []
        rows += _element_rows(evaluation, label) if label in evaluation.per_atom else []
    return rows


def format_errors(rows: Sequence[ErrorRow]) -> str:
    """Return the errors as a table with units.

    Example:
        >>> print(format_errors([ErrorRow("forces", "meV/Å", 31.2, 44.4, 817.0)]))
        label             MAE      RMSE    spread  RMSE/spread  unit
        forces          31.20     44.40    817.00        5.4 %  meV/Å
    """
    width = max([12, *(len(row.label) + 1 for row in rows)])
    lines = [f"{'label':<{width}}{'MAE':>9}{'RMSE':>10}{'spread':>10}{'RMSE/spread':>13}  unit"]
    for row in rows:
        share = f"{100 * row.rmse / row.spread:.1f} %" if row.spread > 0 else "-"
        numbers = f"{_number(row.mae):>9}{_number(row.rmse):>10}{_number(row.spread):>10}"
        lines.append(f"{row.label:<{width}}{numbers}{share:>13}  {row.unit}".rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    """Write a number that may be 0.0003 e Å as well as 80,000 meV/atom in nine places."""
    return f"{value:.2f}" if value >= 1 or value == 0 else f"{value:.4f}" if value >= 1e-3 else f"{value:.1e}"


def _error_row(evaluation: Evaluation, label: str, name: str = "", rows: NDArray[np.bool_] | None = None) -> ErrorRow:
    """Return the errors of the known rows of a label, or of some of them, under a name."""
    known = evaluation.known(label) if rows is None else evaluation.known(label) & rows
    reference, predicted = evaluation.reference[label][known], evaluation.predicted[label][known]
    return _compared(name or label, evaluation.units[label], predicted, reference)


def _compared(
    name: str,
    unit: str,
    predicted: NDArray[np.float64],
    reference: NDArray[np.float64],
    spread: float | None = None,
) -> ErrorRow:
    shown, factor = metric_unit(unit)
    difference = predicted - reference
    mae, rmse = np.abs(difference).mean(), np.sqrt(np.square(difference).mean())
    spread = float(reference.std()) if spread is None else spread
    return ErrorRow(name, shown, factor * float(mae), factor * float(rmse), factor * spread)


def _element_rows(evaluation: Evaluation, label: str) -> list[ErrorRow]:
    """Return a row per element where several have labels; "forces on H", "shielding of H"."""
    elements = np.unique(evaluation.species[evaluation.known(label)])
    word = "on" if label == "forces" else "of"
    return [
        _error_row(evaluation, label, f"{label} {word} {SYMBOLS[number]}", evaluation.species == number)
        for number in (elements if len(elements) > 1 else ())
    ]


def _tensor_rows(evaluation: Evaluation, label: str) -> list[ErrorRow]:
    """Return a row per irrep; the stress is left whole, as the field shows it."""
    if label == "stress":
        return []
    known, unit = evaluation.known(label), evaluation.units[label]
    reference, predicted = (
        irrep_parts(evaluation.formulas[label], column[label][known])
        for column in (evaluation.reference, evaluation.predicted)
    )
    return [
        _compared(f"{label} {ir}", unit, predicted[ir], part, spread=irrep_spread(ir, part))
        for ir, part in reference.items()
    ]


def _entries(values: NDArray[np.float64]) -> int:
    """Return how many numbers a row has."""
    return int(np.prod(values.shape[1:], dtype=int))
