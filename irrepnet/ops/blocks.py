"""Blocks of columns in a feature tensor: cut out, with channels innermost, and laid side by side again.

Outside, features are ``[rows, columns]`` with each block ``[channel, component]`` (channel outer). Inside they are
``[rows, component, channel]``, so that inner loops run over channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Block", "cut", "join", "together"]


class Block(NamedTuple):
    """Where features of one kind lie: columns ``offset ... offset + mul * dim``, seen as ``[mul, dim]``.

    Attributes:
        offset: First column.
        mul: Number of channels.
        dim: Components of each.

    Example:
        >>> Block(4, 8, 3).end
        28
    """

    offset: int
    mul: int
    dim: int

    @property
    def end(self) -> int:
        """First column after the block."""
        return self.offset + self.mul * self.dim


def cut(features: Tensor, blocks: Iterable[Block]) -> dict[Block, Tensor]:
    """Cut features into blocks.

    Args:
        features: Shape ``[rows, columns]``.
        blocks: Which; they must not overlap.

    Returns:
        Block -> view ``[rows, component, channel]``.

    Example:
        >>> block = Block(1, 2, 3)
        >>> cut(torch.arange(8.0)[None], [block])[block]
        tensor([[[1., 4.],
                 [2., 5.],
                 [3., 6.]]])
    """
    wanted = sorted(set(blocks))
    sizes, end = [], 0
    for block in wanted:
        sizes += [block.offset - end, block.mul * block.dim]
        end = block.end
    pieces = features.split([*sizes, features.shape[1] - end], dim=1)[1::2]  # one split: its derivative is one cat
    return {
        block: piece.unflatten(1, (block.mul, block.dim)).transpose(1, 2)
        for block, piece in zip(wanted, pieces, strict=True)
    }


def together(blocks: Mapping[Block, Tensor], wanted: Sequence[Block]) -> Tensor:
    """Stack blocks of one multiplicity by their components, ``[rows, component of all, channel]``.

    Example:
        >>> a, b = Block(0, 2, 1), Block(2, 2, 3)
        >>> together(cut(torch.zeros(5, 8), [a, b]), [a, b]).shape
        torch.Size([5, 4, 2])
    """
    return blocks[wanted[0]] if len(wanted) == 1 else torch.cat([blocks[block] for block in wanted], dim=1)


def join(blocks: Mapping[Block, Tensor], columns: int, like: Tensor) -> Tensor:
    """Lay blocks side by side, zero where there is none: undo ``cut``.

    Args:
        blocks: Block -> ``[rows, component, channel]``; they must not overlap.
        columns: Width of the result.
        like: Gives rows, dtype and device where there are no blocks.

    Returns:
        Shape ``[rows, columns]``.

    Example:
        >>> join({Block(1, 1, 2): torch.ones(1, 2, 1)}, 4, like=torch.zeros(1, 0))
        tensor([[0., 1., 1., 0.]])
    """
    pieces, end = [], 0
    for block in sorted(blocks):
        if block.offset > end:
            pieces.append(blocks[block].new_zeros(like.shape[0], block.offset - end))
        pieces.append(blocks[block].transpose(1, 2).flatten(1))  # [rows, channel * component]
        end = block.end
    if columns > end:
        pieces.append((pieces[-1] if pieces else like).new_zeros(like.shape[0], columns - end))
    return torch.cat(pieces, dim=1) if pieces else like.new_zeros(like.shape[0], 0)
