"""What an evaluation collects batch by batch, on one rank or on several, and how it is put together in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irrepnet.train.config import LossConfig
from irrepnet.train.distributed import Ranks
from irrepnet.train.error_sums import ErrorSums
from irrepnet.train.samples import LabelledGraphs
from irrepnet.train.tasks import Task

__all__ = ["Collected", "Columns", "not_finite_frames"]


class Columns(NamedTuple):
    """Labels and predictions of all frames, with rows of NaN where a label is not known.

    Example:
        >>> Columns({}, {}, np.zeros(3, int), np.array([3])).atom_counts
        array([3])
    """

    reference: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]
    species: NDArray[np.int64]
    atom_counts: NDArray[np.int64]


class Collected:
    """Numbers and arrays of an evaluation, one entry per batch, so that the order of adding up never changes.

    Args:
        task: What is predicted.

    Example:
        >>> from irrepnet.train.tasks import ForceFieldTask
        >>> Collected(ForceFieldTask()).num_frames
        0
    """

    def __init__(self, task: Task):
        self.task = task
        self.is_interrupted = False
        self.sources: list[str] = []
        self.not_finite: list[str] = []
        # Per batch: frames; per label what it adds to the loss and how often; per label three sums of errors.
        self._numbers: list[list[float]] = []
        self._species: list[Tensor] = []
        self._atom_counts: list[Tensor] = []
        self._pairs: list[dict[str, tuple[Tensor, Tensor]]] = []

    @property
    def num_frames(self) -> int:
        """Frames seen."""
        return int(sum(row[0] for row in self._numbers))

    @property
    def loss(self) -> float:
        """The loss of all frames as of one batch: each label is divided by the entries that are known of all."""
        total, end = 0.0, 1 + 2 * len(self.task.units)
        for column in range(1, end, 2):
            count = sum(row[column + 1] for row in self._numbers)
            total += sum(row[column] for row in self._numbers) / count if count else 0.0
        return total

    def add_batch(self, predicted: Mapping[str, Tensor], batch: LabelledGraphs, loss: LossConfig | None) -> None:
        """Add what a model says of a batch, and with weights what the batch adds to the loss."""
        sums = ErrorSums()
        sums.add_all(self.task.errors(predicted, batch))
        frames = batch.graph.num_graphs
        self._numbers.append(
            [frames, *self._loss_numbers(predicted, batch, loss), *sums.numbers(list(self.task.units))]
        )
        self._species.append(batch.graph.species.cpu())
        self._atom_counts.append(batch.atom_counts.cpu())
        values = self.task.values(predicted, batch)
        self._pairs.append({label: (_plain(one), _plain(other)) for label, (one, other) in values.items()})
        self.sources += batch.sources
        self.not_finite += not_finite_frames(predicted, batch)

    def errors(self) -> ErrorSums:
        """Return the sums of errors over all batches, added in their order."""
        total = ErrorSums()
        for row in self._numbers:
            total.merge(ErrorSums.from_numbers(list(self.task.units), row[1 + 2 * len(self.task.units) :]))
        return total

    def _loss_numbers(
        self, predicted: Mapping[str, Tensor], batch: LabelledGraphs, loss: LossConfig | None
    ) -> list[float]:
        """Return per label what the batch adds to the loss, and the entries that are known of it."""
        if loss is None:
            return [0.0] * 2 * len(self.task.units)
        sums, counts = self.task.loss_sums(predicted, batch, loss), self.task.counts(batch, loss)
        return [
            number
            for label in self.task.units
            for number in (float(sums[label]) if label in sums else 0.0, counts.get(label, 0.0))
        ]

    def columns(self) -> Columns:
        """Return the arrays; a label that no batch has is left out."""
        reference, predicted = {}, {}
        for label in self.task.units:
            pairs = [pair for batch in self._pairs if (pair := batch.get(label)) is not None]
            if pairs:
                reference[label] = self._column(label, 0, pairs[0][0])
                predicted[label] = self._column(label, 1, pairs[0][0])
        species = torch.cat(self._species).numpy()
        return Columns(reference, predicted, species, torch.cat(self._atom_counts).numpy())

    def of_all_ranks(self, ranks: Ranks) -> Collected:
        """Return what the ranks have found together, in the order of the ranks, on each of them."""
        if ranks.size == 1:
            return self
        whole = Collected(self.task)
        for rank in ranks.gather(
            {"interrupted": self.is_interrupted, "sources": self.sources, "not_finite": self.not_finite}
        ):
            whole.is_interrupted |= rank["interrupted"]
            whole.sources += rank["sources"]
            whole.not_finite += rank["not_finite"]
        width = 1 + 5 * len(self.task.units)
        numbers = torch.tensor(self._numbers, dtype=torch.float64).reshape(-1, width)
        whole._numbers = [row for part in ranks.gather_tensor(numbers) for row in part.tolist()]
        empty = torch.zeros(0, dtype=torch.int64)
        whole._species = ranks.gather_tensor(torch.cat([empty, *self._species]))
        whole._atom_counts = ranks.gather_tensor(torch.cat([empty, *self._atom_counts]))
        whole._pairs = self._pairs_of_all_ranks(ranks)
        return whole

    def _pairs_of_all_ranks(self, ranks: Ranks) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """Return one entry per rank; a rank that lacks a label of another one has rows of NaN there."""
        mine = self.columns() if self._pairs else Columns({}, {}, np.zeros(0, int), np.zeros(0, int))
        shapes: dict[str, list[int]] = {}
        for found in ranks.gather({label: column.shape[1:] for label, column in mine.reference.items()}):
            shapes |= found
        rows = (sum(len(counts) for counts in self._atom_counts), sum(len(species) for species in self._species))
        pairs: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in range(ranks.size)]
        for label in [label for label in self.task.units if label in shapes]:
            nothing = torch.full((rows[label in self.task.per_atom], *shapes[label]), torch.nan, dtype=torch.float64)
            both = [
                ranks.gather_tensor(torch.from_numpy(column[label]) if label in column else nothing)
                for column in (mine.reference, mine.predicted)
            ]
            for rank, pair in enumerate(zip(*both, strict=True)):
                pairs[rank][label] = pair
        return pairs

    def _column(self, label: str, which: int, like: Tensor) -> NDArray[np.float64]:
        """Join the batches; one without the label has as many rows of NaN as it has frames or atoms."""
        sizes = self._species if label in self.task.per_atom else self._atom_counts
        parts = [
            batch[label][which] if label in batch else like.new_full((len(size), *like.shape[1:]), torch.nan)
            for batch, size in zip(self._pairs, sizes, strict=True)
        ]
        return torch.cat(parts).numpy()


def not_finite_frames(predicted: Mapping[str, Tensor], batch: LabelledGraphs) -> list[str]:
    """Return the sources of the structures with a prediction that is NaN or infinite.

    Args:
        predicted: Per label, a row per structure or per atom.
        batch: The structures.

    Example:
        >>> from irrepnet.data import Frame
        >>> from irrepnet.train import label_graphs
        >>> (item,) = label_graphs([Frame(species=[1], pos=[[0, 0, 0]], source="a.npz frame 0")], cutoff=1.0)
        >>> not_finite_frames({"energy": torch.tensor([torch.nan]), "forces": torch.zeros(1, 3)}, item)
        ['a.npz frame 0']
    """
    graph = batch.graph
    sick = torch.zeros(graph.num_graphs, dtype=torch.bool, device=graph.batch.device)
    for value in predicted.values():
        rows = ~value.isfinite().reshape(len(value), -1).all(dim=1)
        if len(rows) == graph.num_graphs:
            sick |= rows
        else:
            sick[graph.batch[rows]] = True
    return [source for source, is_sick in zip(batch.sources, sick.tolist(), strict=True) if is_sick]


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().double().cpu()
