"""Linear maps that keep rotations: channels of one irrep mix, irreps do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError, ShapeError, did_you_mean
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.tensor_product import output_mask
from irrepnet.o3.weights import WeightedMap, only_default
from irrepnet.ops.blocks import Block, cut, join

__all__ = ["Linear", "LinearInstruction", "WeightSlice"]


class LinearInstruction(NamedTuple):
    """One path of a ``Linear``: entry ``i_in`` of the input (-1: a bias) to entry ``i_out`` of the output."""

    i_in: int
    i_out: int
    path_shape: tuple[int, ...]
    path_weight: float


class WeightSlice(NamedTuple):
    """Where the weights of a path lie in the flat ones, and the shape ``(mul_in, mul_out)`` of their matrix."""

    slice_1D: slice
    shape_2D: tuple[int, ...]


class Linear(WeightedMap):
    r"""Equivariant linear map: :math:`z_w = \frac{1}{\sqrt{n}} \sum_u W_{uw}\, x_u` for channels of the same irrep.

    Weights are N(0, 1) at first; n, the number of terms summed into an output, keeps variances.

    Args:
        irreps_in: Irreps of the input.
        irreps_out: Irreps of the output. What no path reaches is zero, and marked in ``output_mask`` and ``repr``.
        f_in: Size of an extra, non-geometric axis before the last one of the input; needs ``f_out``.
        f_out: The same of the output.
        internal_weights: Whether the module owns its weights; True where they are shared.
        shared_weights: Whether all rows have the same weights; True by default.
        instructions: Pairs ``(i_in, i_out)`` of entries of the same irrep; all by default.
        biases: Whether to add a bias to every ``0e``, or one bool for each entry of the output.
        path_normalization: "element" (n counts all terms) or "path" (each pair counts the same).
        _optimize_einsums: Means nothing here; leave it at None.

    Attributes:
        bias: Parameter, shape ``[bias_numel]`` (``[f_out, bias_numel]``), zero at first; None without biases.
        weight_index_slices: Where each path's matrix lies in the flat weights.

    Raises:
        IrrepsError: If a path joins unlike irreps, a bias is not on ``0e``, or an argument does not fit the irreps.
        IndexError: If an instruction points past the end of its irreps.
        ConfigError: If an argument that means nothing here is not at its default.

    Example:
        >>> linear = Linear("4x0e + 16x1o", "8x0e + 8x1o + 2e", biases=True)
        >>> linear
        Linear(4x0e+16x1o -> 8x0e+8x1o+1x2e | 160 weights | 8 biases | no path to 1x2e)
        >>> linear(torch.randn(5, 52)).shape
        torch.Size([5, 37])
    """

    bias: Tensor | None
    output_mask: Tensor

    def __init__(  # noqa: PLR0913 - e3nn's signature
        self,
        irreps_in: Any,
        irreps_out: Any,
        *,
        f_in: int | None = None,
        f_out: int | None = None,
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        instructions: Sequence[tuple[int, int]] | None = None,
        biases: bool | Sequence[bool] = False,
        path_normalization: str = "element",
        _optimize_einsums: bool | None = None,
    ) -> None:
        only_default(_optimize_einsums=(_optimize_einsums, None))
        irreps_in, irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        if (f_in is None) != (f_out is None):
            raise IrrepsError(f"Linear needs f_in and f_out, or neither; got f_in = {f_in}, f_out = {f_out}.")
        paths = _paths(irreps_in, irreps_out, instructions, f_in or 1, path_normalization)
        with_bias = _with_bias(irreps_out, biases)
        bias_paths = [LinearInstruction(-1, i, (irreps_out[i].mul,), 1.0) for i in with_bias]
        super().__init__(
            paths + bias_paths,
            [True] * len(paths) + [False] * len(bias_paths),
            internal_weights=(shared_weights is not False) if internal_weights is None else internal_weights,
            shared_weights=shared_weights,
            weight_prefix=() if f_in is None or f_out is None else (f_in, f_out),
        )
        self.instructions: list[LinearInstruction]
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self.f_in, self.f_out = f_in, f_out
        self.bias_numel = sum(irreps_out[i].mul for i in with_bias)
        own_bias = self.internal_weights and self.bias_numel > 0
        shape = (*self._weight_prefix[1:], self.bias_numel)
        self.register_parameter("bias", torch.nn.Parameter(torch.zeros(shape)) if own_bias else None)
        self.weight_index_slices = [
            WeightSlice(where, self.instructions[i].path_shape) for i, where in self._weight_slices.items()
        ]
        mask = output_mask(irreps_out, self.instructions, like=torch.empty(0))
        self.register_buffer("output_mask", mask, persistent=False)

    def forward(self, features: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Mix channels.

        Args:
            features: Shape ``[..., irreps_in.dim]``, or ``[..., f_in, irreps_in.dim]``.
            weight: Where the module has none of its own: ``[weight_numel]`` if they are shared, else
                ``[..., weight_numel]``; with f axes ``[..., f_in, f_out, weight_numel]``.
            bias: Likewise, ``[bias_numel]``, ``[..., bias_numel]`` or ``[..., f_out, bias_numel]``; leading axes
                broadcast.

        Returns:
            Shape ``[..., irreps_out.dim]``, or ``[..., f_out, irreps_out.dim]``.

        Raises:
            ShapeError: If a shape does not fit.
            DtypeError: If features, weights and bias are not of one dtype and device.
            RuntimeError: If weights or biases are needed and none are given.
        """
        if not isinstance(features, Tensor) or not features.is_floating_point():
            found = features.dtype if isinstance(features, Tensor) else type(features).__name__
            raise DtypeError(f"{self._name()} needs features as a floating-point tensor; got {found}.")
        f_in, f_out = self.f_in or 1, self.f_out or 1
        needed = (self.irreps_in.dim,) if self.f_in is None else (self.f_in, self.irreps_in.dim)
        if tuple(features.shape[-len(needed) :]) != needed:
            raise ShapeError(
                f"{self._name()} needs features [..., {', '.join(map(str, needed))}] for irreps_in = {self.irreps_in}; "
                f"got features {list(features.shape)}."
            )
        batch = features.shape[: features.ndim - len(needed)]
        weights = self._weights(weight) if self.weight_numel > 0 else features.new_zeros(*self._weight_prefix, 0)
        _same_kind(self._name(), features, "weights", weights)
        if not self.shared_weights:
            batch = torch.broadcast_shapes(batch, weights.shape[: -1 - len(self._weight_prefix)])
            features = features.expand(*batch, *needed)
            weights = weights.expand(*batch, *weights.shape[-1 - len(self._weight_prefix) :]).flatten(0, len(batch) - 1)
        rows = math.prod(batch)
        features = features.reshape(rows * f_in, self.irreps_in.dim)
        blocks_in, blocks_out = _blocks(self.irreps_in), _blocks(self.irreps_out)
        used = [(i, ins) for i, ins in enumerate(self.instructions) if ins.i_in >= 0 and 0 not in ins.path_shape]
        blocks = {
            block: _merge(x, f_in) for block, x in cut(features, (blocks_in[ins.i_in] for _, ins in used)).items()
        }  # each [rows, component, f_in * channel]
        sums: dict[Block, Tensor] = {}
        for i, ins in used:
            W = weights[..., self._weight_slices[i]].unflatten(-1, ins.path_shape) * ins.path_weight
            W = W.reshape(*W.shape[: W.ndim - 2 - len(self._weight_prefix)], f_in, f_out, *ins.path_shape)
            W = W.transpose(-3, -2).flatten(-4, -3).flatten(-2, -1)  # [(rows,) f_in * mul_in, f_out * mul_out]
            z, out = blocks[blocks_in[ins.i_in]] @ W, blocks_out[ins.i_out]
            sums[out] = sums[out] + z if out in sums else z
        if self.bias_numel > 0:
            # In autocast the products have its dtype; adding a bias does not change that.
            dtype = next(iter(sums.values())).dtype if sums else features.dtype
            self._add_biases(sums, blocks_out, self._bias(bias, features, batch).to(dtype), rows)
        split = {block: _split(z, f_out) for block, z in sums.items()}
        like = features.new_empty(rows * f_out, 0)
        shape = batch if self.f_out is None else (*batch, self.f_out)
        return join(split, self.irreps_out.dim, like).reshape(*shape, self.irreps_out.dim)

    def _bias(self, bias: Tensor | None, features: Tensor, batch: tuple[int, ...]) -> Tensor:
        """Return the biases to use, those given or the module's own, checked: ``[rows or 1, f_out, bias_numel]``."""
        bias = self.bias if bias is None else bias
        if bias is None:
            raise RuntimeError(
                f"{self._name()} was made with internal_weights=False and needs {self.bias_numel} biases in the call; "
                "got none. Pass bias=..."
            )
        needed = (*self._weight_prefix[1:], self.bias_numel)
        if tuple(bias.shape[-len(needed) :]) != needed:
            raise ShapeError(f"{self._name()} needs bias [..., {', '.join(map(str, needed))}]; got {list(bias.shape)}.")
        _same_kind(self._name(), features, "bias", bias)
        leading = bias.shape[: bias.ndim - len(needed)]
        if not leading:
            return bias.reshape(1, -1, self.bias_numel)
        pairs = zip(reversed(leading), reversed(batch), strict=False)
        if len(leading) > len(batch) or not all(size in (1, rows) for size, rows in pairs):
            raise ShapeError(
                f"{self._name()} needs a bias whose leading axes broadcast to {list(batch)}; got {list(bias.shape)}."
            )
        return bias.expand(*batch, *needed).reshape(math.prod(batch), -1, self.bias_numel)

    def _add_biases(self, sums: dict[Block, Tensor], blocks_out: list[Block], bias: Tensor, rows: int) -> None:
        """Add the biases ``[rows or 1, f_out, bias_numel]`` to the scalars, in place of ``sums``."""
        start = 0
        for ins in self.instructions:
            if ins.i_in >= 0 or 0 in ins.path_shape:
                continue
            out, end = blocks_out[ins.i_out], start + ins.path_shape[0]
            b = bias[..., start:end].flatten(1).unsqueeze(1)  # [rows or 1, component = 1, f_out * mul_out]
            sums[out] = sums[out] + b if out in sums else b.expand(rows, 1, b.shape[-1])
            start = end

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:
        """Move parameters, and make the mask anew: ``to_empty`` would leave it without values."""
        super()._apply(fn, recurse)
        self.output_mask = output_mask(self.irreps_out, self.instructions, like=self.output_mask)
        return self

    def __repr__(self) -> str:
        entries = zip(self.irreps_out, self.irreps_out.slices(), strict=True)
        zeros = [str(entry) for entry, s in entries if s.stop > s.start and not self.output_mask[s].any()]
        biases = f" | {self.bias_numel} biases" if self.bias_numel else ""
        missing = f" | no path to {'+'.join(zeros)}" if zeros else ""
        numel = math.prod(self._weight_prefix) * self.weight_numel
        return f"{self._name()}({self.irreps_in} -> {self.irreps_out} | {numel} weights{biases}{missing})"


