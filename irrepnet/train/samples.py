"""Labelled graphs: from frames to batches, and the order in which training sees them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, overload
from warnings import warn

import torch
from torch import Tensor

from irrepnet.data.cache import NeighborLists, cached_neighbor_lists
from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.neighborhood import build_graph
from irrepnet.errors import DataError, ShapeError

__all__ = [
    "LabelledGraphs",
    "LazyItems",
    "batch_indices",
    "batches",
    "label_graphs",
    "steps_per_epoch",
]


@dataclass(frozen=True, eq=False)
class LabelledGraphs:
    """A graph (of one or many structures) with its reference energies, forces, stresses and other properties.

    Args:
        graph: The structures.
        energy: Shape ``[B]``, eV; None when the data have none, as for the next two.
        forces: Shape ``[N, 3]``, eV/Å.
        stress: Shape ``[B, 3, 3]``, eV/Å^3.
        sources: Where each structure came from, ``B`` texts such as ``"water.npz frame 12"``.
        properties: Other labels of structures by name, shape ``[B, ...]``; NaN where not known.
        atom_properties: Other labels of atoms by name, shape ``[N, ...]``; NaN where not known.

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
    properties: Mapping[str, Tensor] = field(default_factory=dict)
    atom_properties: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def atom_counts(self) -> Tensor:
        """Number of atoms of each structure, shape ``[B]``, int64."""
        return torch.bincount(self.graph.batch, minlength=self.graph.num_graphs)

    def to(self, device: str | torch.device) -> LabelledGraphs:
        """Return the same on another device."""
        energy, forces, stress = (label if label is None else label.to(device) for label in self._labels)
        return LabelledGraphs(
            self.graph.to(device), energy, forces, stress, self.sources,
            {name: label.to(device) for name, label in self.properties.items()},
            {name: label.to(device) for name, label in self.atom_properties.items()},
        )  # fmt: skip

    @staticmethod
    def collate(items: Sequence[LabelledGraphs]) -> LabelledGraphs:
        """Join structures into one batch, in order.

        An energy, forces or stress that one of them lacks is left out; a property that one lacks is NaN there.

        Raises:
            DataError: If there is nothing to join.
            ShapeError: If a property has different shapes.
        """
        if len(items) == 1:
            return items[0]
        graph = Graph.collate([item.graph for item in items])
        energy, forces, stress = map(_joined, zip(*(item._labels for item in items), strict=True))
        return LabelledGraphs(
            graph, energy, forces, stress, tuple(text for item in items for text in item.sources),
            _joined_by_name([(item.properties, item.graph.num_graphs, item.sources[0]) for item in items]),
            _joined_by_name([(item.atom_properties, item.graph.num_nodes, item.sources[0]) for item in items]),
        )  # fmt: skip

    @property
    def _labels(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.energy, self.forces, self.stress


class LazyItems(Sequence[LabelledGraphs]):
    """Labelled graphs of a set that is larger than memory: an item is made when it is asked for.

    Args:
        frames: The set; picklable where worker processes are to read it.
        cutoff: Å.
        neighbors: The neighbour lists of the frames, from disk; None: they are found anew each time.

    Example:
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], source="h2.npz frame 0")
        >>> items = LazyItems([hydrogen] * 3, cutoff=2.0)
        >>> len(items), items[-1].sources, len(items[1:])
        (3, ('h2.npz frame 0',), 2)
    """

    def __init__(self, frames: Sequence[Frame], cutoff: float, neighbors: NeighborLists | None = None) -> None:
        self.frames, self.cutoff, self.neighbors = frames, cutoff, neighbors

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> LabelledGraphs: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[LabelledGraphs]: ...

    def __getitem__(self, index: int | slice) -> LabelledGraphs | Sequence[LabelledGraphs]:
        if isinstance(index, slice):
            return _Part(self, range(len(self))[index])
        place = range(len(self))[index]
        return self._item(place, self.frames[place])

    def __iter__(self) -> Iterator[LabelledGraphs]:
        return itertools.starmap(self._item, enumerate(self.frames))  # a lazy set is faster in one go

    def _item(self, place: int, frame: Frame) -> LabelledGraphs:
        if self.neighbors is None:
            return _label_graph(frame, self.cutoff)
        try:
            edges = self.neighbors[place]
        except DataError as error:
            warn(f"{error}. The neighbours of {frame.source} are found anew", stacklevel=2)
            return _label_graph(frame, self.cutoff)
        return _label_graph(frame, self.cutoff, edges)


class _Part(Sequence[LabelledGraphs]):
    """A slice of lazy items."""

    def __init__(self, items: Sequence[LabelledGraphs], places: range) -> None:
        self._items, self._places = items, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Part(self._items, self._places[index])
        return self._items[self._places[index]]


def label_graphs(
    frames: Sequence[Frame],
    cutoff: float,
    *,
    cache: str | Path | None = None,
    say: Callable[[str], None] = warn,
) -> Sequence[LabelledGraphs]:
    """Find the neighbours of every frame once and attach the frame's labels; all in float64.

    A model in float32 casts edge vectors, not positions, so nothing is lost far from the origin.

    Args:
        frames: Structures with labels: a list, or a lazy set, such as an HDF5 file's.
        cutoff: Of the model that will see them, Å.
        cache: Folder in which neighbour lists are kept between runs; None: none are kept.
        say: Is told when a kept neighbour list is damaged; it is then made anew.

    Returns:
        A list from a list or tuple, :class:`LazyItems` from any other sequence. Without a cache, lazy items find their
        neighbours each time that they are read.

    Raises:
        DataError: If positions are not finite, two atoms are at one place or a cell is singular; names the frame.
        OSError: If the cache cannot be written.

    Example:
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], energy=-31.7, source="h2.npz frame 0")
        >>> (item,) = label_graphs([hydrogen], cutoff=2.0)
        >>> item.graph.num_edges, item.energy, item.forces
        (2, tensor([-31.7000], dtype=torch.float64), None)
    """
    neighbors = None if cache is None else cached_neighbor_lists(frames, cutoff, cache, say=say)
    items = LazyItems(frames, cutoff, neighbors)
    return list(items) if isinstance(frames, list | tuple) else items


def _label_graph(frame: Frame, cutoff: float, edges: tuple[Tensor, Tensor] | None = None) -> LabelledGraphs:
    graph = build_graph(frame, cutoff, dtype=torch.float64) if edges is None else _graph(frame, *edges)
    return LabelledGraphs(
        graph,
        None if frame.energy is None else torch.tensor([frame.energy], dtype=torch.float64),
        None if frame.forces is None else torch.tensor(frame.forces),
        None if frame.stress is None else torch.tensor(frame.stress)[None],
        (frame.source,),
        {name: torch.tensor(label)[None] for name, label in frame.properties.items()},
        {name: torch.tensor(label) for name, label in frame.atom_properties.items()},
    )


def _graph(frame: Frame, edge_index: Tensor, edge_shift: Tensor) -> Graph:
    """Return the graph of a frame whose neighbours are known; it was checked when they were found."""
    return Graph(
        pos=torch.tensor(frame.pos),
        species=torch.tensor(frame.species),
        edge_index=edge_index,
        edge_shift=edge_shift,
        cell=None if frame.cell is None else torch.tensor(frame.cell)[None],
        pbc=torch.tensor(frame.pbc)[None],
        batch=torch.zeros(len(frame), dtype=torch.long),
        num_graphs=1,
    )


def _joined(labels: Sequence[Tensor | None]) -> Tensor | None:
    present = [label for label in labels if label is not None]
    return torch.cat(present) if len(present) == len(labels) else None


def _joined_by_name(parts: Sequence[tuple[Mapping[str, Tensor], int, str]]) -> dict[str, Tensor]:
    """Join labels by name; a part without one has as many rows of NaN as it has structures or atoms."""
    joined = {}
    for name in dict.fromkeys(name for labels, _, _ in parts for name in labels):
        rows = [labels.get(name) for labels, _, _ in parts]
        like = next(row for row in rows if row is not None)
        if not all(row is not None and row.shape[1:] == like.shape[1:] for row in rows):
            rows = [_row(name, like, *part) for part in parts]
        joined[name] = torch.cat(rows)  # type: ignore[arg-type]  # none of them is None now
    return joined


def _row(name: str, like: Tensor, labels: Mapping[str, Tensor], size: int, source: str) -> Tensor:
    row = labels.get(name)
    if row is None:
        return like.new_full((size, *like.shape[1:]), torch.nan)
    if row.shape[1:] != like.shape[1:]:
        found = f"{list(like.shape[1:])} and {list(row.shape[1:])}"
        raise ShapeError(f"{source}: property {name} needs one shape in all frames; found {found}")
    return row


def batches(items: Sequence[LabelledGraphs], batch_size: int) -> Iterator[LabelledGraphs]:
    """Yield batches in the order of the items; the last one may be smaller.

    Neighbours with other labels start a new batch, so that no label is lost and no result depends on ``batch_size``.

    Example:
        >>> items = label_graphs([Frame(species=[1], pos=[[0, 0, 0]])] * 5, cutoff=1.0)
        >>> [batch.graph.num_graphs for batch in batches(items, 2)]
        [2, 2, 1]
    """
    for _, alike in itertools.groupby(items, key=lambda item: [label is None for label in item._labels]):
        while part := list(itertools.islice(alike, batch_size)):  # one at a time: a lazy set may not fit into memory
            yield LabelledGraphs.collate(part)


def batch_indices(num_items: int, batch_size: int, step: int, seed: int) -> tuple[int, ...]:
    """Return which items belong to a training step, in order; every epoch has another order.

    The order of an epoch depends on ``seed`` and the number of the epoch alone, so a resumed run needs no saved
    sampler: the step says it all.

    Args:
        num_items: Size of the training set.
        batch_size: Items per batch; the last batch of an epoch may be smaller.
        step: Number of the step, from 0.
        seed: Of the run.

    Example:
        >>> [batch_indices(5, 2, step, seed=0) for step in range(3)]
        [(4, 0), (1, 3), (2,)]
    """
    epoch, place = divmod(step, steps_per_epoch(num_items, batch_size))
    order = _epoch_order(num_items, seed, epoch)
    return tuple(order[place * batch_size : (place + 1) * batch_size].tolist())


def steps_per_epoch(num_items: int, batch_size: int) -> int:
    """Return how many steps see every item once.

    Example:
        >>> steps_per_epoch(10, batch_size=4)
        3
    """
    return -(-num_items // batch_size)


@lru_cache(maxsize=2)
def _epoch_order(num_items: int, seed: int, epoch: int) -> Tensor:
    # Two primes keep the pairs (seed, epoch) apart; the modulus fits torch's 64 bits.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch * 7_919) % 2**63)
    return torch.randperm(num_items, generator=generator)
