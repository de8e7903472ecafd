"""Normalisation of each row on its own, over the channels of each irrep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, rms_norm

from irrepnet.errors import ConfigError, IrrepsError
from irrepnet.nn.channels import Channels, checked_features
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["LayerNorm", "RMSNorm"]


class _RowNorm(nn.Module):
    """What both norms share: columns gathered by irrep, divided by a norm, and put back."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, irreps: Any, eps: float = 1e-5, affine: bool = True, *, joint: bool = False) -> None:
        super().__init__()
        if not eps > 0:
            raise ConfigError(f"{type(self).__name__} needs eps > 0, or a row of zeros has no norm; got {eps!r}.")
        self.irreps, self.eps, self.affine, self.joint = Irreps(irreps), eps, affine, joint
        entries = sorted((entry.ir, i) for i, entry in enumerate(self.irreps) if entry.mul)
        self._groups = [[i for _, i in group] for _, group in groupby(entries, key=lambda item: item[0])]
        self._sizes = [entry.dim for entry in self.irreps]
        self._channels = Channels(self.irreps)
        self.register_parameter("weight", nn.Parameter(torch.ones(self.irreps.num_irreps)) if affine else None)
        self.register_parameter("bias", None)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise.

        Args:
            features: Shape ``[..., irreps.dim]``.

        Returns:
            The same shape.

        Raises:
            ShapeError: If the last axis does not have the size of the irreps.
            DtypeError: If features differ from the parameters in dtype or device.
        """
        x = checked_features(type(self).__name__, features, self.irreps, self.weight)
        return self._scattered(self._normalised(self._gathered(x), self._weights()), x)

    def _normalised(self, groups: list[Tensor], weights: Sequence[Tensor | None]) -> list[Tensor]:
        """Divide by one norm for each group, or by one for all."""
        if not self.joint:
            return [rms_norm(x, x.shape[-1:], w, self.eps) for x, w in zip(groups, weights, strict=True)]
        if not groups:
            return []
        squares = [x.square().mean(-1, keepdim=True) for x in groups]
        inverse = (sum(squares[1:], squares[0]) / len(squares) + self.eps).rsqrt()  # [..., 1]
        return [x * inverse if w is None else x * inverse * w for x, w in zip(groups, weights, strict=True)]

    def _weights(self) -> Sequence[Tensor | None]:
        """Return a weight for each column of each group."""
        if self.weight is None:
            return [None] * len(self._groups)
        return self._gathered(self._channels.spread(self.weight))

    def _gathered(self, x: Tensor) -> list[Tensor]:
        """Return the columns of each irrep, ``[..., D]`` to a list of ``[..., width]``."""
        parts = x.split(self._sizes, dim=-1)
        groups = [[parts[i] for i in numbers] for numbers in self._groups]
        return [group[0] if len(group) == 1 else torch.cat(group, dim=-1) for group in groups]

    def _scattered(self, groups: list[Tensor], x: Tensor) -> Tensor:
        """Undo ``_gathered``."""
        parts = [x] * len(self._sizes)  # those without columns stay
        for numbers, group in zip(self._groups, groups, strict=True):
            pieces = group.split([self._sizes[i] for i in numbers], dim=-1)
            for i, piece in zip(numbers, pieces, strict=True):
                parts[i] = piece
        parts = [part for part, size in zip(parts, self._sizes, strict=True) if size]
        return torch.cat(parts, dim=-1) if parts else x

    def __repr__(self) -> str:
        counts = [(self.weight, "weights"), (self.bias, "biases")]
        numbers = "".join(f" | {p.numel()} {name}" for p, name in counts if p is not None)
        return f"{type(self).__name__}({self.irreps}{' | joint' if self.joint else ''}{numbers})"


class RMSNorm(_RowNorm):
    r"""Divide the channels of each irrep by their root mean square, row by row.

    .. math:: x_{cm} \mapsto w_c \frac{x_{cm}}{\sqrt{\sigma^2 + \epsilon}}, \qquad
              \sigma^2 = \frac{1}{C (2l + 1)} \sum_{c=1}^{C} \sum_m x_{cm}^2

    where the sum goes over all C channels of one irrep, in whichever entries they stand. With ``joint=True`` all irreps
    are divided by one number, the root of the mean of their :math:`\sigma^2`, so that an irrep that is small beside the
    others stays small.

    Args:
        irreps: Irreps of the features.
        eps: Added to mean squares.
        affine: Whether there is a weight for each channel.
        joint: Whether all irreps share one norm.

    Attributes:
        weight: Parameter, shape ``[number of irreps]``, one at first; None without ``affine``.

    Raises:
        IrrepsError: If irreps cannot be read.
        ConfigError: If eps is not positive.

    Reference: Zhang and Sennrich 2019, arXiv:1910.07467; for irreps Liao and Smidt 2023, arXiv:2206.11990.

    Example:
        >>> norm = RMSNorm("8x0e + 4x1o")
        >>> norm
        RMSNorm(8x0e+4x1o | 12 weights)
        >>> norm(torch.full((2, 20), -3.0)).mean()
        tensor(-1.0000, grad_fn=<MeanBackward0>)
    """


class LayerNorm(_RowNorm):
    r"""Normalise each row: ``0e`` to mean zero and variance one, the other irreps to root mean square one.

    .. math:: x_c \mapsto w_c \frac{x_c - \mu}{\sqrt{\sigma^2 + \epsilon}} + b_c, \qquad
              \mu = \frac{1}{C} \sum_{c=1}^{C} x_c, \quad \sigma^2 = \frac{1}{C} \sum_{c=1}^{C} (x_c - \mu)^2

    for the C channels of ``0e``; the others as in :class:`RMSNorm`, without mean and bias, which rotations would not
    keep. With ``joint=True`` these others share one norm.

    Args:
        irreps: Irreps of the features.
        eps: Added to mean squares.
        affine: Whether there are a weight for each channel and a bias for each ``0e``.
        joint: Whether all irreps but ``0e`` share one norm.

    Attributes:
        weight: Parameter, shape ``[number of irreps]``, one at first; None without ``affine``.
        bias: Parameter, shape ``[number of 0e]``, zero at first; None without ``affine``.

    Raises:
        IrrepsError: If irreps cannot be read, or there is a single ``0e``, of which nothing would be left.
        ConfigError: If eps is not positive.

    Reference: Liao and Smidt 2023, arXiv:2206.11990; ``joint`` as in Liao et al. 2024, arXiv:2306.12059.

    Example:
        >>> norm = LayerNorm("8x0e + 4x1o")
        >>> norm
        LayerNorm(8x0e+4x1o | 12 weights | 8 biases)
        >>> norm(torch.randn(5, 20)).shape
        torch.Size([5, 20])
    """

    def __init__(self, irreps: Any, eps: float = 1e-5, affine: bool = True, *, joint: bool = False) -> None:
        super().__init__(irreps, eps, affine, joint=joint)
        num_scalars = self.irreps.count("0e")
        if num_scalars == 1:
            raise IrrepsError(
                f"LayerNorm needs several 0e, or none, in '{self.irreps}': a single one minus its own mean is always "
                "zero. Use RMSNorm."
            )
        kinds = [self.irreps[numbers[0]].ir for numbers in self._groups]
        self._place = kinds.index(Irrep("0e")) if num_scalars else None
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_scalars)) if affine else None)

    def _normalised(self, groups: list[Tensor], weights: Sequence[Tensor | None]) -> list[Tensor]:
        if self._place is None:
            return super()._normalised(groups, weights)
        k, rest = self._place, slice(self._place + 1, None)
        scalars = layer_norm(groups[k], groups[k].shape[-1:], weights[k], self.bias, self.eps)
        out = super()._normalised([*groups[:k], *groups[rest]], [*weights[:k], *weights[rest]])
        return [*out[:k], scalars, *out[k:]]
