"""Linear maps that keep rotations: channels of one irrep mix, irreps do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.o3.instruction import known_option
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.tensor_product import output_mask
from irrepnet.o3.weights import WeightedMap, broadcast_axes, only_default
from irrepnet.ops._autocast import autocasting
from irrepnet.ops.blocks import Block
from irrepnet.ops.linear import LinearPath, LinearPlan, linear
from irrepnet.ops.reference import linear as reference

__all__ = ["Linear", "LinearInstruction", "WeightSlice", "mix_channels"]


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
        biases: Whether to add a bias to every ``0e``, or one bool for each entry of the output; None is False.
        path_normalization: "element" (n counts all terms) or "path" (each pair counts the same).
        backend: "auto", "reference" or "fused"; see ``ops.linear``.
        _optimize_einsums: Means nothing here; leave it at None.

    Attributes:
        bias: Parameter, shape ``[bias_numel]`` (``[f_out, bias_numel]``), zero at first; None without biases.
        weight_index_slices: Where each path's matrix lies in the flat weights.
        plan: The map without biases, as ``irrepnet.ops.linear`` takes it; f axes count as channels in it.

    Raises:
        IrrepsError: If a path joins unlike irreps, a bias is not on ``0e``, or an argument does not fit the irreps.
        IndexError: If an instruction points past the end of its irreps.
        ConfigError: If an option is unknown, two arguments contradict each other, or one that means nothing here is not
            at its default.

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
        biases: bool | Sequence[bool] | None = False,
        path_normalization: str = "element",
        backend: str = "auto",
        _optimize_einsums: bool | None = None,
    ) -> None:
        only_default(_optimize_einsums=(_optimize_einsums, None))
        irreps_in, irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        if (f_in is None) != (f_out is None):
            raise ConfigError(f"Linear needs f_in and f_out, or neither; got f_in = {f_in}, f_out = {f_out}.")
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
        self.f_in, self.f_out, self.backend = f_in, f_out, backend
        self.bias_numel = sum(irreps_out[i].mul for i in with_bias)
        own_bias = self.internal_weights and self.bias_numel > 0
        shape = (*self._weight_prefix[1:], self.bias_numel)
        self.register_parameter("bias", torch.nn.Parameter(torch.zeros(shape)) if own_bias else None)
        self.weight_index_slices = [
            WeightSlice(where, self.instructions[i].path_shape) for i, where in self._weight_slices.items()
        ]
        slices = [(self.instructions[i], where) for i, where in self._weight_slices.items()]
        self.plan = _plan(irreps_in, irreps_out, slices, self._weight_prefix or (1, 1))
        self._needed = (irreps_in.dim,) if f_in is None else (f_in, irreps_in.dim)
        self._shape_out = (irreps_out.dim,) if f_out is None else (f_out, irreps_out.dim)
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
            ShapeError: If a shape does not fit, or weights or a bias are given where there are none.
            DtypeError: If features, weights and bias are not of one dtype and device.
            RuntimeError: If weights or biases are needed and none are given.
        """
        if not isinstance(features, Tensor) or not features.is_floating_point():
            found = features.dtype if isinstance(features, Tensor) else type(features).__name__
            raise DtypeError(f"{self._name()} needs features as a floating-point tensor; got {found}.")
        needed = self._needed
        if features.shape[-len(needed) :] != needed:
            raise ShapeError(
                f"{self._name()} needs features [..., {', '.join(map(str, needed))}] for irreps_in = {self.irreps_in}; "
                f"got features {list(features.shape)}."
            )
        batch = features.shape[: features.ndim - len(needed)]
        weights = self._used_weights(weight)
        if weights is None:
            weights = features.new_zeros(*self._weight_prefix, 0)
        _same_kind(self._name(), features, "weights", weights)
        if not self.shared_weights:
            prefix = self._weight_prefix
            own = weights.shape[: weights.ndim - 1 - len(prefix)]
            batch = broadcast_axes(self._name(), {"features": batch, "weight": own})
            features = features.expand(*batch, *needed)
            weights = weights.expand(*batch, *weights.shape[len(own) :])
            weights = weights.reshape(math.prod(batch), *prefix, self.weight_numel)
        if features.ndim != len(needed) + 1:
            features = features.reshape(math.prod(batch), *needed)
        out = self._mixed(features, weights)
        if self.bias_numel > 0:
            out = out + self._bias_columns(self._bias(bias, features, batch).to(out.dtype))
        elif bias is not None and bias.numel() > 0:
            raise ShapeError(f"{self._name()} has no biases and needs none; got bias {list(bias.shape)}. Leave it out.")
        return out if len(batch) == 1 and self.f_out is None else out.reshape(*batch, *self._shape_out)

    def _mixed(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return the map without biases, of features in rows: ``[Z, dim_out]`` or ``[Z, f_out * dim_out]``."""
        if self.f_in is None or self.f_out is None:
            return mix_channels(features, weights, self.plan, backend=self.backend)
        slices = self.weight_index_slices
        pieces = weights.split([math.prod(shape) for _, shape in slices], dim=-1) if slices else ()
        matrices = [  # [..., f_in, f_out, u w] -> [..., f_in u f_out w]
            piece.unflatten(-1, shape).transpose(-3, -2).flatten(-4)
            for piece, (_, shape) in zip(pieces, slices, strict=True)
        ]
        flat = torch.cat(matrices, dim=-1) if matrices else weights.flatten(-3)
        out = mix_channels(_to_channels(features, self.irreps_in), flat, self.plan, backend=self.backend)
        return _from_channels(out, self.f_out, self.irreps_out)

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

    def _bias_columns(self, bias: Tensor) -> Tensor:
        """Put the biases ``[rows or 1, f_out, bias_numel]`` where they belong: ``[rows or 1, f_out * dim_out]``."""
        ends, dim = self.irreps_out.slices(), self.irreps_out.dim
        entries = [ends[ins.i_out] for ins in self.instructions if ins.i_in < 0]
        pieces = bias.split([s.stop - s.start for s in entries], dim=-1)
        rows = [pad(piece, (s.start, dim - s.stop)) for piece, s in zip(pieces, entries, strict=True)]
        return sum(rows[1:], rows[0]).flatten(1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:
        """Move parameters, and make the mask anew: ``to_empty`` would leave it without values."""
        super()._apply(fn, recurse)
        self.output_mask = output_mask(self.irreps_out, self.instructions, like=self.output_mask)
        return self

    def _entries(self, instruction: Any) -> str:
        """See ``WeightedMap``."""
        return f"{self.irreps_in[instruction.i_in]} -> {self.irreps_out[instruction.i_out]}"

    def __repr__(self) -> str:
        entries = zip(self.irreps_out, self.irreps_out.slices(), strict=True)
        zeros = [str(entry) for entry, s in entries if s.stop > s.start and not self.output_mask[s].any()]
        biases = f" | {self.bias_numel} biases" if self.bias_numel else ""
        missing = f" | no path to {'+'.join(zeros)}" if zeros else ""
        numel = math.prod(self._weight_prefix) * self.weight_numel
        return f"{self._name()}({self.irreps_in} -> {self.irreps_out} | {numel} weights{biases}{missing})"


def mix_channels(
    features: Tensor, weights: Tensor, plan: LinearPlan, species: Tensor | None = None, *, backend: str = "auto"
) -> Tensor:
    """Compute ``irrepnet.ops.linear``, under autocast in its dtype as all layers do; the op would keep float32.

    Args:
        features: Shape ``[Z, dim_in]``.
        weights: Shape ``[weight_numel]`` or ``[Z, weight_numel]``, or ``[S, weight_numel]`` with species.
        plan: The map.
        species: Shape ``[Z]``.
        backend: As for the op.

    Raises:
        ShapeError: If a shape does not fit.
        DtypeError: If dtypes or devices do not.

    Example:
        >>> linear = Linear("2x1o", "1o")
        >>> mix_channels(torch.ones(4, 6), linear.weight, linear.plan).shape
        torch.Size([4, 3])
    """
    if autocasting(features.device):
        return reference.linear(features, weights, plan, species)
    return linear(features, weights, plan, species, backend=backend)


def _paths(
    irreps_in: Irreps, irreps_out: Irreps, pairs: Sequence[tuple[int, int]] | None, f_in: int, normalization: str
) -> list[LinearInstruction]:
    """Return the paths with their factors."""
    known_option("path_normalization", normalization, ("element", "path"))
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
    totals: dict[int, int] = {}
    numbers: dict[int, int] = {}
    for i, j in pairs:
        totals[j] = totals.get(j, 0) + irreps_in[i].mul
        numbers[j] = numbers.get(j, 0) + 1
    out = []
    for i, j in pairs:
        n = f_in * (totals[j] if normalization == "element" else irreps_in[i].mul * numbers[j])
        out.append(LinearInstruction(i, j, (irreps_in[i].mul, irreps_out[j].mul), 1 / math.sqrt(n) if n > 0 else 1.0))
    return out


def _with_bias(irreps_out: Irreps, biases: bool | Sequence[bool] | None) -> list[int]:
    """Return the entries of the output that have a bias."""
    if biases is None or isinstance(biases, bool):
        return [i for i, (_, ir) in enumerate(irreps_out) if biases and ir.is_scalar()]
    if len(biases) != len(irreps_out):
        raise IrrepsError(f"biases needs one bool for each entry of '{irreps_out}'; got {len(biases)}.")
    for (_, ir), wanted in zip(irreps_out, biases, strict=True):
        if wanted and not ir.is_scalar():
            raise IrrepsError(f"a bias is possible on 0e only; got one on {ir} of '{irreps_out}'. Set it to False.")
    return [i for i, wanted in enumerate(biases) if wanted]


def _plan(
    irreps_in: Irreps, irreps_out: Irreps, paths: Sequence[tuple[LinearInstruction, slice]], f: tuple[int, ...]
) -> LinearPlan:
    """Return the plan of the paths with their weights; f axes of the input and the output multiply the channels."""
    f_in, f_out = f
    numel = max([0, *(where.stop for _, where in paths)])
    blocks_in, blocks_out = _blocks(irreps_in, f_in), _blocks(irreps_out, f_out)
    plan = [
        LinearPath(source, target, f_in * f_out * where.start, ins.path_weight)
        for ins, where in paths
        for source, target in [(blocks_in[ins.i_in], blocks_out[ins.i_out])]
        if source.mul and target.mul
    ]
    return LinearPlan(f_in * irreps_in.dim, f_out * irreps_out.dim, f_in * f_out * numel, tuple(plan))


def _blocks(irreps: Irreps, f: int) -> list[Block]:
    return [Block(f * s.start, f * mul, ir.dim) for s, (mul, ir) in zip(irreps.slices(), irreps, strict=True)]


# An f axis is one more axis of channels: with it inside the entries, a plan needs one path for each pair of entries,
# however many f there are. A single entry is laid out so already.


def _to_channels(features: Tensor, irreps: Irreps) -> Tensor:
    """Lay out features ``[Z, f, dim]`` by entries, ``[Z, f * mul * (2l + 1)]`` of each in turn."""
    if len(irreps) < 2:
        return features.flatten(1)
    return torch.cat([entry.flatten(1) for entry in features.split(_widths(irreps), dim=2)], dim=1)


def _from_channels(columns: Tensor, f: int, irreps: Irreps) -> Tensor:
    """Undo that, but for the two last axes, which stay one: ``[Z, f * dim]``."""
    if len(irreps) < 2:
        return columns
    widths = _widths(irreps)
    entries = zip(columns.split([f * width for width in widths], dim=1), widths, strict=True)
    return torch.cat([entry.unflatten(1, (f, width)) for entry, width in entries], dim=2).flatten(1)


def _widths(irreps: Irreps) -> list[int]:
    return [mul * ir.dim for mul, ir in irreps]


def _same_kind(name: str, features: Tensor, other: str, operand: Tensor) -> None:
    """Raise unless features and the other operand can be used together."""
    if (features.dtype, features.device) != (operand.dtype, operand.device) and not autocasting(features.device):
        raise DtypeError(
            f"{name} needs features and {other} of one dtype on one device; got features {str(features.dtype)[6:]} on "
            f"{features.device}, {other} {str(operand.dtype)[6:]} on {operand.device}. Move them with .to(...)."
        )
