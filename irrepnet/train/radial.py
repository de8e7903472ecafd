"""What a run says of its radial tables: how far they are from the networks behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from irrepnet.models.trunk import edge_vectors
from irrepnet.nn.radial_network import TableError, table_error
from irrepnet.train.samples import LabelledGraphs

__all__ = ["describe_radial"]


def describe_radial(model: Any, items: Sequence[LabelledGraphs]) -> str:
    """Return one sentence about the radial networks of a model.

    The error is the largest over the layers, at the edges of the frame that has most.

    Args:
        model: A force field.
        items: Frames that it is used on; there is at least one.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> from irrepnet.train import label_graphs
        >>> model = ForceField(ForceFieldConfig(species=("H",)))
        >>> print(describe_radial(model, label_graphs([Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 1]])], 4.5)))
        radial: exact networks, evaluated at every edge
    """
    config = model.config
    if config.radial == "exact":
        return "radial: exact networks, evaluated at every edge"
    text = f"radial: tables of {config.radial_knots} knots"
    graph = max(items, key=lambda item: item.graph.num_edges).graph.to(model.trunk.embedding.device)
    edge_len, edge_type = (
        edge_vectors(graph).norm(dim=1),
        model.trunk.edge_types(model.trunk.species(graph), graph.edge_index),
    )
    if len(edge_len) == 0:
        return f"{text}; no edges to measure their error at"
    errors = [table_error(network, edge_len, edge_type=edge_type) for network in model.trunk.radial_networks]
    worst = TableError(*torch.tensor(errors).amax(0).tolist())
    return (
        f"{text}; off the exact networks by at most {worst.value_max:.0e} (rms {worst.value_rms:.0e}) of their "
        f"standard deviation, slopes {worst.slope_max:.0e} ({worst.slope_rms:.0e})"
    )
