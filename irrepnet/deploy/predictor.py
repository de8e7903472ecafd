"""Arrays in, prediction out: the one road by which every simulation programme reaches a model."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.neighborhood import build_graph
from irrepnet.deploy.committee import Committee, CommitteePrediction
from irrepnet.deploy.committee_file import load_model_or_committee
from irrepnet.deploy.predict_frames import has_volume
from irrepnet.errors import ConfigError
from irrepnet.models.force_field import Prediction

__all__ = ["Predictor"]


class _Kept(NamedTuple):
    """A neighbour list with a skin, and where the atoms were."""

    frame: Frame
    graph: Graph
    shift: Tensor | float  # [E, 3] Å, edge_shift @ cell


class Predictor:
    """Predict energy, forces and stress of one structure after another, as a simulation asks for them.

    The neighbour list is found anew at every call. With a skin it is found up to ``cutoff + skin`` and kept until an
    atom has moved by half the skin, or species, cell or periods have changed; the predictions are the same. Arrays may
    be of any real dtype, order and device; they are copied. Several threads may call one predictor.

    Args:
        model: A force field, a :class:`~irrepnet.deploy.Committee` of some, or the path of a ``*.model`` or
            ``*.committee`` file. A model is used itself, not a copy: it moves to ``device`` and into evaluation mode.
            To go on training it, call ``model.train()`` or give a deepcopy.
        device: Where it runs.
        skin: Å.

    Attributes:
        num_searches: How often neighbours were looked for.

    Raises:
        ConfigError: If the skin is negative, or the model predicts no energy and forces.
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
        loaded: Any = model if isinstance(model, nn.Module) else load_model_or_committee(model)
        if _targets(loaded):
            raise ConfigError(
                f"a Predictor needs a model of energy and forces; found {type(loaded).__name__} of "
                f"{', '.join(_targets(loaded))}; use predict_frames"
            )
        self.model = loaded.to(device).eval()
        self.device = torch.device(device)
        self.skin = skin
        self.num_searches = 0
        self._kept: _Kept | None = None

    def __call__(
        self,
        species: ArrayLike,
        pos: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike = False,
        *,
        compute_stress: bool = True,
    ) -> Prediction | CommitteePrediction:
        """Return energy ``[1]`` eV, forces ``[N, 3]`` eV/Å and, for a periodic structure, stress ``[1, 3, 3]`` eV/Å^3.

        Args:
            species: Atomic numbers, shape ``[N]``.
            pos: Shape ``[N, 3]``, Å.
            cell: Lattice vectors as rows, shape ``[3, 3]``, Å; None for an open structure.
            pbc: One bool or three.
            compute_stress: False saves a little time where nobody asks for it.

        Returns:
            Of a committee with ``energy_spread [1]``, ``forces_spread [N]`` and ``stress_spread [1]``.

        Raises:
            ShapeError: If shapes do not fit each other.
            DataError: If something is not real numbers or not finite, atoms coincide, the cell is singular, or an
                element is unknown.
        """
        # Frame copies every array: callers change theirs in place.
        frame = Frame(species=species, pos=pos, cell=cell, pbc=pbc, source="structure")  # type: ignore[arg-type]
        graph = self._graph(frame)
        return self.model(graph, compute_stress=compute_stress and has_volume(frame))

    def _graph(self, frame: Frame) -> Graph:
        if self.skin == 0:
            return self._search(frame, self.model.cutoff)
        kept = self._kept  # as it is now: another thread may exchange it for that of its own structure
        if kept is None or not _still_holds(kept.frame, frame, self.skin / 2):
            wide = self._search(frame, self.model.cutoff + self.skin)
            shift = 0.0 if wide.cell is None else wide.edge_shift.to(wide.pos.dtype) @ wide.cell[0]
            self._kept = kept = _Kept(frame, wide, shift)
        pos = torch.from_numpy(frame.pos).to(self.device)
        src, dst = kept.graph.edge_index
        edge_vec = pos.index_select(0, dst) - pos.index_select(0, src) + kept.shift
        near = (edge_vec.square().sum(dim=1) < self.model.cutoff**2).nonzero().flatten()
        return replace(
            kept.graph,
            pos=pos,
            edge_index=kept.graph.edge_index.index_select(1, near),
            edge_shift=kept.graph.edge_shift.index_select(0, near),
        )

    def _search(self, frame: Frame, reach: float) -> Graph:
        self.num_searches += 1
        return build_graph(frame, reach, dtype=torch.float64).to(self.device)


def _targets(model: Any) -> list[str]:
    """Return the names of what a model predicts beside energy and forces."""
    if isinstance(model, Committee):
        return [target["name"] for target in model.targets]
    return [target.name for target in getattr(getattr(model, "config", None), "targets", ())]


def _still_holds(kept: Frame, frame: Frame, reach: float) -> bool:
    """Tell whether the atoms of a frame are those of the kept one and none has moved further than ``reach``."""
    same = np.array_equal(kept.species, frame.species) and np.array_equal(kept.pbc, frame.pbc)
    if not same or not _equal_cells(kept.cell, frame.cell):
        return False
    moved = np.square(frame.pos - kept.pos).sum(axis=1)
    return bool((moved <= reach**2).all())  # False for a NaN too: the search will name it


def _equal_cells(one: NDArray[Any] | None, two: NDArray[Any] | None) -> bool:
    return one is two or (one is not None and two is not None and np.array_equal(one, two))
