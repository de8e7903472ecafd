"""Labelled graphs: from frames to batches, and the order in which training sees them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.neighborhood import build_graph

__all__ = ["LabelledGraphs", "batches", "label_graphs", "shuffled_batch", "steps_per_epoch"]


@dataclass(frozen=True, eq=False)
class LabelledGraphs:
    """A graph (of one or many structures) with its reference energies, forces and stresses.

    Args:
        graph: The structures.
        energy: Shape ``[B]``, eV; None when the data have none, as for the other labels.
        forces: Shape ``[N, 3]``, eV/Å.
        stress: Shape ``[B, 3, 3]``, eV/Å^3.
        sources: Where each structure came from, ``B`` texts such as ``"water.npz frame 12"``.

    Example:
        >>> from irrepnet.data import Graph
        >>> graph = Graph.checked(torch.zeros(1, 3), torch.tensor([8]), torch.zeros(2, 0, dtype=torch.long))
        >>> LabelledGraphs(graph, torch.zeros(1), torch.zeros(1, 3), None, ("a.npz frame 0",)).atom_counts
        tensor([1])
    """

    graph: Graph
    energy: Tensor | None
    forces: Tensor | None
    stress: Tensor | None
    sources: tuple[str, ...]

    @property
    def atom_counts(self) -> Tensor:
        """Number of atoms of each structure, shape ``[B]``, int64."""
        return torch.bincount(self.graph.batch, minlength=self.graph.num_graphs)

    def to(self, device: str | torch.device) -> LabelledGraphs:
        """Return the same on another device."""
        energy, forces, stress = (label if label is None else label.to(device) for label in self._labels)
        return LabelledGraphs(self.graph.to(device), energy, forces, stress, self.sources)

    @staticmethod
    def collate(items: Sequence[LabelledGraphs]) -> LabelledGraphs:
        """Join structures into one batch, in order; a label that one of them lacks is left out."""
        if len(items) == 1:
            return items[0]
        graph = Graph.collate([item.graph for item in items])
        energy, forces, stress = map(_joined, zip(*(item._labels for item in items), strict=True))
        return LabelledGraphs(graph, energy, forces, stress, tuple(text for item in items for text in item.sources))

    @property
    def _labels(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.energy, self.forces, self.stress


def label_graphs(frames: Sequence[Frame], cutoff: float) -> list[LabelledGraphs]:
    """Build the neighbour list of every frame once and attach the frame's labels; all in float64.

    A model in float32 casts edge vectors, not positions, so nothing is lost far from the origin.

    Args:
        frames: Structures with labels.
        cutoff: Of the model that will see them, Å.

    Example:
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], energy=-31.7, source="h2.npz frame 0")
        >>> (item,) = label_graphs([hydrogen], cutoff=2.0)
        >>> item.graph.num_edges, item.energy, item.forces
        (2, tensor([-31.7000], dtype=torch.float64), None)
    """
    return [_label_graph(frame, cutoff) for frame in frames]


def _label_graph(frame: Frame, cutoff: float) -> LabelledGraphs:
    return LabelledGraphs(
        build_graph(frame, cutoff, dtype=torch.float64),
        None if frame.energy is None else torch.tensor([frame.energy], dtype=torch.float64),
        None if frame.forces is None else torch.tensor(frame.forces),
        None if frame.stress is None else torch.tensor(frame.stress)[None],
        (frame.source,),
    )


def _joined(labels: Sequence[Tensor | None]) -> Tensor | None:
    present = [label for label in labels if label is not None]
    return torch.cat(present) if len(present) == len(labels) else None


def batches(items: Sequence[LabelledGraphs], batch_size: int) -> Iterator[LabelledGraphs]:
    """Yield batches in the order of the items; the last one may be smaller.

    Neighbours with other labels start a new batch, so that no label is lost and no result depends on ``batch_size``.

    Example:
        >>> items = label_graphs([Frame(species=[1], pos=[[0, 0, 0]])] * 5, cutoff=1.0)
        >>> [batch.graph.num_graphs for batch in batches(items, 2)]
        [2, 2, 1]
    """
    for _, alike in itertools.groupby(items, key=lambda item: [label is None for label in item._labels]):
        run = list(alike)
        for start in range(0, len(run), batch_size):
            yield LabelledGraphs.collate(run[start : start + batch_size])


def shuffled_batch(items: Sequence[LabelledGraphs], batch_size: int, step: int, seed: int) -> LabelledGraphs:
    """Return the batch that belongs to a training step, every epoch in another order.

    The order of an epoch depends on ``seed`` and the number of the epoch alone, so a resumed run needs no saved
    sampler: the step says it all.

    Args:
        items: The training set.
        batch_size: Frames per batch; the last batch of an epoch may be smaller.
        step: Number of the step, from 0.
        seed: Of the run.

    Example:
        >>> atoms = [Frame(species=[1], pos=[[0, 0, 0]], source=name) for name in "abc"]
        >>> items = label_graphs(atoms, cutoff=1.0)
        >>> sorted(shuffled_batch(items, 1, step, seed=0).sources[0] for step in (3, 4, 5))  # the second epoch
        ['a', 'b', 'c']
    """
    epoch, place = divmod(step, steps_per_epoch(len(items), batch_size))
    order = _epoch_order(len(items), seed, epoch)
    return LabelledGraphs.collate([items[i] for i in order[place * batch_size : (place + 1) * batch_size]])


def steps_per_epoch(num_items: int, batch_size: int) -> int:
    """Return how many steps see every item once.

    Example:
        >>> steps_per_epoch(10, batch_size=4)
        3
    """
    return -(-num_items // batch_size)


@lru_cache(maxsize=2)
def _epoch_order(num_items: int, seed: int, epoch: int) -> tuple[int, ...]:
    # Two primes keep the pairs (seed, epoch) apart; the modulus fits torch's 64 bits.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch * 7_919) % 2**63)
    return tuple(torch.randperm(num_items, generator=generator).tolist())
