"""Functions of the edge length on which a radial network stands."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError
from irrepnet.math.bessel import sinc, sine_ratios
from irrepnet.nn.envelope import check_cutoff, check_lengths

__all__ = ["BesselBasis"]


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of order 0 that vanish at the cutoff, orthogonal in the ball of that radius.

    .. math:: b_k(r) = \sqrt{\frac{2}{c}} \, \frac{\sin(k \pi r / c)}{k^p \, r}, \qquad
              \int_0^c b_k(r)\, b_l(r)\, r^2 dr = k^{-2p} \, \delta_{kl}

    They are smooth functions of the length and finite at r = 0, with all derivatives. Beyond the cutoff they go on:
    multiply them by an envelope. With a decay p > 0 the fast ones are small, so what is learned from them is smooth.

    Args:
        cutoff: Radius c of the ball, Å.
        num_basis: Number of functions, k = 1 ... num_basis.
        decay: The power p >= 0; at 0 the functions are orthonormal.

    Raises:
        ConfigError: If the cutoff is not positive and finite, ``num_basis`` is not an integer >= 1, or ``decay`` is
            negative or not finite.

    Reference: Gasteiger et al. 2020, Directional Message Passing, arXiv:2003.03123, eq. 7.

    Example:
        >>> basis = BesselBasis(cutoff=2.0, num_basis=3)
        >>> basis(torch.tensor([0.0, 0.5]))
        tensor([[1.5708, 3.1416, 4.7124],
                [1.4142, 2.0000, 1.4142]])
    """

    chebyshev: Tensor
    order: Tensor

    def __init__(self, cutoff: float, num_basis: int = 8, *, decay: float = 0.0) -> None:
        super().__init__()
        if isinstance(num_basis, bool) or not isinstance(num_basis, int) or num_basis < 1:
            raise ConfigError(f"BesselBasis needs an integer num_basis >= 1; got {num_basis!r}. Take 8.")
        if not isinstance(decay, (int, float)) or not 0 <= decay < math.inf:
            raise ConfigError(f"BesselBasis needs a finite decay >= 0; got {decay!r}. Take 0 or 1.")
        self.cutoff = check_cutoff(cutoff)
        self.num_basis = num_basis
        self.decay = float(decay)
        chebyshev, order = self._constants(like=torch.empty(0))
        self.register_buffer("chebyshev", chebyshev, persistent=False)
        self.register_buffer("order", order, persistent=False)

    def forward(self, edge_len: Tensor) -> Tensor:
        """Evaluate the functions.

        Args:
            edge_len: Lengths >= 0, shape ``[...]``, Å.

        Returns:
            Shape ``[..., num_basis]``, Å^(-3/2).

        Raises:
            DtypeError: If lengths are not of the dtype of the module.
        """
        check_lengths("BesselBasis", edge_len, self.order)
        # Divided by r once for each edge rather than once for each function: sin(k x) / x = (sin x / x) U_{k-1}(cos x).
        x = edge_len * (math.pi / self.cutoff)
        ratios = torch.cos(x.unsqueeze(-1) * self.order) @ self.chebyshev  # [..., K], sin(k x) / (k^p sin x)
        norm = math.sqrt(2 / self.cutoff) * math.pi / self.cutoff
        return ratios * (norm * sinc(x)).unsqueeze(-1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BesselBasis:
        """Move, and make the constants anew: ``to_empty`` would leave them without values."""
        super()._apply(fn, recurse)
        self.chebyshev, self.order = self._constants(like=self.chebyshev)
        return self

    def _constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return m and, for each m, the coefficients of cos(m x) in sin(k x) / (k^p sin x), ``[K, K]``, those first."""
        order = torch.arange(self.num_basis, dtype=torch.float64, device="cpu")
        chebyshev = torch.tensor(sine_ratios(self.num_basis), dtype=torch.float64, device="cpu")
        chebyshev = chebyshev * (order + 1) ** -self.decay  # function k is column k - 1
        return chebyshev.to(like), order.to(like)

    def extra_repr(self) -> str:
        """Name the arguments in ``repr``."""
        decay = f", decay={self.decay:g}" if self.decay else ""
        return f"cutoff={self.cutoff}, num_basis={self.num_basis}{decay}"
