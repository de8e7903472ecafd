"""Features seen as channels, one for each irrep: sums over their components, and one number for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.o3.irreps import Irreps
from irrepnet.ops._autocast import autocasting

__all__ = ["Channels", "Scalars", "checked_features", "checked_width", "fits"]


class Channels:
    """Channels of irreps: the components of a channel lie side by side, C channels in D columns.

    Neighbours with equally many components are handled together, whatever their irreps.

    Args:
        irreps: How features transform.

    Attributes:
        sizes: ``(mul, dim)`` of each block of channels with ``dim`` components.

    Example:
        >>> channels = Channels(Irreps("2x0e + 0o + 2x1o"))
        >>> channels.sizes
        [(3, 1), (2, 3)]
        >>> channels.sum(torch.ones(1, 9))
        tensor([[1., 1., 1., 3., 3.]])
        >>> channels.spread(torch.arange(5.0))
        tensor([0., 1., 2., 3., 3., 3., 4., 4., 4.])
    """

    def __init__(self, irreps: Irreps) -> None:
        entries = itertools.groupby((entry for entry in irreps if entry.mul), key=lambda entry: entry.ir.dim)
        self.sizes = [(sum(entry.mul for entry in group), dim) for dim, group in entries]
        self._columns = [mul * dim for mul, dim in self.sizes]
        self._muls = [mul for mul, _ in self.sizes]

    def sum(self, features: Tensor) -> Tensor:
        """Add up the components of each channel, ``[..., D]`` to ``[..., C]``."""
        return _joined([x.sum(-1) if x.shape[-1] > 1 else x.squeeze(-1) for x in self._blocks(features)], features)

    def mean(self, features: Tensor) -> Tensor:
        """Return the mean over the components of each channel, ``[..., D]`` to ``[..., C]``."""
        return _joined([x.mean(-1) if x.shape[-1] > 1 else x.squeeze(-1) for x in self._blocks(features)], features)

    def spread(self, values: Tensor) -> Tensor:
        """Give every component the value of its channel, ``[..., C]`` to ``[..., D]``."""
        parts = zip(values.split(self._muls, dim=-1), self.sizes, strict=True)
        return _joined([_repeated(x, dim) for x, (_, dim) in parts], values)

    def scale(self, features: Tensor, values: Tensor) -> Tensor:
        """Multiply each channel by its value, ``[..., D]`` times ``[..., C]``."""
        parts = zip(self._blocks(features), values.split(self._muls, dim=-1), strict=True)
        return _joined([(x * v.unsqueeze(-1)).flatten(-2) for x, v in parts], features)

    def _blocks(self, features: Tensor) -> Iterator[Tensor]:
        """Yield each block of channels, ``[..., mul, dim]``."""
        parts = zip(features.split(self._columns, dim=-1), self.sizes, strict=True)
        return (x.unflatten(-1, size) for x, size in parts)


class Scalars:
    """Where the even scalars, ``0e``, stand: S of them in D columns. Only they have a mean that is not zero.

    Args:
        irreps: How features transform.

    Attributes:
        num: S.

    Example:
        >>> scalars = Scalars(Irreps("2x0e + 0o + 1x0e"))
        >>> scalars.take(torch.arange(4.0))
        tensor([0., 1., 3.])
        >>> scalars.put(torch.ones(3))
        tensor([1., 1., 0., 1.])
    """

    def __init__(self, irreps: Irreps) -> None:
        runs = itertools.groupby((entry for entry in irreps if entry.mul), key=lambda entry: entry.ir.is_scalar())
        self._runs = [(sum(entry.dim for entry in group), is_scalar) for is_scalar, group in runs]
        self.num = sum(width for width, is_scalar in self._runs if is_scalar)

    def take(self, features: Tensor) -> Tensor:
        """Return the scalars alone, ``[..., D]`` to ``[..., S]``."""
        parts = features.split([width for width, _ in self._runs], dim=-1)
        return _joined([x for x, (_, is_scalar) in zip(parts, self._runs, strict=True) if is_scalar], features)

    def put(self, values: Tensor) -> Tensor:
        """Put values where the scalars stand and zeros elsewhere, ``[..., S]`` to ``[..., D]``."""
        parts = iter(values.split([width for width, is_scalar in self._runs if is_scalar], dim=-1))
        lead = values.shape[:-1]
        runs = [next(parts) if is_scalar else values.new_zeros(*lead, width) for width, is_scalar in self._runs]
        return _joined(runs, values)


def checked_width(name: str, features: Tensor, irreps: Irreps, dim: int = -1) -> Tensor:
    """Return features that are as wide as irreps.

    Args:
        name: Of the module.
        features: Shape ``[..., irreps.dim]``, of any dtype.
        irreps: How they transform.
        dim: The axis along which the irreps lie.

    Raises:
        ShapeError: If that axis does not have the size of the irreps.

    Example:
        >>> checked_width("Extract", torch.zeros(3, 2), Irreps("1o"), dim=0).shape
        torch.Size([3, 2])
    """
    if not -features.ndim <= dim < features.ndim or features.shape[dim] != irreps.dim:
        wanted = f"features [..., {irreps.dim}]" if dim == -1 else f"features with {irreps.dim} columns along dim={dim}"
        raise ShapeError(f"{name} needs {wanted} for irreps = {irreps}; got {list(features.shape)}.")
    return features


def fits(x: Tensor, own: Tensor) -> bool:
    """Return whether a tensor may meet one that a module owns: one dtype and device, or autocast will see to the dtype.

    Autocast never rounds float64, so that has to fit.

    Example:
        >>> fits(torch.zeros(1), torch.zeros(1)), fits(torch.zeros(1).double(), torch.zeros(1))
        (True, False)
    """
    if x.device != own.device:
        return False
    return x.dtype == own.dtype or (x.dtype != torch.float64 and autocasting(x.device))


def checked_features(name: str, features: Tensor, irreps: Irreps, own: Tensor | None = None, dim: int = -1) -> Tensor:
    """Return features that fit irreps and what a module owns; under autocast in the dtype of what it owns.

    Args:
        name: Of the module.
        features: Shape ``[..., irreps.dim]``.
        irreps: How they transform.
        own: A parameter or buffer of the module; None if it has none.
        dim: The axis along which the irreps lie.

    Raises:
        ShapeError: If that axis does not have the size of the irreps.
        DtypeError: If features are not floating-point, or not of the dtype and on the device of ``own``.

    Example:
        >>> checked_features("Norm", torch.zeros(2, 3), Irreps("1o")).shape
        torch.Size([2, 3])
    """
    checked_width(name, features, irreps, dim)
    if not features.is_floating_point():
        raise DtypeError(f"{name} needs floating-point features; got {features.dtype}. Write features.float().")
    if own is None:
        return features
    if fits(features, own):
        return features.to(own.dtype)
    raise DtypeError(
        f"{name} needs features and parameters of one dtype on one device; got features {str(features.dtype)[6:]} on "
        f"{features.device}, parameters {str(own.dtype)[6:]} on {own.device}. Move them with .to(...)."
    )


def _repeated(x: Tensor, times: int) -> Tensor:
    """Repeat each column, ``[..., n]`` to ``[..., n * times]``."""
    return x if times == 1 else x.unsqueeze(-1).expand(*x.shape, times).flatten(-2)


def _joined(parts: list[Tensor], like: Tensor) -> Tensor:
    """Lay parts side by side; without any there are no columns."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts, dim=-1) if parts else like.narrow(-1, 0, 0)
