"""Arrays in, prediction out: the one road by which every simulation programme reaches a model."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.neighborhood import build_graph
from irrepnet.errors import ConfigError
from irrepnet.models.checkpoint import load_model
from irrepnet.models.force_field import Prediction, edge_vectors

__all__ = ["Predictor"]


class Predictor:
    """Predict energy, forces and stress of one structure after another, as a simulation asks for them.

    The neighbour list is found anew at every call. With a skin it is found up to ``cutoff + skin`` and kept until an
    atom has moved by half the skin, or species, cell or periods have changed; the predictions are the same.

    Args:
        model: A force field, or the path of a ``*.model`` file. A force field is used itself, not a copy: it moves to
            ``device`` and into evaluation mode. To go on training it, call ``model.train()`` or give a deepcopy.
        device: Where it runs.
        skin: Å.

    Raises:
        ConfigError: If the skin is negative.
        CheckpointError: If the file is not a sound model file.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> predict = Predictor(ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o")))
        >>> predict([1, 1], [[0, 0, 0], [0.74, 0, 0]]).forces.shape
        torch.Size([2, 3])
    """

    def __init__(
        self, model: nn.Module | str | os.PathLike[str], *, device: str | torch.device = "cpu", skin: float = 0.0
    ):
        if not 0 <= skin < np.inf:
            raise ConfigError(f"skin needs a length of 0 Å or more; found {skin}")
        loaded: Any = model if isinstance(model, nn.Module) else load_model(model)
        self.model = loaded.to(device).eval()
        self.device = torch.device(device)
        self.skin = skin
        self.num_searches = 0  # how often neighbours were looked for
        self._kept: tuple[Frame, Graph] | None = None

    def __call__(
        self, species: ArrayLike, pos: ArrayLike, cell: ArrayLike | None = None, pbc: ArrayLike = False
    ) -> Prediction:
        """Return energy ``[1]`` eV, forces ``[N, 3]`` eV/Å and, for a periodic structure, stress ``[1, 3, 3]`` eV/Å^3.

        Args:
            species: Atomic numbers, shape ``[N]``.
            pos: Shape ``[N, 3]``, Å.
            cell: Lattice vectors as rows, shape ``[3, 3]``, Å; None for an open structure.
            pbc: One bool or three.

        Raises:
            ShapeError: If shapes do not fit each other.
            DataError: If something is not real numbers or not finite, atoms coincide, the cell is singular, or an
                element is unknown.
        """
        # Frame copies every array: callers change theirs in place.
        frame = Frame(species=species, pos=pos, cell=cell, pbc=pbc, source="structure")  # type: ignore[arg-type]
        graph = self._graph(frame)
        has_stress = frame.cell is not None and bool(frame.pbc.any()) and np.linalg.det(frame.cell) != 0
        return self.model(graph, compute_stress=has_stress)

    def _graph(self, frame: Frame) -> Graph:
        if self.skin == 0:
            self.num_searches += 1
            return build_graph(frame, self.model.cutoff, dtype=torch.float64).to(self.device)
        if self._kept is None or not _still_holds(self._kept[0], frame, self.skin / 2):
            wide = build_graph(frame, self.model.cutoff + self.skin, dtype=torch.float64).to(self.device)
            self.num_searches += 1
            self._kept = frame, wide
        graph = replace(self._kept[1], pos=torch.tensor(frame.pos, device=self.device))
        near = edge_vectors(graph).square().sum(dim=1) < self.model.cutoff**2
        return replace(graph, edge_index=graph.edge_index[:, near], edge_shift=graph.edge_shift[near])


def _still_holds(kept: Frame, frame: Frame, reach: float) -> bool:
    """Tell whether the atoms of a frame are those of the kept one and none has moved further than ``reach``."""
    same = np.array_equal(kept.species, frame.species) and np.array_equal(kept.pbc, frame.pbc)
    if not same or not _equal_cells(kept.cell, frame.cell):
        return False
    moved = np.square(frame.pos - kept.pos).sum(axis=1)
    return bool((moved <= reach**2).all())  # False for a NaN too: the search will name it


def _equal_cells(one: NDArray[Any] | None, two: NDArray[Any] | None) -> bool:
    return one is two or (one is not None and two is not None and np.array_equal(one, two))
