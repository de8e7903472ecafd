"""The layer that does nothing, for a place where a layer is expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError
from irrepnet.nn.channels import checked_width
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.saved_constants import without_constants

__all__ = ["Identity"]


class Identity(nn.Module):
    """Return features as they are.

    Args:
        irreps_in: Irreps of the features.
        irreps_out: The same irreps; neighbours may be written together or apart.

    Attributes:
        irreps_in: Simplified.
        irreps_out: Simplified.
        output_mask: Ones, shape ``[irreps_out.dim]``, as in layers where some of the output may be zero.

    Raises:
        IrrepsError: If the irreps differ, or cannot be read.

    Example:
        >>> identity = Identity("1o + 0e + 0e", "1o + 2x0e")
        >>> identity
        Identity(1x1o+2x0e -> 1x1o+2x0e)
        >>> identity(torch.arange(5.0))
        tensor([0., 1., 2., 3., 4.])
    """

    output_mask: Tensor

    def __init__(self, irreps_in: Any, irreps_out: Any) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in).simplify(), Irreps(irreps_out).simplify()
        if self.irreps_in != self.irreps_out:
            raise IrrepsError(
                f"Identity needs the same irreps on both sides; got irreps_in = {self.irreps_in} and irreps_out = "
                f"{self.irreps_out}. Use o3.Linear to go from one to the other."
            )
        self.register_buffer("output_mask", torch.ones(self.irreps_out.dim), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
        """
        return checked_width("Identity", features, self.irreps_in)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Identity:
        """Make the mask anew: ``to_empty`` would leave it without values."""
        super()._apply(fn, recurse)
        self.output_mask = torch.ones_like(self.output_mask)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load nothing; e3nn saves the mask, which is left out."""
        super()._load_from_state_dict(without_constants(state_dict, prefix, ("output_mask",)), prefix, *args)

    def __repr__(self) -> str:
        return f"Identity({self.irreps_in} -> {self.irreps_out})"
