"""A module and a way around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.nn.channels import checked_features
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops._autocast import autocasting

__all__ = ["Residual"]


class Residual(nn.Module):
    r"""Add what goes into a module to what comes out of it.

    .. math:: x \mapsto S x + s\, f(x)

    The shortcut S leaves x as it is where the irreps of input and output are the same; else it is an ``o3.Linear``
    between them, in which an irrep of the output that the input does not hold gets nothing.

    Args:
        module: The module f. Its first argument is x, on which it must not work in place; others are passed on.
        irreps_in: Irreps of x; ``module.irreps_in`` by default.
        irreps_out: Irreps of its output; ``module.irreps_out`` by default.
        scale: The factor s.
        learn_scale: Whether s is learned, from ``scale`` on. From 0 on, a deep network begins as the identity (ReZero,
            Bachlechner et al. 2020, arXiv:2003.04887).

    Attributes:
        shortcut: The ``Linear`` S; None where it is the identity.
        scale: A number; a parameter of shape ``[]`` if it is learned.

    Raises:
        IrrepsError: If the module does not say its irreps and they are not given, or input and output have none in
            common.

    Reference: He et al. 2016, arXiv:1512.03385.

    Example:
        >>> from irrepnet.nn import Gate
        >>> gate = Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o")
        >>> block = Residual(gate, scale=0.5)
        >>> block
        Residual(Linear(6x0e+2x1o -> 4x0e+2x1o | 28 weights) + 0.5 Gate(6x0e+2x1o -> 4x0e+2x1o))
        >>> block(torch.randn(5, 12)).shape
        torch.Size([5, 10])
    """

    scale: Tensor | float

    def __init__(
        self,
        module: nn.Module,
        irreps_in: Any = None,
        irreps_out: Any = None,
        *,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.module = module
        self.irreps_in = _irreps(module, "irreps_in", irreps_in)
        self.irreps_out = _irreps(module, "irreps_out", irreps_out)
        same = self.irreps_in.simplify() == self.irreps_out.simplify()
        if not same and not {ir for mul, ir in self.irreps_in if mul} & {ir for mul, ir in self.irreps_out if mul}:
            raise IrrepsError(
                f"Residual needs an irrep that input and output have in common; got {self.irreps_in} and "
                f"{self.irreps_out}. Use the module without it."
            )
        self.shortcut = None if same else Linear(self.irreps_in, self.irreps_out)
        self.scale = nn.Parameter(torch.tensor(float(scale))) if learn_scale else float(scale)

    def forward(self, features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply module and shortcut, and add.

        Args:
            features: x, shape ``[..., irreps_in.dim]``.
            *args: Other arguments of the module.
            **kwargs: Other arguments of the module.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``, or the module returns another shape
                than the shortcut.
            DtypeError: If features differ from the scale in dtype or device, or, outside autocast, the module returns
                another dtype than the shortcut.
        """
        own = self.scale if isinstance(self.scale, Tensor) else None
        features = checked_features("Residual", features, self.irreps_in, own)
        kept = features if self.shortcut is None else self.shortcut(features)
        out = self.module(features, *args, **kwargs)
        if out.shape != kept.shape:
            raise ShapeError(
                f"Residual needs {list(kept.shape)} of {type(self.module).__name__} for irreps_out = "
                f"{self.irreps_out}; got {list(out.shape)}."
            )
        if out.dtype != kept.dtype and not autocasting(kept.device):
            raise DtypeError(
                f"Residual needs {str(kept.dtype)[6:]} of {type(self.module).__name__}, as its shortcut has; "
                f"got {str(out.dtype)[6:]}."
            )
        if not isinstance(self.scale, float) or self.scale != 1:
            out = out * self.scale
        return out + kept

    def __repr__(self) -> str:
        scale = "s " if isinstance(self.scale, Tensor) else "" if self.scale == 1 else f"{self.scale} "
        return f"Residual({'x' if self.shortcut is None else self.shortcut} + {scale}{self.module})"


def _irreps(module: nn.Module, name: str, given: Any) -> Irreps:
    irreps = getattr(module, name, None) if given is None else given
    if irreps is None:
        raise IrrepsError(
            f"Residual needs {name}; {type(module).__name__} does not say its own. Write Residual(module, irreps_in, "
            "irreps_out)."
        )
    if isinstance(irreps, (list, tuple)) and any(isinstance(part, Irreps) for part in irreps):
        raise IrrepsError(
            f"Residual needs one {name}; {type(module).__name__} has several, {list(irreps)}, as a module of several "
            "arguments or results. Write Residual(module, irreps_in, irreps_out) with those of the first argument."
        )
    return Irreps(irreps)
