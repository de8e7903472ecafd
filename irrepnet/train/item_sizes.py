"""How large each item is, known without holding the items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.train.samples import LabelledGraphs, LazyItems

__all__ = ["ItemSizes"]


class ItemSizes:
    """Numbers of atoms and of edges of every item.

    Lazy items whose neighbour lists are on disk are not read for it; others are gone through once.

    Args:
        items: The items.

    Attributes:
        num_atoms: Shape ``[F]``, int64.
        num_edges: Shape ``[F]``, int64.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.train import label_graphs
        >>> atoms = [Frame(species=[1] * n, pos=np.eye(n, 3)) for n in (1, 2)]
        >>> sizes = ItemSizes(label_graphs(atoms, cutoff=2.0))
        >>> sizes.num_atoms, sizes.num_edges
        (array([1, 2]), array([0, 2]))
    """

    num_atoms: NDArray[np.int64]
    num_edges: NDArray[np.int64]

    def __init__(self, items: Sequence[LabelledGraphs]) -> None:
        if isinstance(items, LazyItems) and items.neighbors is not None:
            self.num_atoms, self.num_edges = items.neighbors.num_atoms, items.neighbors.num_edges
            return
        counts = np.fromiter(
            (number for item in items for number in (item.graph.num_nodes, item.graph.num_edges)), dtype=np.int64
        ).reshape(-1, 2)
        self.num_atoms, self.num_edges = counts.T
