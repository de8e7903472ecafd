"""What a tensor product consists of: paths between blocks of columns, and the coupling tensors that they share.

A plan knows nothing of irreps. It is frozen, hashable and printable, and its numbers stay float64 until they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import ShapeError, did_you_mean
from irrepnet.ops.blocks import Block
from irrepnet.ops.product_modes import PRODUCT_MODES
from irrepnet.ops.product_stages import ProductStage, product_stages

__all__ = ["ChannelwiseGroup", "Coupling", "ProductPath", "ProductPlan"]

# Thin matrix products cost more than their arithmetic, so blocks share one until it has this many entries (measured:
# up to 2x for l <= 1 with 16 channels; beyond, the zeros between blocks of unlike l cost more than is saved).
_SMALL_MATRIX = 256


@dataclass(frozen=True)
class Coupling:
    """Constant tensor C[i, j, k] that couples two inputs to an output.

    Attributes:
        dims: Its shape.
        values: Its entries, row by row, as Python floats (float64).

    Example:
        >>> Coupling((1, 2, 2), (1.0, 0.0, 0.0, 1.0))
        Coupling(1 x 2 -> 2 | 2 of 4 entries)
        >>> Coupling((1, 1, 1), (0.5,)).dense().dtype
        torch.float64
    """

    dims: tuple[int, int, int]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != math.prod(self.dims):
            raise ShapeError(f"a coupling {self.dims} needs {math.prod(self.dims)} values; got {len(self.values)}.")

    def dense(self) -> Tensor:
        """Return the entries as a new float64 tensor of shape ``dims``."""
        return torch.tensor(self.values, dtype=torch.float64).reshape(self.dims)

    def __repr__(self) -> str:
        used = sum(value != 0 for value in self.values)
        return f"Coupling({self.dims[0]} x {self.dims[1]} -> {self.dims[2]} | {used} of {len(self.values)} entries)"


class ProductPath(NamedTuple):
    r"""One term of a product: block ``in1`` times block ``in2`` adds to block ``out``.

    With x of ``in1``, y of ``in2`` and C the coupling, :math:`(x_u y_v)_k = \sum_{ij} C_{ijk} x_{ui} y_{vj}`, and
    ``mode`` says what happens to the multiplicities u and v (w numbers those of the output):

    ========= ================================================= ==========================
    mode      output                                            ``weight_shape``
    ========= ================================================= ==========================
    ``uvw``   :math:`\sum_{uv} W_{uvw}\, x_u y_v`                (mul1, mul2, mul_out)
    ``uvu``   :math:`\sum_v W_{uv}\, x_u y_v`                    (mul1, mul2)
    ``uvv``   :math:`\sum_u W_{uv}\, x_u y_v`                    (mul1, mul2)
    ``uuw``   :math:`\sum_u W_{uw}\, x_u y_u`                    (mul1, mul_out)
    ``uuu``   :math:`W_u\, x_u y_u`                              (mul1,)
    ``uvuv``  :math:`W_{uv}\, x_u y_v`                           (mul1, mul2)
    ``uvu<v`` :math:`W_{uv}\, x_u y_v`, u < v                    (mul1 (mul1 - 1) / 2,)
    ``u<vw``  :math:`\sum_{u<v} W_{uvw}\, x_u y_v`               (mul1 (mul1 - 1) / 2, mul_out)
    ========= ================================================= ==========================

    Attributes:
        in1: Block of the first input.
        in2: Block of the second input.
        out: Block of the output; paths with the same one are summed.
        mode: See the table; without weights W is 1 (``uvw`` and ``u<vw`` need them).
        coupling: Index of C among the plan's couplings.
        weight_offset: Where the path's weights begin in the flat weights (row by row); None for a path without.
        scale: Constant factor.
        weight_shape: Shape of the weights; empty for a path without.
    """

    in1: Block
    in2: Block
    out: Block
    mode: str
    coupling: int
    weight_offset: int | None
    scale: float
    weight_shape: tuple[int, ...] = ()

    @property
    def needed_weight_shape(self) -> tuple[int, ...]:
        """Shape that the mode gives to weights; see the table.

        Raises:
            ShapeError: If there is no such mode.
        """
        if self.mode not in PRODUCT_MODES:
            hint = did_you_mean(str(self.mode), PRODUCT_MODES)
            raise ShapeError(f"a path needs a mode of {', '.join(PRODUCT_MODES)}; got {self.mode!r}.{hint}")
        return PRODUCT_MODES[self.mode].weight_shape(self.in1.mul, self.in2.mul, self.out.mul)

    @property
    def channelwise(self) -> bool:
        """Whether a single y does the same to every channel of ``in1``: then y and C can go first, the weights last."""
        return self.mode in ("uvu", "uvuv", "uvw") and self.in2.mul == 1


class ChannelwiseGroup(NamedTuple):
    """Channelwise paths that one matrix for each row serves: components of the inputs in, those of all paths out.

    Attributes:
        blocks: Blocks of the first input, all of one multiplicity.
        paths: Numbers of the paths.
        dims: Output components of each path.
        mixes: Whether the weights mix the channels (``uvw``) or scale each.
    """

    blocks: tuple[Block, ...]
    paths: tuple[int, ...]
    dims: tuple[int, ...]
    mixes: bool

    @property
    def rows(self) -> int:
        """Output components of all paths."""
        return sum(self.dims)

    @property
    def columns(self) -> int:
        """Components of all blocks."""
        return sum(block.dim for block in self.blocks)


@dataclass(frozen=True)
class ProductPlan:
    """A tensor product: sizes, paths and coupling tensors.

    Attributes:
        dim1: Columns of the first input.
        dim2: Columns of the second input.
        dim_out: Columns of the output; those that no path reaches are zero.
        weight_numel: Number of weights. Paths take them in order, without gaps.
        paths: The paths.
        couplings: The coupling tensors that the paths share.
        table_numel: Number of constants in ``tables``.
        panel_offset: Where in ``tables`` the panels begin, the coupling of each path.
        panel_starts: Where that of each path begins.
        panel_paths: The paths as the kernels of the convolution read them, nine integers each (see
            ``csrc/cpu/convolution_plan.h``); None where a path is not channelwise.
        stages: How the product is made of products of pairs and linear maps.
        mixes: Whether weights of a path mix pairs of channels (``uvw``, ``uuw``, ``u<vw``).

    Raises:
        ShapeError: If a block does not fit, a mode is unknown, multiplicities do not go with it or its weights have
            another shape, weights leave gaps, or two blocks overlap without being the same.

    Example:
        >>> one, vector = Block(0, 8, 1), Block(0, 1, 3)
        >>> identity = Coupling((1, 3, 3), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> ProductPlan(8, 3, 24, 8, (ProductPath(one, vector, Block(0, 8, 3), "uvu", 0, 0, 1.0, (8, 1)),), (identity,))
        ProductPlan(8 x 3 -> 24 | 8 weights | 1 paths)
    """

    dim1: int
    dim2: int
    dim_out: int
    weight_numel: int
    paths: tuple[ProductPath, ...]
    couplings: tuple[Coupling, ...]
    table_numel: int = field(init=False, compare=False)
    panel_offset: int = field(init=False, compare=False)
    panel_starts: tuple[int, ...] = field(init=False, compare=False)
    panel_paths: tuple[int, ...] | None = field(init=False, compare=False)
    stages: tuple[ProductStage, ...] = field(init=False, compare=False)
    mixes: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        weights = 0
        for number, path in enumerate(self.paths):
            self._check(number, path)
            if path.weight_offset not in (None, weights):
                raise ShapeError(f"path {number} needs its weights at {weights}, next to the last; got {path}.")
            weights += math.prod(path.weight_shape) if path.weight_offset is not None else 0
        if weights != self.weight_numel:
            raise ShapeError(f"the paths hold {weights} weights; got weight_numel = {self.weight_numel}.")
        for side in ("in1", "in2", "out"):
            for before, after in pairwise(sorted({getattr(path, side) for path in self.paths})):
                if after.offset < before.end:
                    raise ShapeError(f"blocks must be the same or apart; got {before} and {after}.")
        offset = self.dim2 * sum(group.rows * group.columns for group in self.channelwise_groups())
        starts, end = [0] * len(self.paths), offset
        for number in self._panels():
            starts[number] = end
            end += math.prod(self.couplings[self.paths[number].coupling].dims)
        walked = [self.paths[number] for number in self._panels() if _has_channels(self.paths[number])]
        derived = {
            "panel_offset": offset,
            "table_numel": end,
            "panel_starts": tuple(starts),
            "panel_paths": tuple(number for path in walked for number in _path_numbers(path))
            if all(path.channelwise for path in walked)
            else None,
            "stages": product_stages(self.paths, (self.dim1, self.dim2, self.dim_out), self.weight_numel, starts),
            "mixes": any(PRODUCT_MODES[path.mode].mixes_pairs for path in walked),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    def _check(self, number: int, path: ProductPath) -> None:
        weight_shape = path.needed_weight_shape  # names an unknown mode, with weights and without
        mode, muls = PRODUCT_MODES[path.mode], (path.in1.mul, path.in2.mul, path.out.mul)
        if not mode.fits(*muls):
            raise ShapeError(f"path {number} of mode {path.mode!r} needs {mode.rule}; got {muls}.")
        if path.weight_offset is None and mode.needs_weights(path.out.mul):
            raise ShapeError(f"path {number} needs weights for its mode {path.mode!r}; got none.")
        dims = (path.in1.dim, path.in2.dim, path.out.dim)
        if self.couplings[path.coupling].dims != dims:
            raise ShapeError(f"path {number} couples {dims}; its coupling is {self.couplings[path.coupling].dims}.")
        columns = {"in1": self.dim1, "in2": self.dim2, "out": self.dim_out}
        for name, dim in columns.items():
            block = getattr(path, name)
            if block.offset < 0 or block.end > dim:
                raise ShapeError(f"path {number} needs {name} within {dim} columns; got {block}.")
        if path.weight_offset is not None and path.weight_shape != weight_shape:
            raise ShapeError(
                f"path {number} of mode {path.mode!r} needs weight_shape {weight_shape}; got {path.weight_shape}."
            )

    def channelwise_groups(self) -> list[ChannelwiseGroup]:
        """Return the channelwise paths, in groups that one matrix per row serves.

        A group reads one block of the first input; or all blocks of one multiplicity, if their matrix is small.
        """
        kinds: dict[tuple[int, bool], dict[Block, list[int]]] = {}
        for number, path in enumerate(self.paths):
            if path.channelwise:
                by_block = kinds.setdefault((path.in1.mul, path.mode == "uvw"), {})
                by_block.setdefault(path.in1, []).append(number)
        groups = []
        for (_, mixes), by_block in kinds.items():
            apart = [self._group([block], numbers, mixes) for block, numbers in by_block.items()]
            merged = self._group(list(by_block), sorted(n for group in apart for n in group.paths), mixes)
            groups += [merged] if merged.rows * merged.columns <= _SMALL_MATRIX else apart
        return groups

    def _group(self, blocks: list[Block], numbers: list[int], mixes: bool) -> ChannelwiseGroup:
        dims = tuple(self.paths[number].out.dim for number in numbers)
        return ChannelwiseGroup(tuple(blocks), tuple(numbers), dims, mixes)

    def tables(self, dtype: torch.dtype, device: torch.device | str | None = None) -> Tensor:
        """Return all constants of the product as one flat tensor, from float64 and rounded once.

        First comes the matrix ``[dim2, ...]`` that turns a second input into the matrices ``[rows, columns]`` of the
        channelwise groups, one group after another; then, from ``panel_offset`` on, the coupling of each path as
        ``[j, k, i]``. Scales are multiplied in.
        """
        none = torch.zeros(self.dim2, 0, dtype=torch.float64)
        parts = [torch.cat([none, *(self._matrices(group) for group in self.channelwise_groups())], dim=1)]
        for path in (self.paths[number] for number in self._panels()):
            parts.append(path.scale * self.couplings[path.coupling].dense().permute(1, 2, 0))
        return torch.cat([part.flatten() for part in parts]).to(dtype=dtype, device=device)

    def _panels(self) -> list[int]:
        """Return the paths in the order of their panels: those without channels last, for kernels do not walk them."""
        return sorted(range(len(self.paths)), key=lambda number: not _has_channels(self.paths[number]))

    def _matrices(self, group: ChannelwiseGroup) -> Tensor:
        """Return the couplings of a group as ``[dim2, rows * columns]``: zero where a path has no part."""
        out = torch.zeros(self.dim2, group.rows, group.columns, dtype=torch.float64)
        row = 0
        for number in group.paths:
            path = self.paths[number]
            column = sum(block.dim for block in group.blocks[: group.blocks.index(path.in1)])
            C = path.scale * self.couplings[path.coupling].dense()  # [i, j, k]
            part = out[path.in2.offset : path.in2.end, row : row + path.out.dim, column : column + path.in1.dim]
            part.copy_(C.permute(1, 2, 0))
            row += path.out.dim
        return out.flatten(1)

    def __repr__(self) -> str:
        sizes = f"{self.dim1} x {self.dim2} -> {self.dim_out}"
        return f"ProductPlan({sizes} | {self.weight_numel} weights | {len(self.paths)} paths)"


def _has_channels(path: ProductPath) -> bool:
    return 0 not in (path.in1.mul, path.in2.mul, path.out.mul)


def _path_numbers(path: ProductPath) -> tuple[int, ...]:
    """Return a channelwise path as the fused kernels read it."""
    weights = -1 if path.weight_offset is None else path.weight_offset
    mixed_to = path.out.mul if path.mode == "uvw" else 0
    blocks = (path.in1.offset, path.in1.mul, path.in1.dim, path.in2.offset, path.in2.dim, path.out.offset, path.out.dim)
    return (*blocks, weights, mixed_to)
