"""The training loss: weighted mean errors of whatever a model learns, in pieces that add up to the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from irrepnet.models.force_field import Prediction
from irrepnet.train.config import LossConfig
from irrepnet.train.samples import LabelledGraphs

__all__ = ["force_field_errors", "force_field_loss", "weighted_loss", "weighted_parts"]


def force_field_loss(
    prediction: Prediction, batch: LabelledGraphs, weights: LossConfig, totals: Mapping[str, float] | None = None
) -> Tensor:
    r"""Return the loss of a batch of a force field, a float64 scalar.

    .. math:: L = w_E \frac{1}{B} \sum_b \rho\left(\frac{\Delta E_b}{N_b}\right)
              + w_F \frac{1}{N} \sum_i \rho(\Delta F_i)
              + w_S \frac{1}{B} \sum_b \rho\left(\frac{V_b}{N_b} \Delta \sigma_b\right)

    with :math:`\rho(x) = |x|^2`, Huber's function scaled so that it is :math:`|x|^2` near zero, or :math:`|x|`, where
    :math:`|x|` is the root mean square of the components of a number, vector or tensor: a rotated frame has the same
    loss. Energies and virials are taken per atom, so that frames of any size weigh the same and a weight carries over
    between systems.

    Args:
        prediction: The model's energy ``[B]``, forces ``[N, 3]`` and, if ``weights.stress > 0``, stress ``[B, 3, 3]``.
        batch: The references; every label with a positive weight must be there.
        weights: Weights and shape of the loss.
        totals: As in :func:`weighted_loss`.

    Example:
        >>> from irrepnet.data import Graph
        >>> graph = Graph.checked(torch.zeros(1, 3), torch.tensor([8]), torch.zeros(2, 0, dtype=torch.long))
        >>> batch = LabelledGraphs(graph, torch.tensor([1.0]).double(), torch.zeros(1, 3), None, ("a",))
        >>> prediction = Prediction(torch.tensor([1.5]).double(), torch.ones(1, 3), None)
        >>> force_field_loss(prediction, batch, LossConfig(energy=2.0, forces=10.0, kind="mse"))
        tensor(10.5000, dtype=torch.float64)
    """
    by_label = {"energy": weights.energy, "forces": weights.forces, "stress": weights.stress}
    return weighted_loss(force_field_errors(prediction, batch, weights), by_label, weights, totals)


def force_field_errors(prediction: Prediction, batch: LabelledGraphs, weights: LossConfig) -> dict[str, Tensor]:
    """Return the errors that the loss of a force field is made of: energies and virials per atom, forces.

    Args:
        prediction: As in :func:`force_field_loss`.
        batch: The references.
        weights: A label with weight zero is left out.

    Example:
        >>> from irrepnet.data import Graph
        >>> graph = Graph.checked(torch.zeros(2, 3), torch.tensor([8, 1]), torch.zeros(2, 0, dtype=torch.long))
        >>> batch = LabelledGraphs(graph, torch.tensor([1.0]), torch.zeros(2, 3), None, ("a",))
        >>> prediction = Prediction(torch.tensor([1.5]), torch.ones(2, 3), None)
        >>> force_field_errors(prediction, batch, LossConfig(forces=0.0))
        {'energy': tensor([0.2500])}
    """
    counts = batch.atom_counts
    errors = {}
    if weights.energy > 0:
        assert batch.energy is not None  # frames without a needed label were refused when they were read
        errors["energy"] = (prediction.energy - batch.energy) / counts
    if weights.forces > 0:
        assert batch.forces is not None
        errors["forces"] = prediction.forces - batch.forces
    if weights.stress > 0:
        assert batch.stress is not None and prediction.stress is not None and batch.graph.cell is not None
        volume_per_atom = torch.linalg.det(batch.graph.cell).abs() / counts  # [B]
        errors["stress"] = (prediction.stress - batch.stress) * volume_per_atom[:, None, None]
    return errors


def weighted_loss(
    errors: Mapping[str, Tensor],
    weights: Mapping[str, float],
    shape: LossConfig,
    totals: Mapping[str, float] | None = None,
) -> Tensor:
    r"""Return the share that some errors have in a loss, a float64 scalar.

    .. math:: L = \sum_l w_l \, \frac{1}{M_l} \sum_{k=1}^{m_l} \rho(\Delta_{l,r(k)})

    summed over entries k, where :math:`\rho` is that of :func:`force_field_loss` and r(k) the row (atom, structure)
    that an entry is of. When a batch is cut into pieces, M counts the entries of the whole batch and m those of the
    piece: the losses of the pieces, and their gradients, then add up to those of the batch, however it was cut.

    Args:
        errors: Per label the errors whose reference is known, any shape.
        weights: Per label; a label without errors or with weight zero adds nothing.
        shape: ``kind`` and ``huber_delta``.
        totals: Per label the entries M of the whole batch; None: these errors are the whole.

    Example:
        >>> errors = {"gap": torch.tensor([1.0, -3.0])}
        >>> weighted_loss(errors, {"gap": 2.0}, LossConfig(kind="mse"))
        tensor(10., dtype=torch.float64)
        >>> weighted_loss(errors, {"gap": 2.0}, LossConfig(kind="mse"), totals={"gap": 4})
        tensor(5., dtype=torch.float64)
    """
    device = next((error.device for error in errors.values()), None)
    parts = weighted_parts(errors, weights, shape, totals)
    return sum(parts.values(), start=torch.zeros((), dtype=torch.float64, device=device))


def weighted_parts(
    errors: Mapping[str, Tensor],
    weights: Mapping[str, float],
    shape: LossConfig,
    totals: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Return what each label adds to :func:`weighted_loss`, float64 scalars; labels that add nothing are left out.

    Args:
        errors: As in :func:`weighted_loss`, as all the others.
        weights: Per label.
        shape: ``kind`` and ``huber_delta``.
        totals: Per label the entries of the whole.

    Example:
        >>> weighted_parts({"gap": torch.tensor([1.0, -3.0])}, {"gap": 2.0}, LossConfig(kind="mse"), totals={"gap": 1})
        {'gap': tensor(20., dtype=torch.float64)}
    """
    parts = {}
    for label, error in errors.items():
        if weights[label] > 0 and error.numel() > 0:
            share = 1.0 if totals is None else error.numel() / totals[label]
            parts[label] = weights[label] * (_mean_error(error, shape) * share)
    return parts


def _mean_error(difference: Tensor, shape: LossConfig) -> Tensor:
    """Mean over all rows; summed in the dtype of the difference, returned in float64."""
    if shape.kind == "mse":
        return difference.square().mean().double()
    sizes = _sizes(difference)
    if shape.kind == "huber":  # torch's is x^2 / 2 near zero
        return 2 * functional.huber_loss(sizes, torch.zeros_like(sizes), delta=shape.huber_delta).double()
    return sizes.mean().double()


def _sizes(difference: Tensor) -> Tensor:
    """Root mean square over the components of each row: lengths, so that a rotated frame has the same loss."""
    if difference.dim() < 2:
        return difference.abs()
    components = difference.flatten(1)
    return torch.linalg.vector_norm(components, dim=1) / math.sqrt(components.shape[1])
