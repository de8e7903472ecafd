"""What each kind of model learns: its labels, how predictions meet references, the loss, and the units."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from irrepnet.errors import ShapeError
from irrepnet.models.force_field import Prediction
from irrepnet.models.registry import MODELS
from irrepnet.train.config import LossConfig
from irrepnet.train.losses import force_field_errors, force_field_loss, weighted_loss, weighted_parts
from irrepnet.train.samples import LabelledGraphs

__all__ = ["FORCE_FIELD_UNITS", "ForceFieldTask", "TargetTask", "Task", "task_of"]

FORCE_FIELD_UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å^3"}


class Task(Protocol):
    """What the loop and the evaluation need to know of a kind of model."""

    @property
    def units(self) -> Mapping[str, str]:
        """Per label the unit of its values, in the order in which labels are shown."""
        ...

    @property
    def per_atom(self) -> frozenset[str]:
        """Labels with a row per atom; the others have a row per structure."""
        ...

    @property
    def formulas(self) -> Mapping[str, str]:
        """Of the labels that are Cartesian tensors, how their indices transform (``"i"``, ``"ij=ji"``)."""
        ...

    def predict(self, model: nn.Module, batch: LabelledGraphs, *, labels: Collection[str]) -> dict[str, Tensor]:
        """Return what the model says of a batch; at least the labels that are asked for."""
        ...

    def labels_of(self, batch: LabelledGraphs) -> list[str]:
        """Return the labels of which some structure or atom of the batch has a reference."""
        ...

    def values(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, tuple[Tensor, Tensor]]:
        """Return reference (NaN where not known) and prediction of every label of the batch, in :attr:`units`."""
        ...

    def errors(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, Tensor]:
        """Return predicted minus reference, of the entries that are known, in :attr:`units`."""
        ...

    def weights(self, loss: LossConfig) -> dict[str, float]:
        """Return the weight of each label in the loss."""
        ...

    def counts(self, batch: LabelledGraphs, loss: LossConfig) -> dict[str, float]:
        """Return how many entries of each label of the loss are known: over all pieces, the totals of a loss."""
        ...

    def loss(
        self,
        predicted: Mapping[str, Tensor],
        batch: LabelledGraphs,
        loss: LossConfig,
        totals: Mapping[str, float] | None = None,
    ) -> Tensor:
        """Return the loss of a batch, or the share that it has as a piece of a larger one."""
        ...

    def loss_sums(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs, loss: LossConfig) -> dict[str, Tensor]:
        """Return what each label adds to the loss, not yet divided by its :meth:`counts`: batches can be added up."""
        ...


class ForceFieldTask:
    """Energy, forces and stress: a label that has a weight is known of every frame.

    Example:
        >>> ForceFieldTask().weights(LossConfig(energy=2.0))
        {'energy': 2.0, 'forces': 1.0, 'stress': 0.0}
    """

    units: Mapping[str, str] = FORCE_FIELD_UNITS
    per_atom = frozenset({"forces"})
    formulas: Mapping[str, str] = {"forces": "i", "stress": "ij=ji"}

    def predict(self, model: nn.Module, batch: LabelledGraphs, *, labels: Collection[str]) -> dict[str, Tensor]:
        """See :class:`Task`."""
        prediction: Prediction = model(batch.graph, compute_stress="stress" in labels)
        return {label: value for label, value in prediction._asdict().items() if value is not None}

    def labels_of(self, batch: LabelledGraphs) -> list[str]:
        """See :class:`Task`."""
        return [label for label in self.units if getattr(batch, label) is not None]

    def values(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, tuple[Tensor, Tensor]]:
        """See :class:`Task`; energies are those of the structure by its number of atoms."""
        pairs = {
            label: (getattr(batch, label), predicted[label]) for label in self.labels_of(batch) if label in predicted
        }
        if "energy" in pairs:
            reference, prediction = pairs["energy"]
            pairs["energy"] = (reference / batch.atom_counts, prediction / batch.atom_counts)
        return pairs

    def errors(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, Tensor]:
        """See :class:`Task`."""
        labels = [label for label in self.labels_of(batch) if label in predicted]
        errors = {label: predicted[label] - getattr(batch, label) for label in labels}
        if "energy" in errors:
            errors["energy"] = errors["energy"] / batch.atom_counts
        return errors

    def weights(self, loss: LossConfig) -> dict[str, float]:
        """See :class:`Task`."""
        return {label: getattr(loss, label) for label in self.units}

    def counts(self, batch: LabelledGraphs, loss: LossConfig) -> dict[str, float]:
        """See :class:`Task`."""
        graph = batch.graph
        entries = {"energy": graph.num_graphs, "forces": 3 * graph.num_nodes, "stress": 9 * graph.num_graphs}
        return {label: float(entries[label]) for label, weight in self.weights(loss).items() if weight > 0}

    def loss(
        self,
        predicted: Mapping[str, Tensor],
        batch: LabelledGraphs,
        loss: LossConfig,
        totals: Mapping[str, float] | None = None,
    ) -> Tensor:
        """See :func:`~irrepnet.train.losses.force_field_loss`."""
        return force_field_loss(_prediction(predicted), batch, loss, totals)

    def loss_sums(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs, loss: LossConfig) -> dict[str, Tensor]:
        """See :class:`Task`."""
        errors = force_field_errors(_prediction(predicted), batch, loss)
        return weighted_parts(errors, self.weights(loss), loss, dict.fromkeys(errors, 1.0))


def _prediction(predicted: Mapping[str, Tensor]) -> Prediction:
    return Prediction(predicted["energy"], predicted["forces"], predicted.get("stress"))


@dataclass(frozen=True)
class TargetTask:
    r"""Named targets, each known of any part of the structures or atoms.

    .. math:: L = \sum_t w_t \frac{1}{M_t} \sum_k \rho\left(\frac{\Delta_{tk}}{\lambda_t}\right)

    over the M entries that are known, in units of the target's scale, so that weights are of order one.

    Args:
        units: Unit of each target.
        scales: Scale of each target, in its unit.
        target_weights: Weight of each target where ``training.loss.targets`` does not say another.
        per_atom: Targets with a row per atom.
        formulas: Of vectors and tensors.

    Example:
        >>> task = TargetTask(units={"gap": "eV", "mu": "Debye"}, scales={"gap": 1.3, "mu": 1.5})
        >>> task.weights(LossConfig(targets={"mu": 0.5}))
        {'gap': 1.0, 'mu': 0.5}
    """

    units: Mapping[str, str]
    scales: Mapping[str, float]
    target_weights: Mapping[str, float] = field(default_factory=dict)
    per_atom: frozenset[str] = frozenset()
    formulas: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_targets(cls, targets: Sequence[Any]) -> TargetTask:
        """Return the task of a model's targets, with the scales that the training frames have told."""
        formulas = {target.name: formula for target in targets if (formula := _formula(target)) is not None}
        return cls(
            units={target.name: target.unit for target in targets},
            scales={target.name: 1.0 if target.scale is None else float(target.scale) for target in targets},
            target_weights={target.name: target.weight for target in targets},
            per_atom=frozenset(target.name for target in targets if getattr(target, "level", "") == "atom"),
            formulas=formulas,
        )

    def predict(self, model: nn.Module, batch: LabelledGraphs, *, labels: Collection[str]) -> dict[str, Tensor]:
        """See :class:`Task`."""
        predicted: dict[str, Tensor] = model(batch.graph)
        return predicted

    def labels_of(self, batch: LabelledGraphs) -> list[str]:
        """See :class:`Task`."""
        return [name for name in self.units if self._known(name, batch) is not None]

    def values(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, tuple[Tensor, Tensor]]:
        """See :class:`Task`."""
        return {name: (self._reference(name, predicted, batch), predicted[name]) for name in self.labels_of(batch)}

    def errors(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, Tensor]:
        """See :class:`Task`."""
        errors = {}
        for name in self.labels_of(batch):
            known, reference = self._known(name, batch), self._reference(name, predicted, batch)
            errors[name] = predicted[name][known] - reference[known]
        return errors

    def weights(self, loss: LossConfig) -> dict[str, float]:
        """See :class:`Task`."""
        return {name: loss.targets.get(name, self.target_weights.get(name, 1.0)) for name in self.units}

    def counts(self, batch: LabelledGraphs, loss: LossConfig) -> dict[str, float]:
        """See :class:`Task`."""
        counts = {}
        for name, weight in self.weights(loss).items():
            known = self._known(name, batch) if weight > 0 else None
            size = 0 if known is None else self._labels(name, batch)[name][known].numel()
            counts[name] = float(size)
        return counts

    def loss(
        self,
        predicted: Mapping[str, Tensor],
        batch: LabelledGraphs,
        loss: LossConfig,
        totals: Mapping[str, float] | None = None,
    ) -> Tensor:
        """See :class:`Task`."""
        return weighted_loss(self._scaled_errors(predicted, batch), self.weights(loss), loss, totals)

    def loss_sums(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs, loss: LossConfig) -> dict[str, Tensor]:
        """See :class:`Task`."""
        errors = self._scaled_errors(predicted, batch)
        return weighted_parts(errors, self.weights(loss), loss, dict.fromkeys(errors, 1.0))

    def _scaled_errors(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> dict[str, Tensor]:
        return {name: error / self.scales[name] for name, error in self.errors(predicted, batch).items()}

    def _reference(self, name: str, predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> Tensor:
        """Return a label of the shape of its prediction; ``[B, 1]`` less ``[B]`` would be ``[B, B]``."""
        reference = self._labels(name, batch)[name]
        if reference.shape != predicted[name].shape:
            needed, found = list(predicted[name].shape[1:]), list(reference.shape[1:])
            row = "atom" if name in self.per_atom else "structure"
            raise ShapeError(
                f"{batch.sources[0]}: target {name!r} needs shape {needed} per {row}; found {found}; check the "
                "readout or formula of the target, or the file"
            )
        return reference

    def _labels(self, name: str, batch: LabelledGraphs) -> Mapping[str, Tensor]:
        return batch.atom_properties if name in self.per_atom else batch.properties

    def _known(self, name: str, batch: LabelledGraphs) -> Tensor | None:
        """Return which rows of a label are known, ``[B]`` or ``[N]``; None if none is."""
        labels = self._labels(name, batch).get(name)
        if labels is None:
            return None
        known = labels.isfinite().flatten(1).all(dim=1) if labels.dim() > 1 else labels.isfinite()
        return known if bool(known.any()) else None


def _formula(target: Any) -> str | None:
    if getattr(target, "readout", None) == "dipole" and not target.norm:
        return "i"
    formula: str | None = getattr(target, "formula", None)
    return formula


def task_of(model: nn.Module) -> Task:
    """Return the task of a model, by its class; any that maps a graph to a ``Prediction`` is a force field.

    Example:
        >>> type(task_of(nn.Identity())).__name__
        'ForceFieldTask'
    """
    for kind, (_, model_class) in MODELS.items():
        if kind != "force_field" and isinstance(model, model_class):
            config: Any = model.config
            return TargetTask.of_targets(config.targets)
    return ForceFieldTask()