def _paths(
    irreps_in: Irreps, irreps_out: Irreps, pairs: Sequence[tuple[int, int]] | None, f_in: int, normalization: str
) -> list[LinearInstruction]:
    """Return the paths with their factors."""
    if normalization not in ("element", "path"):
        hint = did_you_mean(str(normalization), ("element", "path"))
        raise IrrepsError(f"path_normalization must be 'element' or 'path'; got {normalization!r}.{hint}")
    if pairs is None:
        pairs = [(i, j) for i, (_, a) in enumerate(irreps_in) for j, (_, b) in enumerate(irreps_out) if a == b]
    for number, (i, j) in enumerate(pairs):
        if not (0 <= i < len(irreps_in) and 0 <= j < len(irreps_out)):
            raise IndexError(
                f"instruction {number} is ({i}, {j}); irreps_in '{irreps_in}' has {len(irreps_in)} entries and "
                f"irreps_out '{irreps_out}' has {len(irreps_out)}."
            )
        if irreps_in[i].ir != irreps_out[j].ir:
            raise IrrepsError(
                f"instruction {number} joins {irreps_in[i].ir} to {irreps_out[j].ir}; a linear map needs one irrep "
                f"on both sides. Did you mean {irreps_in[i].ir}?"
            )
    out = []
    for i, j in pairs:
        muls = [irreps_in[a].mul for a, b in pairs if b == j]
        n = f_in * (sum(muls) if normalization == "element" else irreps_in[i].mul * len(muls))
        out.append(LinearInstruction(i, j, (irreps_in[i].mul, irreps_out[j].mul), 1 / math.sqrt(n) if n > 0 else 1.0))
    return out


