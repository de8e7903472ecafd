"""The product of pairs of channels, row by row: the compiled op behind products of two features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from irrepnet.ops._register import BatchRule, Derivative, Op, leading, register
from irrepnet.ops.blocks import Block

__all__ = ["PairPath", "PairPlan", "pair_product"]

_MEETINGS = {"same": 0, "all": 1, "ascending": 2}
_G = 3  # slot of the output's gradient; those of x, y and weights are 0, 1 and 2


class PairPath(NamedTuple):
    """One term of the product.

    Attributes:
        x: Block of the first factor.
        y: Block of the second.
        out: First column and components of the output, and the channels that weights mix the pairs to; 0 channels where
            these are the pairs themselves, row by row.
        weight_offset: First of its weights, one for each pair, or ``[pair, channel]``; None for a path without.
        constants: Where its coupling begins, ``[j, k, i]``.
        meeting: Which channels make a pair: the "same" ones, "all", or "ascending" ones, u < v.
    """

    x: Block
    y: Block
    out: Block
    weight_offset: int | None
    constants: int
    meeting: str


@dataclass(frozen=True)
class PairPlan:
    """What is multiplied with what.

    Args:
        dim_x: Columns of the first factor.
        dim_y: Columns of the second.
        weight_numel: Number of weights.
        dim_out: Columns of the output.
        paths: The terms; all have weights, or none has.

    Attributes:
        ints: The plan as the kernel reads it: four sizes, then twelve numbers for each path.

    Example:
        >>> block = Block(0, 2, 1)
        >>> PairPlan(2, 2, 0, 2, (PairPath(block, block, Block(0, 0, 1), None, 0, "same"),)).ints
        [2, 2, 0, 2, 0, 2, 1, 0, 2, 1, 0, 0, 1, -1, 0, 0]
    """

    dim_x: int
    dim_y: int
    weight_numel: int
    dim_out: int
    paths: tuple[PairPath, ...]
    ints: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = [self.dim_x, self.dim_y, self.weight_numel, self.dim_out]
        for path in self.paths:
            weights = -1 if path.weight_offset is None else path.weight_offset
            numbers += [*path.x, *path.y, *path.out, weights, path.constants, _MEETINGS[path.meeting]]
        object.__setattr__(self, "ints", numbers)  # the dataclass is frozen


def pair_product(x: Tensor, y: Tensor, weights: Tensor | None, tables: Tensor, plan: PairPlan) -> Tensor:
    """Multiply pairs of channels with the compiled kernel.

    Args:
        x: Shape ``[Z, dim_x]``.
        y: Shape ``[Z, dim_y]``.
        weights: Shape ``[S, weight_numel]``, each set for Z / S rows; None for a plan without.
        tables: Holds the couplings.
        plan: The product.

    Returns:
        Shape ``[Z, dim_out]``.
    """
    return _pair_product(x, y, weights, None, tables, plan.ints, _G, 1 if weights is None else weights.shape[0])


# T(x, y, weights, g), the sum of all terms times g, is linear in each of the four, and the op is its gradient to one of
# them. So a derivative is the op for another slot, with the direction where the first one's argument was.


def _derivative(k: int) -> Derivative:
    def vjp(grad: Tensor, *args: Any) -> Tensor:
        arguments, (tables, plan, slot, sets) = list(args[:4]), args[4:]
        arguments[slot], arguments[k] = grad, None
        if k == 2:
            sets = args[2].shape[0]
        return _pair_product(*arguments, tables, plan, k, sets)

    return Derivative(vjp)


def _fake(*args: Any) -> Tensor:
    plan, slot, sets = args[5:]
    tensor = next(tensor for k, tensor in enumerate(args[:4]) if tensor is not None and k != 2)
    return tensor.new_empty(sets if slot == 2 else tensor.shape[0], plan[slot])


def _batched(call: Op) -> BatchRule:
    """Return the vmap rule: a batch is more rows, and more sets of weights unless all its members share one."""

    def rule(batch: int, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        if in_dims[4] is not None:
            raise RuntimeError("tensor_product can be mapped over features and weights, not over tables")
        weights, (tables, plan, slot, sets) = args[2], args[4:]
        given = [leading(tensor, dim, batch) for tensor, dim in zip(args[:4], in_dims[:4], strict=True)]
        rows = next(tensor.shape[1] for k, tensor in enumerate(given) if tensor is not None and k != 2)
        flat = [None if tensor is None else tensor.flatten(0, 1) for tensor in given]
        if weights is not None and in_dims[2] is None and weights.shape[0] == 1:
            flat[2] = weights
        out = call(*flat, tables, plan, slot, batch * sets)
        return out.unflatten(0, (batch, sets if slot == 2 else rows)), 0

    return rule


_pair_product: Op = register(
    "pair_product", fake=_fake, derivatives={k: _derivative(k) for k in range(4)}, batch=_batched
)
