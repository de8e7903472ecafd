"""The learned function of the edge length that weighs the paths of a convolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn.envelope import PolynomialEnvelope
from irrepnet.nn.radial_basis import BesselBasis
from irrepnet.nn.second_moment import second_moment_factor

__all__ = ["RadialNetwork"]


class RadialNetwork(nn.Module):
    r"""Smooth learned functions of the edge length that end at the cutoff.

    .. math:: w(r) = s\, u(r)\, \mathrm{MLP}(b(r))

    with the Bessel functions b, the polynomial envelope u, and SiLU between layers without bias. Weights are drawn from
    N(0, 1) and divided by the root of their number of inputs when used; together with the factor that keeps SiLU at
    second moment 1, and the volume over which the Bessel functions are normal, outputs begin at unit scale.

    Args:
        cutoff: Length at which value, slope and curvature of w reach zero, Å.
        num_out: Number of functions.
        num_basis: Number of Bessel functions.
        hidden: Widths of the hidden layers.
        envelope_power: The power p of the envelope.
        scale: The constant s.

    Raises:
        ConfigError: If a size is not positive, or as ``BesselBasis`` and ``PolynomialEnvelope``.

    Reference: Batzner et al. 2022, arXiv:2101.03164, methods.

    Example:
        >>> network = RadialNetwork(cutoff=4.0, num_out=16)
        >>> network(torch.tensor([1.0, 2.5, 4.0])).shape
        torch.Size([3, 16])
        >>> network(torch.tensor([4.0, 7.0])).abs().max().item()
        0.0
    """

    def __init__(
        self,
        cutoff: float,
        num_out: int,
        *,
        num_basis: int = 8,
        hidden: Sequence[int] = (64, 64),
        envelope_power: int = 6,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.basis = BesselBasis(cutoff, num_basis)
        self.envelope = PolynomialEnvelope(cutoff, envelope_power)
        sizes = [num_basis, *hidden, num_out]
        if min(sizes) < 1:
            raise ConfigError(f"RadialNetwork needs widths >= 1; got num_out = {num_out}, hidden = {tuple(hidden)}.")
        self.weights = nn.ParameterList(torch.randn(a, b) for a, b in itertools.pairwise(sizes))
        # An edge drawn from the ball sees Bessel functions of second moment 3 / c^3; SiLU's factor is known exactly.
        inputs = [math.sqrt(cutoff**3 / 3), *[second_moment_factor(silu)] * len(hidden)]
        self._factors = [factor / math.sqrt(size) for factor, size in zip(inputs, sizes, strict=False)]
        self._factors[-1] *= scale

    def forward(self, edge_len: Tensor) -> Tensor:
        """Evaluate the functions.

        Args:
            edge_len: Lengths >= 0, shape ``[E]``, Å.

        Returns:
            Shape ``[E, num_out]``; zero for lengths from the cutoff on.

        Raises:
            ShapeError: If ``edge_len`` is not ``[E]``.
            DtypeError: If lengths and weights differ in dtype.
        """
        if edge_len.ndim != 1:
            raise ShapeError(f"RadialNetwork needs edge_len [E]; got {list(edge_len.shape)}. Give one length per edge.")
        if edge_len.dtype != self.weights[0].dtype:
            raise DtypeError(
                f"RadialNetwork needs edge_len and weights of one dtype; got edge_len {str(edge_len.dtype)[6:]}, "
                f"weights {str(self.weights[0].dtype)[6:]}. Move them with .to(...)."
            )
        x = self.basis(edge_len)  # [E, num_basis]
        *first, last = zip(self.weights, self._factors, strict=True)
        for weight, factor in first:
            x = silu(x @ (weight * factor))  # [E, hidden]; factors go to the weights, which are small
        # The last map is linear and has no bias, so the envelope may come before it, where there are fewer columns.
        return (x * self.envelope(edge_len).unsqueeze(-1)) @ (last[0] * last[1])

    def extra_repr(self) -> str:
        """Name the widths in ``repr``."""
        return " -> ".join(str(size) for size in [self.basis.num_basis, *[w.shape[1] for w in self.weights]])
