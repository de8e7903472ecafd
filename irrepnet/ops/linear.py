"""Linear maps of channels: matrices that all components of a block share, the same for all rows or one per species."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._autocast import autocasting, without_autocast
from irrepnet.ops._backend import choose
from irrepnet.ops._register import BatchRule, Derivative, Op, leading, register
from irrepnet.ops.blocks import Block
from irrepnet.ops.reference import linear as reference

__all__ = ["LinearPath", "LinearPlan", "fused_linear", "linear"]


class LinearPath(NamedTuple):
    """One matrix: channels of a block of the input to those of a block of the output.

    Attributes:
        source: Block of the input.
        target: Block of the output, of as many components.
        weight_offset: First of its ``source.mul * target.mul`` weights, ``[channel in, channel out]``.
        scale: Factor of the product.

    Example:
        >>> LinearPath(Block(0, 4, 3), Block(0, 2, 3), 0, 0.5).target.end
        6
    """

    source: Block
    target: Block
    weight_offset: int
    scale: float


@dataclass(frozen=True)
class LinearPlan:
    """What a linear map does with the columns of its input.

    Args:
        dim_in: Columns of the input.
        dim_out: Columns of the output; those that no path reaches are zero.
        weight_numel: Number of weights.
        paths: The matrices. Source blocks are equal or apart, and target blocks.

    Attributes:
        ints: The plan as kernels read it: the three sizes, then six numbers for each path.
        scales: The factor of each path.
        is_matrix: Whether the whole map is one matrix of scalars.

    Raises:
        ShapeError: If a path does not fit the columns or the weights, or blocks differ in components or overlap.

    Example:
        >>> plan = LinearPlan(6, 3, 2, (LinearPath(Block(0, 2, 3), Block(0, 1, 3), 0, 1.0),))
        >>> plan.ints
        [6, 3, 2, 0, 0, 2, 1, 3, 0]
    """

    dim_in: int
    dim_out: int
    weight_numel: int
    paths: tuple[LinearPath, ...]
    ints: list[int] = field(init=False, repr=False, compare=False)
    scales: list[float] = field(init=False, repr=False, compare=False)
    is_matrix: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for number, (a, b, offset, _) in enumerate(self.paths):
            inside = min(a.offset, b.offset) >= 0 and a.end <= self.dim_in and b.end <= self.dim_out
            weights = offset >= 0 and offset + a.mul * b.mul <= self.weight_numel
            if not (inside and weights and a.dim == b.dim and min(a.mul, b.mul, a.dim) > 0):
                raise ShapeError(
                    f"linear path {number} needs blocks of equal dim within [{self.dim_in}] and [{self.dim_out}] and "
                    f"weights within [{self.weight_numel}]; got {a}, {b}, weight_offset {offset}."
                )
        for blocks in ({path.source for path in self.paths}, {path.target for path in self.paths}):
            for left, right in pairwise(sorted(blocks)):
                if left.end > right.offset:
                    raise ShapeError(f"linear needs blocks that are equal or apart; got {left} and {right}.")
        flat = [self.dim_in, self.dim_out, self.weight_numel]
        for a, b, offset, _ in self.paths:
            flat += [a.offset, b.offset, a.mul, b.mul, a.dim, offset]
        object.__setattr__(self, "ints", flat)
        object.__setattr__(self, "scales", [float(path.scale) for path in self.paths])
        whole = [self.dim_in, self.dim_out, self.weight_numel, 0, 0, self.dim_in, self.dim_out, 1, 0]
        object.__setattr__(self, "is_matrix", flat == whole)


def linear(
    x: Tensor, weights: Tensor, plan: LinearPlan, species: Tensor | None = None, *, backend: str = "auto"
) -> Tensor:
    r"""Mix the channels of blocks of columns.

    .. math:: \mathrm{out}_{zwk} = \sum_{\mathrm{paths}} \mathrm{scale} \sum_u W^{(s_z)}_{uw} \, x_{zuk}

    Args:
        x: Features, shape ``[Z, dim_in]``, in blocks ``[channel, component]``.
        weights: Shape ``[weight_numel]``; ``[S, weight_numel]`` with species; or ``[Z, weight_numel]`` without, a set
            for each row.
        plan: The matrices and what they connect.
        species: Which of the S sets of weights each row takes, int64, shape ``[Z]``.
        backend: 'auto', 'reference' or 'fused'. 'auto' leaves one matrix of scalars, the same for all rows, to PyTorch.

    Returns:
        Shape ``[Z, dim_out]``. Under autocast, half precision gives float32.

    Raises:
        ShapeError: If shapes do not fit the plan or each other.
        DtypeError: If x and weights do not share one floating-point dtype and device, or species is not int64.
        BackendError: If the backend is unknown, or was named and cannot serve.

    Example:
        >>> plan = LinearPlan(6, 3, 2, (LinearPath(Block(0, 2, 3), Block(0, 1, 3), 0, 1.0),))
        >>> linear(torch.arange(6.0)[None], torch.tensor([1.0, 10.0]), plan)
        tensor([[30., 41., 52.]])
    """
    _check(x, weights, plan, species)
    if autocasting(x.device):
        half = (torch.float16, torch.bfloat16)
        x, weights = (t.float() if t.dtype in half else t for t in (x, weights))
    if x.dtype != weights.dtype or x.device != weights.device:
        raise DtypeError(
            f"linear needs x and weights of one dtype on one device; got x {str(x.dtype)[6:]} on {x.device}, weights "
            f"{str(weights.dtype)[6:]} on {weights.device}. Move them with .to(...)."
        )
    alone = backend == "auto" and plan.is_matrix and weights.ndim == 1
    if not alone and choose(backend, "linear", x, weights) == "fused":
        sets = weights if weights.ndim == 2 else weights.unsqueeze(0)
        return _linear(x, sets, species, plan.ints, plan.scales, False)
    with without_autocast(x.device):
        return reference.linear(x, weights, plan, species)


def fused_linear(x: Tensor, weights: Tensor, plan: LinearPlan, *, transposed: bool = False) -> Tensor:
    """Mix channels with the compiled kernel, or with every matrix transposed from the output's blocks to the input's.

    Args:
        x: Shape ``[Z, dim_in]``; transposed ``[Z, dim_out]``.
        weights: Shape ``[1, weight_numel]``, or ``[Z, weight_numel]`` for a set for each row.
        plan: The matrices.
        transposed: Whether to go the other way.

    Returns:
        Shape ``[Z, dim_out]``; transposed ``[Z, dim_in]``.
    """
    return _linear(x, weights, None, plan.ints, plan.scales, transposed)


def _check(x: Tensor, weights: Tensor, plan: LinearPlan, species: Tensor | None) -> None:
    for name, operand in (("x", x), ("weights", weights)):
        if not isinstance(operand, Tensor) or not operand.is_floating_point():
            found = operand.dtype if isinstance(operand, Tensor) else type(operand).__name__
            raise DtypeError(f"linear needs {name} as a floating-point tensor; got {found}.")
    if x.ndim != 2 or x.shape[1] != plan.dim_in:
        raise ShapeError(f"linear needs x [Z, {plan.dim_in}]; got {list(x.shape)}.")
    fits = weights.ndim == 2 if species is not None else weights.ndim == 1 or weights.shape[:-1] == x.shape[:1]
    if not fits or weights.shape[-1] != plan.weight_numel:
        sets = f"[S, {plan.weight_numel}]" if species is not None else f"[(Z = {x.shape[0]},) {plan.weight_numel}]"
        raise ShapeError(f"linear needs weights {sets}; got {list(weights.shape)}.")
    if species is not None and species.dtype != torch.int64:
        raise DtypeError(f"linear needs species as int64 numbers; got {species.dtype}. Write species.long().")
    if species is not None and species.shape != x.shape[:1]:
        raise ShapeError(f"linear needs species [Z = {x.shape[0]}]; got {list(species.shape)}.")


# The map L(x, W) is linear in both. With transposed matrices it is the gradient to x, and R(x, g), the sum over rows of
# x times g, is that to W. Their derivatives are these products again, so every order follows.


def _batched(call: Op) -> BatchRule:
    """Return the vmap rule: more rows, or, where each member of the batch has weights of its own, more species."""

    def rule(batch: int, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        *tensors, plan, scales, last = args
        x, other, species = (leading(t, dim, batch) for t, dim in zip(tensors, in_dims[:3], strict=True))
        summed = call is _gradient_to_weights
        if not summed and in_dims[1] is None:
            if species is None and tensors[1].shape[0] != 1:
                species = torch.arange(x.shape[1], device=x.device).expand(batch, -1)
            species = None if species is None else species.flatten()
            out = call(x.flatten(0, 1), tensors[1], species, plan, scales, last)
        else:
            sets = last if summed else other.shape[1]
            if species is None:
                species = torch.arange(x.shape[1], device=x.device) % sets  # all 0, or a set for each row
            species = (species + sets * torch.arange(batch, device=x.device).unsqueeze(1)).flatten()
            last = batch * sets if summed else last
            out = call(x.flatten(0, 1), other.flatten(0, 1), species, plan, scales, last)
        return out.unflatten(0, (batch, args[-1] if summed else x.shape[1])), 0

    return rule


_linear: Op = register(
    "linear",
    fake=lambda x, weights, species, plan, scales, transposed: x.new_empty((x.shape[0], plan[0 if transposed else 1])),
    derivatives={
        0: Derivative(vjp=lambda g, x, weights, *rest: _linear(g, weights, *rest[:3], not rest[3])),
        1: Derivative(
            vjp=lambda g, x, weights, *rest: _gradient_to_weights(
                *((g, x) if rest[3] else (x, g)), *rest[:3], weights.shape[0]
            )
        ),
    },
    batch=_batched,
)

_gradient_to_weights: Op = register(
    "linear_weights",
    fake=lambda x, g, species, plan, scales, num_species: x.new_empty((num_species, plan[2])),
    derivatives={
        0: Derivative(vjp=lambda v, x, g, *rest: _linear(g, v, *rest[:3], True)),
        1: Derivative(vjp=lambda v, x, g, *rest: _linear(x, v, *rest[:3], False)),
    },
    batch=_batched,
)
