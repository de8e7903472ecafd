"""Several processes that train one model: who they are, how work is shared, and how their sums are added up."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from irrepnet.errors import ConfigError, RankError
from irrepnet.train.balance import balanced_shares
from irrepnet.train.meeting import launched_as, meet, reason, take_gpu

__all__ = ["Ranks"]


@dataclass(frozen=True)
class Ranks:
    """The processes (ranks) of a training and the sums over them; with a single rank nothing is sent or imported.

    Every method but :meth:`share` is an appointment: each rank calls it, in the same order. A rank that has died or
    does not answer within the time given to :meth:`join` makes the call a :class:`~irrepnet.errors.RankError` on the
    others, before anything of theirs is changed.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.

    Example:
        >>> alone = Ranks()
        >>> alone.is_main, alone.share([7, 2, 5], costs=[10, 30, 20]), alone.sum([1.5, 2.0])
        (True, (7, 2, 5), [1.5, 2.0])
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    @classmethod
    @contextmanager
    def join(cls, device: str, timeout_s: float) -> Iterator[Ranks]:
        """Meet the other processes that ``torchrun`` started; without it, be the only one.

        With several ranks on GPUs each takes the GPU of its place on its machine (``LOCAL_RANK``), and the device
        ``cuda`` means that one from here on.

        Args:
            device: ``training.device`` of the configuration: ``cpu``, ``cuda``.
            timeout_s: Longest wait for another rank, s: here, and in every later call.

        Raises:
            ConfigError: If the environment is not one of torchrun's, or the device cannot serve several ranks.
            RankError: If not all ranks come in time.

        Example:
            >>> with Ranks.join("cpu", timeout_s=60) as ranks:
            ...     ranks.size
            1
        """
        rank, size = launched_as(os.environ)
        if size == 1:
            yield cls()
            return
        if torch.device(device).type == "cuda":
            take_gpu(device, os.environ)
        meet(device, rank, size, timeout_s)
        try:
            yield cls(rank, size)
        except BaseException:
            if torch.device(device).type == "cpu":  # the GPU's library would wait for ranks that are not coming
                torch.distributed.destroy_process_group()
            raise
        torch.distributed.destroy_process_group()

    def share(self, indices: Sequence[int], costs: Sequence[float]) -> tuple[int, ...]:
        """Return the part of a batch that this rank computes; together the ranks have all of it once.

        Args:
            indices: Of the items of the batch, the same on every rank.
            costs: Of each of them, such as their numbers of edges; see :func:`~irrepnet.train.balance.balanced_shares`.

        Returns:
            Some of ``indices``, in their order; none if there are more ranks than items.

        Example:
            >>> [Ranks(rank, 2).share([8, 3, 5], costs=[100, 60, 50]) for rank in (0, 1)]
            [(8,), (3, 5)]
        """
        if len(indices) != len(costs):
            raise ValueError(f"share needs a cost per index; got {len(indices)} indices and {len(costs)} costs")
        mine = balanced_shares(costs, self.size)[self.rank]
        return tuple(indices[place] for place in mine)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks, in the dtype of the gradient, with the same bits on each.

        A rank that computed nothing (``grad`` is None) contributes zeros; a parameter that no rank has a gradient for
        keeps None, so that an optimiser passes it over, as it would on one rank.

        Args:
            parameters: Of the model, in the same order on every rank; frozen ones are left out.

        Raises:
            RankError: If another rank died or does not answer; the gradients are as before.
        """
        if self.size == 1:
            return
        alike: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                alike.setdefault((parameter.dtype, parameter.device), []).append(parameter)
        # All messages before the first change: an error in between leaves every gradient as it was.
        summed = [pair for group in alike.values() for pair in self._summed(group)]
        for parameter, total in summed:
            parameter.grad = total

    def _summed(self, parameters: list[nn.Parameter]) -> list[tuple[nn.Parameter, Tensor]]:
        """Return gradients of one dtype and device, added up in one message, for parameters that have any."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        ranks_with = gradients[0].new_tensor([p.grad is not None for p in parameters])
        buffer = torch.cat([*(gradient.reshape(-1) for gradient in gradients), ranks_with])
        if buffer.device.type != "cpu":
            # A dead rank is an error here but would be an abort of the process, much later, in the GPU's library.
            self.barrier()
        self._all_reduce(buffer, "to add up gradients")
        *sums, ranks_with = buffer.split([*(p.numel() for p in parameters), len(parameters)])
        counted = zip(parameters, sums, ranks_with.tolist(), strict=True)
        return [(parameter, total.view_as(parameter)) for parameter, total, count in counted if count]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over the ranks: float64, added in the order of the ranks, the same on each."""
        return [sum(column) for column in self._all_values(values).T.tolist()]

    def max(self, values: Sequence[float]) -> list[float]:
        """Return the largest of each number over the ranks."""
        return self._all_values(values).amax(dim=0).tolist()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on some rank: so all of them stop at the same step."""
        return bool(self._all_values([flag]).any())

    def from_main(self, values: Sequence[float]) -> list[float]:
        """Return the numbers of rank 0: there is one clock, and a budget of minutes ends at one step."""
        return self._all_values(values)[0].tolist()

    def gather(self, obj: Any) -> list[Any]:
        """Return what every rank has, in the order of the ranks.

        Args:
            obj: Plain data, as JSON can hold it (tuples come back as lists).

        Example:
            >>> Ranks().gather({"frames": (3, 1)})
            [{'frames': [3, 1]}]
        """
        text = torch.frombuffer(bytearray(json.dumps(obj).encode()), dtype=torch.uint8)
        return [json.loads(part.numpy().tobytes()) for part in self.gather_tensor(text)]

    def gather_tensor(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, on the CPU, in the order of the ranks.

        Args:
            tensor: Shape ``[rows, ...]``; ranks may differ in their rows (of predictions, none for an empty share), not
                in the other dimensions and the dtype.
        """
        tensor = tensor.detach().cpu()
        if self.size == 1:
            return [tensor]
        lengths = self._all_values([len(tensor)]).long().flatten().tolist()
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        with self._naming_lost_ranks("to gather results"):
            torch.distributed.all_gather(parts, padded)
        return [part[:length] for part, length in zip(parts, lengths, strict=True)]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self._all_values([0.0])

    def agree(self, what: str, value: str) -> None:
        """Refuse to go on with ranks that were started differently, such as with other copies of the frames.

        Args:
            what: Name of the value in the error, such as ``"the training frames"``.
            value: A short text that must be the same everywhere, such as a checksum.

        Raises:
            ConfigError: On every rank, if a rank has another value.
        """
        values = self.gather(value)
        odd = [rank for rank, other in enumerate(values) if other != values[0]]
        if odd:
            raise ConfigError(
                f"{what}: needed the same on every rank; found {values[0]} on rank 0 and {values[odd[0]]} on rank "
                f"{odd[0]}; give all of them the same files and the same versions"
            )

    def _all_values(self, values: Sequence[float]) -> Tensor:
        """Return the numbers of every rank, ``[size, len(values)]``: what is made of them is the same on each."""
        rows = torch.zeros(self.size, len(values), dtype=torch.float64)
        rows[self.rank] = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            self._all_reduce(rows, "to compare notes")
        return rows

    def _all_reduce(self, buffer: Tensor, purpose: str) -> None:
        with self._naming_lost_ranks(purpose):
            torch.distributed.all_reduce(buffer)

    @contextmanager
    def _naming_lost_ranks(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankError(
                f"rank {self.rank} of {self.size} needed an answer of the other ranks {purpose}; found: "
                f"{reason(error)}; read what the rank that ended first has printed (nothing: it was killed, often for "
                "lack of memory), then go on from the last saved state with --resume, on any number of ranks"
            ) from error
