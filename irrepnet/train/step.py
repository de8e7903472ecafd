"""One optimiser step: a batch in pieces, over ranks and one after the other, whose gradients add up to the batch's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import NonFiniteError
from irrepnet.train.balance import balanced_shares
from irrepnet.train.batch_stream import BatchStream
from irrepnet.train.collected import not_finite_frames
from irrepnet.train.config import LossConfig, TrainingConfig
from irrepnet.train.distributed import Ranks
from irrepnet.train.error_sums import ErrorSums
from irrepnet.train.model_from_data import TrainingSet
from irrepnet.train.samples import LabelledGraphs, batch_indices
from irrepnet.train.state import TrainState
from irrepnet.train.tasks import Task

__all__ = ["MOST_NAMED", "WHAT_NOW", "listing", "pieces_of_steps", "take_step"]

MOST_NAMED = 10  # odd frames; a file of duplicates would fill the screen
WHAT_NOW = "best.model and the last good state are kept; look at these frames, or lower training.lr"


def pieces_of_steps(
    data: TrainingSet, stream: BatchStream, settings: TrainingConfig, ranks: Ranks, *, first_step: int
) -> Iterator[list[LabelledGraphs]]:
    """Yield this rank's pieces of every step's batch, from a step on, without end.

    The batch of a step depends on its number and ``training.seed`` alone, so a resumed run needs no saved sampler.

    Args:
        data: The training set; numbers of edges say what a frame costs.
        stream: Makes batches of its items, ahead of time where it has workers.
        settings: ``batch_size``, ``accumulate`` and ``seed``.
        ranks: Which share of each batch is this process's.
        first_step: Number of the first step, from 0.
    """

    def pieces(step: int) -> list[tuple[int, ...]]:
        batch = batch_indices(len(data.items), settings.batch_size, step, settings.seed)
        mine = ranks.share(batch, [int(data.sizes.num_edges[place]) for place in batch])
        costs = [int(data.sizes.num_edges[place]) for place in mine]
        return [tuple(mine[place] for place in share) for share in balanced_shares(costs, settings.accumulate) if share]

    plan, order = itertools.tee(map(pieces, itertools.count(first_step)))
    batches = stream.get(itertools.chain.from_iterable(plan))  # its workers run ahead of the steps
    for step in order:
        yield [next(batches) for _ in step]


def take_step(
    state: TrainState,
    pieces: Sequence[LabelledGraphs],
    *,
    task: Task,
    weights: LossConfig,
    rate: float,
    clip_norm: float | None,
    ranks: Ranks,
) -> float:
    """Do one optimiser step and return the loss of the whole batch; refuse to step on a NaN.

    Args:
        state: Model, optimiser, average and progress; all of them move on.
        pieces: This rank's part of the batch, on any device; none if the others do it all.
        task: What the model learns.
        weights: Of the loss, now.
        rate: The learning rate.
        clip_norm: Largest norm of the gradient; None: any.
        ranks: The processes that do the other parts.

    Raises:
        NonFiniteError: If the loss or the gradient is not finite; weights and progress are then as they were.
    """
    state.train_mode()
    state.optimiser.zero_grad()
    device = next(state.model.parameters()).device
    totals = _totals(task, pieces, weights, ranks)
    wanted = [label for label, weight in task.weights(weights).items() if weight > 0]
    loss_of_pieces, errors, sick = 0.0, ErrorSums(), []
    for piece in (piece.to(device) for piece in pieces):
        predicted = task.predict(state.model, piece, labels=wanted)
        loss = task.loss(predicted, piece, weights, totals)
        if loss.requires_grad:  # not where none of the targets is known
            loss.backward(inputs=state.learned)  # and not the edges: their second derivatives are costly
        loss_of_pieces += loss.item()
        errors.add_all(task.errors(predicted, piece))
        if not math.isfinite(loss.item()):
            sick += not_finite_frames(predicted, piece)
    ranks.sum_gradients(state.learned)
    norm = torch.nn.utils.clip_grad_norm_(state.learned, clip_norm or math.inf)
    labels = list(task.units)
    whole_loss, *sums = ranks.sum([loss_of_pieces, *errors.numbers(labels)])
    if not math.isfinite(whole_loss) or not math.isfinite(norm.item()):
        raise NonFiniteError(_blame(state.progress.step, whole_loss, norm, sick, pieces, ranks))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.averaged.update_parameters(state.model)
    state.progress.count_step(whole_loss, ErrorSums.from_numbers(labels, sums))
    return whole_loss


def _totals(task: Task, pieces: Sequence[LabelledGraphs], weights: LossConfig, ranks: Ranks) -> dict[str, float]:
    """Return how many entries of each label the whole batch has."""
    labels = [label for label, weight in task.weights(weights).items() if weight > 0]
    counts = [task.counts(piece, weights) for piece in pieces]
    totals = ranks.sum([sum(count[label] for count in counts) for label in labels])
    return dict(zip(labels, totals, strict=True))


def _blame(
    step: int, loss: float, norm: Tensor, sick: list[str], pieces: Sequence[LabelledGraphs], ranks: Ranks
) -> str:
    """Name the frames with a prediction that is not finite; all frames of the batch when only the gradient is not."""
    whole_batch = [source for piece in pieces for source in piece.sources]
    found: list[Any] = ranks.gather([sick, whole_batch])
    frames = [name for names, _ in found for name in names] or [name for _, names in found for name in names]
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm.item()}"
    return f"training stopped at step {step}: {what} for {listing(frames)}; {WHAT_NOW}"


def listing(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> listing(["a", "b"])
        'a, b'
    """
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
