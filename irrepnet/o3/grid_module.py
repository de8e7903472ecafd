"""What modules on grids share: constants that are made anew after casts, and arguments of their dtype and device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.o3.saved_constants import without_constants
from irrepnet.ops._autocast import autocasting, without_autocast

__all__ = ["GridModule", "in_own_dtype", "need_kind"]


class GridModule(torch.nn.Module):
    """A module whose tensors all follow from its options: they are made, never loaded or saved.

    A subclass says in ``_constants`` what they are; the first of them has the dtype and device of the module.
    """

    def _constants(self) -> dict[str, np.ndarray]:
        """Return the constants by name, in float64 and int64."""
        raise NotImplementedError

    def _saved(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what e3nn saves by name."""
        raise NotImplementedError

    def _make_constants(self, dtype: torch.dtype, device: torch.device | str | None) -> None:
        with torch.inference_mode(False):  # a module that is made while predicting can be trained all the same
            for name, values in self._constants().items():
                kind = dtype if values.dtype.kind == "f" else None
                self.register_buffer(name, torch.tensor(values, dtype=kind, device=device), persistent=False)

    @property
    def _own(self) -> Tensor:
        """A tensor of the dtype and device of the module."""
        return next(iter(self._buffers.values()))  # type: ignore[return-value]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GridModule:
        """Make constants anew: casts would round them, ``to_empty`` leaves no values."""
        super()._apply(fn, recurse)
        self._make_constants(self._own.dtype, self._own.device)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load nothing; e3nn saves the constants, which have to be those of the same grid and are then left out."""
        shapes = self._saved()
        for name, shape in shapes.items():
            saved = state_dict.get(prefix + name)
            if saved is not None and tuple(saved.shape) != shape:
                errors = args[-1]
                errors.append(
                    f"{prefix}{name} is of another grid: {self!r} has {list(shape)}; got {list(saved.shape)}. Build "
                    "the module with the lmax and resolution that were saved."
                )
        super()._load_from_state_dict(without_constants(state_dict, prefix, tuple(shapes)), prefix, *args)


def in_own_dtype(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Decorate a method of a module: under autocast it casts its argument to the module's dtype and computes there.

    Args:
        method: Takes one tensor. The module has a tensor ``_own``. A float64 argument is left as it is.

    Example:
        >>> class Double(torch.nn.Module):
        ...     _own = torch.ones(2, 2)
        ...     @in_own_dtype
        ...     def forward(self, x):
        ...         return x @ self._own
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     Double()(torch.ones(2, dtype=torch.bfloat16))
        tensor([2., 2.])
    """

    @wraps(method)
    def cast(self: Any, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or not autocasting(x.device):
            return method(self, x)
        if x.is_floating_point() and x.dtype != torch.float64:
            x = x.to(self._own.dtype)
        with without_autocast(x.device):
            return method(self, x)

    return cast


def need_kind(module: torch.nn.Module, x: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an argument whose dtype, device or last axes are not those of a module.

    Args:
        module: Names who asks.
        x: The argument.
        like: A tensor of the module.
        shape: Sizes of the last axes.

    Raises:
        ShapeError: If the last axes have other sizes.
        DtypeError: If dtype or device differ.

    Example:
        >>> need_kind(torch.nn.Identity(), torch.zeros(3, 4), torch.zeros(1), (4,))
    """
    name = type(module).__name__
    if not isinstance(x, Tensor) or (x.dtype, x.device) != (like.dtype, like.device):
        found = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError(
            f"{name} was made in {like.dtype} on {like.device}; got {found}. Write x.to(...) or module.to(...)."
        )
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(f"{name} needs x [..., {', '.join(map(str, shape))}]; got x {list(x.shape)}.")
