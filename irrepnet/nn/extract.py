"""Some of the irreps of a feature tensor, by place or by kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError
from irrepnet.nn.channels import checked_width
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["Extract", "ExtractIr"]


class Extract(nn.Module):
    """Take entries of the input and lay them side by side, once for each output.

    An output whose entries are neighbours in the input is a view of it, so do not write to it in place.

    Args:
        irreps_in: Irreps of the input.
        irreps_outs: Irreps of each output.
        instructions: For each output and each of its entries, the number of the entry of ``irreps_in`` to take; an
            entry may be taken several times, and negative numbers count from the end.
        squeeze_out: Return a single output as a tensor instead of a tuple of one.

    Raises:
        IrrepsError: If an entry is not the one it is taken from, or the numbers of entries differ.
        IndexError: If there is no such entry.

    Example:
        >>> extract = Extract("1e + 0e + 0e", ["0e", "0e + 1e"], [(1,), (2, 0)])
        >>> extract
        Extract(1x1e+1x0e+1x0e -> 1x0e, 1x0e+1x1e)
        >>> extract(torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0]))
        (tensor([1.]), tensor([2., 0., 0., 0.]))
    """

    def __init__(
        self,
        irreps_in: Any,
        irreps_outs: Sequence[Any],
        instructions: Sequence[Sequence[int]],
        squeeze_out: bool = False,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_outs = Irreps(irreps_in), tuple(Irreps(irreps) for irreps in irreps_outs)
        self.instructions, self.squeeze_out = instructions, squeeze_out
        if len(instructions) != len(self.irreps_outs):
            raise IrrepsError(
                f"Extract needs instructions for each of its {len(self.irreps_outs)} outputs; got {len(instructions)}."
            )
        slices = self.irreps_in.slices()
        taken = [
            _runs([slices[i] for i in _checked(self.irreps_in, irreps, numbers)])
            for irreps, numbers in zip(self.irreps_outs, instructions, strict=True)
        ]
        # The input is split once, wherever something that is taken begins or ends: the derivative of one split is one
        # copy, that of each slice fills a tensor of full size.
        cuts = sorted({0, self.irreps_in.dim, *[place for runs in taken for run in runs for place in run]})
        number = {begin: i for i, begin in enumerate(cuts)}
        self._sizes = [end - begin for begin, end in pairwise(cuts)]
        self._pieces = [[i for a, b in runs for i in range(number[a], number[b])] for runs in taken]

    def forward(self, x: Tensor) -> Any:
        """Take the entries.

        Args:
            x: Features, shape ``[..., irreps_in.dim]``.

        Returns:
            A tuple of features, shape ``[..., irreps.dim]`` for each of ``irreps_outs``; with ``squeeze_out`` and one
            output that tensor.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
        """
        x = checked_width(type(self).__name__, x, self.irreps_in)
        pieces = x.split(self._sizes, dim=-1) if self._sizes else ()
        out = tuple(_laid([pieces[i] for i in numbers], x) for numbers in self._pieces)
        return out[0] if self.squeeze_out and len(out) == 1 else out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {', '.join(map(str, self.irreps_outs))})"


class ExtractIr(Extract):
    """Take all that is of one irrep.

    Args:
        irreps_in: Irreps of the input.
        ir: The irrep.

    Attributes:
        irreps_out: The entries of ``irreps_in`` that are of this irrep; perhaps none.

    Raises:
        IrrepsError: If irreps cannot be read.

    Example:
        >>> extract = ExtractIr("2x0e + 1o + 0e", "0e")
        >>> extract
        ExtractIr(2x0e+1x1o+1x0e -> 2x0e+1x0e)
        >>> extract(torch.arange(6.0))
        tensor([0., 1., 5.])
    """

    def __init__(self, irreps_in: Any, ir: Any) -> None:
        irreps_in, ir = Irreps(irreps_in), Irrep(ir)
        numbers = tuple(i for i, entry in enumerate(irreps_in) if entry.ir == ir)
        irreps_out = Irreps([irreps_in[i] for i in numbers])
        super().__init__(irreps_in, [irreps_out], [numbers], squeeze_out=True)
        self.irreps_out = irreps_out


def _checked(irreps_in: Irreps, irreps_out: Irreps, numbers: Sequence[int]) -> list[int]:
    """Return the numbers, from 0 on, of the entries to take."""
    if len(numbers) != len(irreps_out):
        raise IrrepsError(
            f"Extract needs one instruction for each of the {len(irreps_out)} entries of '{irreps_out}'; got "
            f"{len(numbers)}."
        )
    for entry, i in zip(irreps_out, numbers, strict=True):
        if not -len(irreps_in) <= i < len(irreps_in):
            raise IndexError(f"Extract takes from the {len(irreps_in)} entries of '{irreps_in}'; got number {i}.")
        if irreps_in[i] != entry:
            same = [k for k, other in enumerate(irreps_in) if other == entry]
            hint = f" Did you mean {same[0]}?" if same else ""
            raise IrrepsError(
                f"Extract needs an entry {entry} for '{irreps_out}'; number {i} of '{irreps_in}' is {irreps_in[i]}."
                f"{hint}"
            )
    return [i % len(irreps_in) for i in numbers]


def _runs(slices: Sequence[slice]) -> list[tuple[int, int]]:
    """Join slices that follow one another: ``(begin, end)`` of each run of columns."""
    runs: list[tuple[int, int]] = []
    for s in slices:
        if runs and runs[-1][1] == s.start:
            runs[-1] = (runs[-1][0], s.stop)
        elif s.stop > s.start:
            runs.append((s.start, s.stop))
    return runs


def _laid(pieces: list[Tensor], x: Tensor) -> Tensor:
    if len(pieces) == 1:
        return pieces[0]
    return torch.cat(pieces, dim=-1) if pieces else x.narrow(-1, 0, 0)
