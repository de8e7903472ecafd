"""What a run says before its first step, and how long a step takes: early facts, while it is cheap to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.train.config import TrainingConfig
from irrepnet.train.console import format_seconds
from irrepnet.train.model_from_data import TrainingSet
from irrepnet.train.splits import Splits
from irrepnet.train.state import TrainState
from irrepnet.train.tasks import Task

__all__ = ["StepTimer", "summarise"]

_WARM_UP, _TIMED = 5, 25  # steps


def summarise(splits: Splits, train: TrainingSet, valid: TrainingSet, state: TrainState, task: Task) -> str:
    """Return a table of what is learned from: frames, atoms, elements, edges, labels with their spread, weights.

    Energies of a force field are shown without the energy shifts of the elements, as the network learns them.

    Args:
        splits: Frames to learn from, to validate on and to test on.
        train: Those learned from.
        valid: Those validated on.
        state: The model and its optimiser.
        task: What the model learns.
    """
    model: Any = state.model
    lines = [f"{'':<12}{'frames':>9}{'atoms':>11}{'edges':>13}"]
    for name, part in (("learned", train), ("validated", valid)):
        atoms, edges = int(part.sizes.num_atoms.sum()), int(part.sizes.num_edges.sum())
        lines.append(f"{name:<12}{len(part.items):>9}{atoms:>11}{edges:>13}")
    kept = "those validated" if splits.test is splits.valid else f"{len(splits.test)} frames"
    elements = Counter(number for frame in splits.train for number in frame.species.tolist())
    told = ", ".join(f"{SYMBOLS[number]} {count}" for number, count in sorted(elements.items()))
    lines += [f"to be tested: {kept}", f"elements: {told} atoms"]
    lines += [f"neighbours: {train.neighbors_per_atom:.1f} per atom within {model.cutoff:g} Å", ""]
    lines.append(f"{'label':<16}{'values':>9}{'mean':>13}{'spread':>13}  unit")
    columns: dict[str, list[NDArray[np.float64]]] = {label: [] for label in task.units}
    for frame in splits.train:
        for label, values in _labels(frame, model, task):
            columns[label].append(values[np.isfinite(values)])
    for label, parts in columns.items():
        values = np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(0)
        if len(values):
            shown = "energy - shifts" if label == "energy" and hasattr(model.config, "shifts") else label
            unit = task.units[label]
            mean, spread = values.mean(), values.std()
            mean = mean if abs(mean) > 1e-9 * spread else 0.0  # what a fit leaves is rounding
            lines.append(f"{shown:<16}{len(values):>9}{mean:>13.5g}{spread:>13.5g}  {unit}".rstrip())
    learned = sum(weight.numel() for weight in state.learned)
    frozen = sum(weight.numel() for weight in model.parameters()) - learned
    device = next(model.parameters()).device
    lines += ["", f"weights: {learned} learned, {frozen} frozen; {model.config.dtype} on {device}"]
    return "\n".join(lines)


def _labels(frame: Frame, model: Any, task: Task) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what a frame tells of each label of a task, as a flat array in the label's unit."""
    for label in task.units:
        if label in frame.properties:
            yield label, np.ravel(frame.properties[label])
        elif label in frame.atom_properties:
            yield label, np.ravel(frame.atom_properties[label])
        elif label == "energy" and frame.energy is not None and hasattr(model.config, "shifts"):
            shift = dict(zip(model.atomic_numbers, model.config.shifts, strict=True))
            total = frame.energy - sum(shift[number] for number in frame.species.tolist())
            yield label, np.array([total / len(frame)])
        elif label in ("forces", "stress") and getattr(frame, label) is not None:
            yield label, np.ravel(getattr(frame, label))


class StepTimer:
    """Tells once, after some steps, how long a step takes and what that means for the whole run.

    Args:
        settings: The budget.
        epoch: Steps in which every frame is seen once.

    Example:
        >>> timer = StepTimer(TrainingConfig(steps=10_000), epoch=100)
        >>> [remark for _ in range(40) if (remark := timer.add(0.02))]
        ['20.0 ms per step: 3m20s for 10000 steps (100 epochs), validation not counted']
    """

    def __init__(self, settings: TrainingConfig, epoch: int):
        self._settings, self._epoch = settings, epoch
        self._seconds: list[float] = []

    def add(self, seconds: float) -> str | None:
        """Note how long a step took; return the sentence when it is time for it."""
        if len(self._seconds) > _TIMED:
            return None
        self._seconds.append(seconds)
        if len(self._seconds) <= _TIMED:
            return None
        each = float(np.median(self._seconds[_WARM_UP:]))
        minutes = self._settings.minutes
        steps = self._settings.steps or round(60 * (minutes or 0) / each)
        total = format_seconds(steps * each) if minutes is None else f"{minutes:g} minutes"
        epochs = f"{steps / self._epoch:.3g} epochs"
        return f"{1000 * each:.1f} ms per step: {total} for {steps} steps ({epochs}), validation not counted"
