"""Dropout of whole irreps: either all components of a channel stay, or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn.channels import checked_width
from irrepnet.o3.irreps import Irreps

__all__ = ["Dropout"]


class Dropout(nn.Module):
    r"""In training, set each irrep to zero with probability p, and divide the others by 1 - p.

    Each row (first axis) draws anew, axes between the first and the last one share what their row has drawn. The
    expected value is the input; in evaluation the input is returned. The same seed gives the same draw as in e3nn.

    Args:
        irreps: Irreps of the features.
        p: Probability to drop an irrep.

    Raises:
        IrrepsError: If irreps cannot be read.
        ConfigError: If p is not from 0 to 1.

    Example:
        >>> dropout = Dropout("2x0e + 2x1o", p=0.5)
        >>> dropout
        Dropout(2x0e+2x1o | p = 0.5)
        >>> dropout(torch.ones(1000, 8)).unique()
        tensor([0., 2.])
    """

    def __init__(self, irreps: Any, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"Dropout needs a probability p from 0 to 1; got {p!r}.")
        self.irreps, self.p = Irreps(irreps), p

    def forward(self, x: Tensor) -> Tensor:
        """Drop irreps, in training.

        Args:
            x: Features, shape ``[batch, ..., irreps.dim]``.

        Returns:
            The same shape.

        Raises:
            ShapeError: If the shape does not fit.
            DtypeError: If features are neither floating-point nor complex.
        """
        checked_width("Dropout", x, self.irreps)
        if not (x.is_floating_point() or x.is_complex()):
            raise DtypeError(f"Dropout needs floating-point or complex features; got {x.dtype}. Write x.float().")
        if x.ndim < 2:
            raise ShapeError(f"Dropout needs x [batch, ..., {self.irreps.dim}]; got {list(x.shape)}.")
        if not self.training or self.p == 0:
            return x
        return x * self._noise(x).reshape(x.shape[0], *[1] * (x.ndim - 2), self.irreps.dim)

    def _noise(self, x: Tensor) -> Tensor:
        """Draw 0 or 1 / (1 - p) for each irrep, the same for all its components: ``[batch, D]``."""
        keep = 1 - self.p
        real = x.real if x.is_complex() else x
        noise = [real.new_empty(x.shape[0], 0)]
        for mul, ir in self.irreps:  # entry by entry, as e3nn draws, so that a seed means the same
            drawn = real.new_empty(x.shape[0], mul, 1)
            drawn = drawn.bernoulli_(keep).div_(keep) if keep else drawn.zero_()
            noise.append(drawn.expand(-1, -1, ir.dim).flatten(1))
        return torch.cat(noise, dim=-1)

    def __repr__(self) -> str:
        return f"Dropout({self.irreps} | p = {self.p})"