def _with_bias(irreps_out: Irreps, biases: bool | Sequence[bool]) -> list[int]:
    """Return the entries of the output that have a bias."""
    if isinstance(biases, bool):
        return [i for i, (_, ir) in enumerate(irreps_out) if biases and ir.is_scalar()]
    if len(biases) != len(irreps_out):
        raise IrrepsError(f"biases needs one bool for each entry of '{irreps_out}'; got {len(biases)}.")
    for (_, ir), wanted in zip(irreps_out, biases, strict=True):
        if wanted and not ir.is_scalar():
            raise IrrepsError(f"a bias is possible on 0e only; got one on {ir} of '{irreps_out}'. Set it to False.")
    return [i for i, wanted in enumerate(biases) if wanted]


def _blocks(irreps: Irreps) -> list[Block]:
    return [Block(s.start, mul, ir.dim) for s, (mul, ir) in zip(irreps.slices(), irreps, strict=True)]


def _merge(x: Tensor, f: int) -> Tensor:
    """Make the f axis part of the channels: ``[rows * f, k, channel]`` -> ``[rows, k, f * channel]``."""
    return x if f == 1 else x.unflatten(0, (-1, f)).transpose(1, 2).flatten(2)


def _split(z: Tensor, f: int) -> Tensor:
    """Undo ``_merge``."""
    return z if f == 1 else z.unflatten(2, (f, -1)).transpose(1, 2).flatten(0, 1)


def _same_kind(name: str, features: Tensor, other: str, operand: Tensor) -> None:
    """Raise unless features and the other operand can be used together."""
    device = features.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):  # the meta device has none
        return
    if (features.dtype, features.device) != (operand.dtype, operand.device):
        raise DtypeError(
            f"{name} needs features and {other} of one dtype on one device; got features {str(features.dtype)[6:]} on "
            f"{features.device}, {other} {str(operand.dtype)[6:]} on {operand.device}. Move them with .to(...)."
        )
