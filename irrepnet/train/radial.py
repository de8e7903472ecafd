"""What a run says of its radial tables: whether they are used, and how far they are from the networks behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from irrepnet.models.force_field import edge_vectors
from irrepnet.nn.radial_network import TableError, table_error, table_pays
from irrepnet.train.samples import LabelledGraphs

__all__ = ["describe_radial"]


def describe_radial(model: Any, items: Sequence[LabelledGraphs], batch_size: int = 1) -> str:
    """Return one sentence about the radial networks of a model.

    The error is the largest over the layers, at the edges of the first frame that uses the table.

    Args:
        model: A force field.
        items: Frames that it is used on; there is at least one.
        batch_size: Frames in one call.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> from irrepnet.train import label_graphs
        >>> model = ForceField(ForceFieldConfig(species=("H",), radial="table", radial_knots=256))
        >>> print(describe_radial(model, label_graphs([Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 1]])], 4.5)))
        radial: exact networks; a table of 256 knots pays above 512 edges, and no batch has more
    """
    config = model.config
    if config.radial == "exact":
        return "radial: exact networks, evaluated at every edge"
    knots = config.radial_knots
    served = [item for item in items if table_pays(knots, item.graph.num_edges * batch_size)]
    if not served:
        return f"radial: exact networks; a table of {knots} knots pays above {2 * knots} edges, and no batch has more"
    edge_len = edge_vectors(served[0].graph).norm(dim=1)
    errors = [table_error(network, edge_len.to(next(network.parameters()).device)) for network in model.radial_networks]
    worst = TableError(*torch.tensor(errors).amax(0).tolist())
    text = (
        f"radial: tables of {knots} knots; off the exact networks by at most {worst.value_max:.0e} "
        f"(rms {worst.value_rms:.0e}) of their standard deviation, slopes {worst.slope_max:.0e} ({worst.slope_rms:.0e})"
    )
    if len(served) < len(items):
        text += f"; exact networks in the {len(items) - len(served)} of {len(items)} frames with few edges"
    return text
