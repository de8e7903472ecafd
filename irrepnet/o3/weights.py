"""Maps with weights: one flat vector, cut into one view for each instruction, owned by the module or given to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.o3.saved_constants import without_constants

__all__ = ["WeightedMap", "broadcast_axes", "only_default", "resolve_sharing"]

_TABLE_ROWS = 20  # of instructions in a message; a network's product may have hundreds


class WeightedMap(torch.nn.Module):
    """Base of modules whose weights are one flat vector in the order of their instructions.

    Attributes:
        weight: Parameter, shape ``[*weight_prefix, weight_numel]``, N(0, 1) at first; None where weights are given in
            the call.
        weight_numel: Number of weights.
        internal_weights: Whether the module owns its weights.
        shared_weights: Whether all rows have the same weights.

    Args:
        instructions: Named tuples, each with a ``path_shape``.
        weighted: For each instruction, whether it has weights in the flat vector.
        internal_weights: See ``resolve_sharing``.
        shared_weights: See ``resolve_sharing``.
        weight_prefix: Axes before the flat one.

    Example:
        >>> from irrepnet.o3 import Linear
        >>> isinstance(Linear("2x0e", "3x0e"), WeightedMap)
        True
    """

    weight: Tensor | None

    def __init__(
        self,
        instructions: Sequence[Any],
        weighted: Sequence[bool],
        *,
        internal_weights: bool | None,
        shared_weights: bool | None,
        weight_prefix: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.instructions = list(instructions)
        sizes = [math.prod(ins.path_shape) if has else 0 for ins, has in zip(instructions, weighted, strict=True)]
        self.weight_numel = sum(sizes)
        ends = list(accumulate(sizes))
        self._weight_slices = {i: slice(ends[i] - sizes[i], ends[i]) for i, has in enumerate(weighted) if has}
        self._weight_prefix = weight_prefix
        self.internal_weights, self.shared_weights = resolve_sharing(internal_weights, shared_weights, any(weighted))
        own = self.internal_weights and self.weight_numel > 0
        weight = torch.nn.Parameter(torch.randn(*weight_prefix, self.weight_numel)) if own else None
        self.register_parameter("weight", weight)

    def weight_view_for_instruction(self, instruction: int, weight: Tensor | None = None) -> Tensor:
        """Return the weights of one instruction as a view of the flat ones.

        Args:
            instruction: Its number.
            weight: Flat weights, shape ``[..., weight_numel]``; the module's own by default.

        Returns:
            Shape ``[..., *path_shape]``.

        Raises:
            IndexError: If there is no such instruction.
            IrrepsError: If it has no weights.
            RuntimeError: If no weights are given and the module owns none.
            ShapeError: If the weights do not fit.

        Example:
            >>> from irrepnet.o3 import Linear
            >>> Linear("2x0e", "3x0e").weight_view_for_instruction(0).shape
            torch.Size([2, 3])
        """
        if not -len(self.instructions) <= instruction < len(self.instructions):
            raise IndexError(f"{self._name()} has {len(self.instructions)} instructions; got number {instruction}.")
        instruction %= len(self.instructions)
        if instruction not in self._weight_slices:
            raise IrrepsError(f"instruction {instruction} of {self._name()} has no weights.")
        flat = self._weights(weight)[..., self._weight_slices[instruction]]
        return flat.unflatten(-1, self.instructions[instruction].path_shape)

    def weight_views(self, weight: Tensor | None = None, yield_instruction: bool = False) -> Iterator[Any]:
        """Yield the weights of each instruction that has some, as views of the flat ones.

        Args:
            weight: Flat weights, shape ``[..., weight_numel]``; the module's own by default.
            yield_instruction: Yield ``(number, instruction, view)`` instead of the view.

        Raises:
            RuntimeError: If no weights are given and the module owns none.
            ShapeError: If the weights do not fit.

        Example:
            >>> from irrepnet.o3 import Linear
            >>> [tuple(view.shape) for view in Linear("2x0e + 4x1o", "3x0e + 1o").weight_views()]
            [(2, 3), (4, 1)]
        """
        for i in self._weight_slices:
            view = self.weight_view_for_instruction(i, weight)
            yield (i, self.instructions[i], view) if yield_instruction else view

    def _weights(self, weight: Any) -> Tensor:
        """Return the weights to use: those given, checked, or the module's own."""
        if isinstance(weight, (list, tuple)):
            weight = self._joined(weight)
        if weight is None:
            if self.weight_numel == 0:
                return torch.zeros(*self._weight_prefix, 0)
            if self.weight is None:
                raise RuntimeError(
                    f"{self._name()} was made with internal_weights=False and needs {self.weight_numel} weights in the "
                    "call; got none. Pass weight=..."
                )
            return self.weight
        if not isinstance(weight, Tensor):
            raise DtypeError(f"{self._name()} needs weight as a tensor; got {type(weight).__name__}.")
        if self.weight_numel == 0:
            if weight.shape[-1:] != (0,):
                raise ShapeError(
                    f"{self._name()} has no weights and needs none; got weight {list(weight.shape)}. Leave it out."
                )
            return weight
        needed = (*self._weight_prefix, self.weight_numel)
        shared_fits = weight.ndim == len(needed) if self.shared_weights else weight.ndim > len(needed)
        if not shared_fits or tuple(weight.shape[-len(needed) :]) != needed:
            rows = "" if self.shared_weights else "..., "
            raise ShapeError(
                f"{self._name()} with shared_weights={self.shared_weights} needs weight "
                f"[{rows}{', '.join(map(str, needed))}]; got {list(weight.shape)}. The flat axis holds\n"
                f"{self._weight_table()}"
            )
        return weight

    def _used_weights(self, weight: Any) -> Tensor | None:
        """Return the weights to use, checked, or None where the map has none: then it takes none either."""
        if weight is None and self.weight_numel == 0:
            return None
        weights = self._weights(weight)
        return weights if self.weight_numel > 0 else None

    def _joined(self, given: Sequence[Any]) -> Tensor | None:
        """Return a list of weights, one for each instruction that has some, as flat ones; None for an empty list."""
        if len(given) != len(self._weight_slices):
            raise ShapeError(
                f"{self._name()} needs a list of {len(self._weight_slices)} weights, one for each instruction that "
                f"has some; got {len(given)}."
            )
        flat = [self._flat(w, i) for w, i in zip(given, self._weight_slices, strict=True)]
        if not flat:
            return None
        kinds = dict.fromkeys((w.dtype, w.device) for w in flat)
        if len(kinds) > 1:
            found = ", ".join(f"{str(dtype)[6:]} on {device}" for dtype, device in kinds)
            raise DtypeError(
                f"{self._name()} needs weights of one dtype on one device; got {found}. Move them with .to(...)."
            )
        batch = broadcast_axes(self._name(), {f"weight {i}": w.shape[:-1] for i, w in enumerate(flat)})
        return torch.cat([w.expand(*batch, w.shape[-1]) for w in flat], dim=-1)

    def _flat(self, weight: Any, instruction: int) -> Tensor:
        """Return the weights of one instruction, ``[..., *path_shape]``, with the axes of its path made one."""
        shape = self.instructions[instruction].path_shape
        if not isinstance(weight, Tensor):
            raise DtypeError(
                f"{self._name()} needs weights as tensors; got {type(weight).__name__} for instruction {instruction}."
            )
        if tuple(weight.shape[-len(shape) :]) != shape:
            raise ShapeError(
                f"{self._name()} needs weights [..., {', '.join(map(str, shape))}] for instruction {instruction}; "
                f"got {list(weight.shape)}."
            )
        return weight.flatten(-len(shape))

    def _weight_table(self) -> str:
        """Say which instruction has which of the flat weights."""
        rows = [("instruction", "entries", "mode", "path_shape", "count", "offset")]
        for i, where in self._weight_slices.items():
            ins = self.instructions[i]
            mode = getattr(ins, "connection_mode", "uw")
            count = where.stop - where.start
            rows.append((str(i), self._entries(ins), mode, str(ins.path_shape), str(count), str(where.start)))
        if len(rows) > _TABLE_ROWS + 1:
            rows[_TABLE_ROWS:-1] = [("...", "", "", "", "", "")]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(f"  {line.rstrip()}" for line in lines)

    def _entries(self, instruction: Any) -> str:
        """Say which entries of the irreps an instruction joins."""
        return ""

    def _name(self) -> str:
        return type(self).__name__

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load learned weights; e3nn also saves constants (masks, tables, empty weights), which are left out."""
        empty = [
            name for name in ("weight", "bias") if prefix + name in state_dict and not state_dict[prefix + name].numel()
        ]
        kept = without_constants(state_dict, prefix, ("output_mask", "_compiled_main.", "_compiled_main_", *empty))
        super()._load_from_state_dict(kept, prefix, *args)


def broadcast_axes(name: str, leading: dict[str, torch.Size]) -> torch.Size:
    """Return the axes that the leading axes of operands broadcast to.

    Args:
        name: Of what needs them, for the message.
        leading: Name of each operand -> its leading axes.

    Raises:
        ShapeError: If they do not broadcast.

    Example:
        >>> broadcast_axes("Linear", {"features": torch.Size([4, 1]), "weight": torch.Size([3])})
        torch.Size([4, 3])
    """
    first, *others = leading.values()
    if all(axes == first for axes in others):
        return first
    try:
        return torch.broadcast_shapes(first, *others)  # imports sympy: not for all
    except RuntimeError as error:
        found = " and ".join(f"{list(axes)} of {operand}" for operand, axes in leading.items())
        raise ShapeError(f"{name} needs operands whose leading axes broadcast; got {found}.") from error


def resolve_sharing(internal: bool | None, shared: bool | None, has_weights: bool) -> tuple[bool, bool]:
    """Return ``(internal_weights, shared_weights)``, None replaced by e3nn's defaults.

    Args:
        internal: Whether the module owns its weights; by default where they are shared and there are any.
        shared: Whether all rows have the same weights; True by default.
        has_weights: Whether there are any.

    Raises:
        ConfigError: If own weights are not to be shared: there is one set of them.

    Example:
        >>> resolve_sharing(None, False, True)
        (False, False)
    """
    if shared is None:
        shared = True
    if internal is None:
        internal = shared and has_weights
    if internal and not shared:
        raise ConfigError("internal_weights=True needs shared_weights=True; got False. Pass weights in the call.")
    return internal, shared


def only_default(**arguments: tuple[Any, Any]) -> None:
    """Refuse arguments of e3nn that mean nothing here, unless they are at their default.

    Args:
        **arguments: Name -> (value, default).

    Raises:
        ConfigError: If one is not at its default.

    Example:
        >>> only_default(_optimize_einsums=(None, None))
    """
    for name, (value, default) in arguments.items():
        if value != default:
            raise ConfigError(f"{name} has no meaning in irrepnet; got {value!r}. Leave it at {default!r}.")
