"""Predictions for many frames, several at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.neighborhood import build_graph
from irrepnet.deploy.committee import SPREAD, Committee
from irrepnet.errors import ConfigError, DataError, NonFiniteError

__all__ = ["atom_labels", "has_volume", "predict_frames"]

Array = NDArray[np.float64]


def predict_frames(model: nn.Module, frames: Iterable[Frame], batch_size: int = 1) -> Iterator[dict[str, Array]]:
    """Yield what a model says of each frame, in their order.

    Of a force field these are ``energy`` (eV), ``forces`` (eV/Å) and, where the frame is periodic, ``stress``
    (eV/Å^3); of other models the targets by name. A committee adds spreads: ``energy_spread``, ``forces_spread``, ...
    Labels in the frames are not looked at.

    Args:
        model: A model of the registry or a :class:`~irrepnet.deploy.Committee`, on any device. It is put into
            evaluation mode.
        frames: The structures, also a lazy sequence or a generator; no more than ``batch_size`` are held.
        batch_size: Frames per call of the model.

    Yields:
        float64 arrays by label, of the shape that the label of one structure has: ``[]``, ``[N, 3]``, ``[3, 3]``.

    Raises:
        ConfigError: If ``batch_size`` is not above 0.
        DataError: If the model cannot predict a frame; names it.
        NonFiniteError: If a prediction is NaN or infinite; names the frame.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o", species_shifts=(-13.6,)))
        >>> [labels["energy"] for labels in predict_frames(model, [Frame(species=[1], pos=[[0, 0, 0]])] * 2, 2)]
        [array(-13.6), array(-13.6)]
    """
    if batch_size < 1:
        raise ConfigError(f"predict_frames needs a batch_size of 1 or more; found {batch_size}")
    model.eval()
    per_atom = atom_labels(model)
    # Neighbours that need another call of the model start a new batch.
    for _, alike in itertools.groupby(frames, key=lambda frame: (frame.cell is None, has_volume(frame))):
        while chunk := list(itertools.islice(alike, batch_size)):
            labels = _predict(model, chunk)
            starts = np.cumsum([0, *map(len, chunk)])
            for place, frame in enumerate(chunk):
                atoms = slice(starts[place], starts[place + 1])
                mine = {name: value[atoms if name in per_atom else place] for name, value in labels.items()}
                _refuse_not_finite(mine, frame)
                yield {name: np.asarray(value) for name, value in mine.items()}


def has_volume(frame: Frame) -> bool:
    """Tell whether a frame has a stress: periods, and a cell with a volume.

    Example:
        >>> has_volume(Frame(species=[1], pos=[[0, 0, 0]], cell=np.eye(3), pbc=True))
        True
    """
    return frame.cell is not None and bool(frame.pbc.any()) and bool(np.linalg.det(frame.cell) != 0)


def atom_labels(model: nn.Module) -> frozenset[str]:
    """Return the names of those predictions, and of their spreads, that have a row per atom.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> sorted(atom_labels(ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))))
        ['forces', 'forces_spread']
    """
    member: Any = model.members[0] if isinstance(model, Committee) else model
    targets = getattr(getattr(member, "config", None), "targets", None)
    if targets is None:
        names = {"forces"}
    else:
        names = {target.name for target in targets if getattr(target, "level", "") == "atom"}
    return frozenset(names | {name + SPREAD for name in names})


def _predict(model: Any, frames: Sequence[Frame]) -> dict[str, Array]:
    graphs = [build_graph(frame, model.cutoff, dtype=torch.float64) for frame in frames]
    device = next(model.parameters()).device
    graph = Graph.collate(graphs).to(device)
    settings = {"compute_stress": True} if has_volume(frames[0]) and not _has_targets(model) else {}
    try:
        with torch.no_grad():
            said = model(graph, **settings)
    except DataError as error:
        if len(frames) == 1:
            raise DataError(f"{frames[0].source}: {error}") from error
        for frame in frames:
            _predict(model, [frame])  # the one to blame
        raise
    labels: dict[str, Tensor | None] = said if isinstance(said, dict) else said._asdict()
    return {name: value.double().numpy(force=True) for name, value in labels.items() if value is not None}


def _has_targets(model: nn.Module) -> bool:
    member: Any = model.members[0] if isinstance(model, Committee) else model
    return hasattr(getattr(member, "config", None), "targets")


def _refuse_not_finite(labels: dict[str, Array], frame: Frame) -> None:
    for name, value in labels.items():
        if not np.isfinite(value).all():
            raise NonFiniteError(
                f"{frame.source}: predictions need to be finite; found {name} that is not; look at the structure, or "
                "train with frames like it"
            )
