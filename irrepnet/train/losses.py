"""The training loss: weighted mean errors of energy per atom, force components and virial per atom."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from irrepnet.models.force_field import Prediction
from irrepnet.train.config import LossConfig
from irrepnet.train.samples import LabelledGraphs

__all__ = ["force_field_loss"]


def force_field_loss(prediction: Prediction, batch: LabelledGraphs, weights: LossConfig) -> Tensor:
    r"""Return the loss of a batch, a float64 scalar.

    .. math:: L = w_E \frac{1}{B} \sum_b \rho\left(\frac{\Delta E_b}{N_b}\right)
              + w_F \frac{1}{3N} \sum_{i\alpha} \rho(\Delta F_{i\alpha})
              + w_S \frac{1}{9B} \sum_{b\alpha\beta} \rho\left(\frac{V_b}{N_b} \Delta \sigma_{b\alpha\beta}\right)

    with :math:`\rho(x) = x^2`, or Huber's function scaled so that it is :math:`x^2` near zero. Energies and virials
    are taken per atom, so that frames of any size weigh the same and a weight carries over between systems.

    Args:
        prediction: The model's energy ``[B]``, forces ``[N, 3]`` and, if ``weights.stress > 0``, stress ``[B, 3, 3]``.
        batch: The references; every label with a positive weight must be there.
        weights: Weights and shape of the loss.

    Example:
        >>> from irrepnet.data import Graph
        >>> graph = Graph.checked(torch.zeros(1, 3), torch.tensor([8]), torch.zeros(2, 0, dtype=torch.long))
        >>> batch = LabelledGraphs(graph, torch.tensor([1.0]).double(), torch.zeros(1, 3), None, ("a",))
        >>> prediction = Prediction(torch.tensor([1.5]).double(), torch.ones(1, 3), None)
        >>> force_field_loss(prediction, batch, LossConfig(energy=2.0, forces=10.0))
        tensor(10.5000, dtype=torch.float64)
    """
    counts = batch.atom_counts
    loss = torch.zeros((), dtype=torch.float64, device=counts.device)
    if weights.energy > 0:
        assert batch.energy is not None  # frames without a needed label were refused when they were read
        loss = loss + weights.energy * _mean_error((prediction.energy - batch.energy) / counts, weights)
    if weights.forces > 0:
        assert batch.forces is not None
        loss = loss + weights.forces * _mean_error(prediction.forces - batch.forces, weights)
    if weights.stress > 0:
        assert batch.stress is not None and prediction.stress is not None and batch.graph.cell is not None
        volume_per_atom = torch.linalg.det(batch.graph.cell).abs() / counts  # [B]
        virial = (prediction.stress - batch.stress) * volume_per_atom[:, None, None]
        loss = loss + weights.stress * _mean_error(virial, weights)
    return loss


def _mean_error(difference: Tensor, weights: LossConfig) -> Tensor:
    """Mean over all entries; summed in the dtype of the difference, returned in float64."""
    zero = torch.zeros_like(difference)
    if weights.kind == "huber":  # torch's is x^2 / 2 near zero
        return 2 * functional.huber_loss(difference, zero, delta=weights.huber_delta).double()
    return functional.mse_loss(difference, zero).double()
