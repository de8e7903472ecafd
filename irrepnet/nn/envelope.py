"""A window that takes edges smoothly to zero at the cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError

__all__ = ["PolynomialEnvelope", "check_cutoff", "check_lengths"]


class PolynomialEnvelope(nn.Module):
    r"""Polynomial u(r) that is 1 at r = 0 and has value, slope and curvature zero at the cutoff; zero beyond.

    .. math:: u(r) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2)\, x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2}
                   = (1 - x)^3 \sum_{k=0}^{p-1} \tfrac{(k+1)(k+2)}{2}\, x^k, \qquad x = r / \text{cutoff}

    The product is what is computed: next to the cutoff it keeps its digits and its sign, where the sum cancels.

    Args:
        cutoff: Distance at which it reaches zero, Å.
        p: Power; the larger, the longer u stays near 1.

    Raises:
        ConfigError: If the cutoff is not positive and finite, or ``p`` is not an integer >= 2.

    Reference: Gasteiger et al. 2020, Directional Message Passing, arXiv:2003.03123, eq. 8.

    Example:
        >>> PolynomialEnvelope(cutoff=4.0)(torch.tensor([0.0, 2.0, 4.0, 5.0]))
        tensor([1.0000, 0.8555, 0.0000, 0.0000])
    """

    def __init__(self, cutoff: float, p: int = 6) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, int) or p < 2:
            raise ConfigError(f"PolynomialEnvelope needs an integer power p >= 2; got {p!r}. Take 6.")
        self.cutoff = check_cutoff(cutoff)
        self.p = p

    def forward(self, edge_len: Tensor) -> Tensor:
        """Evaluate the polynomial.

        Args:
            edge_len: Lengths >= 0, shape ``[...]``, Å.

        Returns:
            Shape ``[...]``.

        Raises:
            DtypeError: If lengths are not floating-point.
        """
        check_lengths("PolynomialEnvelope", edge_len)
        x = edge_len * (1 / self.cutoff)
        below = (1 - x).clamp(min=0)
        x = 1 - below  # at most 1, so that nothing overflows beyond the cutoff
        polynomial = torch.full_like(x, self.p * (self.p + 1) / 2)
        for k in reversed(range(self.p - 1)):
            polynomial = polynomial * x + (k + 1) * (k + 2) / 2
        return below * below * below * polynomial

    def extra_repr(self) -> str:
        """Name the arguments in ``repr``."""
        return f"cutoff={self.cutoff}, p={self.p}"


def check_lengths(name: str, edge_len: Tensor, own: Tensor | None = None) -> None:
    """Raise ``DtypeError`` unless lengths are floating-point numbers of the dtype of what a module owns.

    Example:
        >>> check_lengths("BesselBasis", torch.zeros(2), torch.zeros(3))
    """
    if not edge_len.is_floating_point():
        raise DtypeError(f"{name} needs floating-point edge_len; got {edge_len.dtype}. Write edge_len.float().")
    if own is not None and edge_len.dtype != own.dtype:
        raise DtypeError(
            f"{name} needs edge_len of its own dtype; got edge_len {str(edge_len.dtype)[6:]}, "
            f"own {str(own.dtype)[6:]}. Move them with .to(...)."
        )


def check_cutoff(cutoff: float) -> float:
    """Return the cutoff if it is a positive, finite number; else raise ``ConfigError``.

    Example:
        >>> check_cutoff(4)
        4.0
    """
    if isinstance(cutoff, bool) or not isinstance(cutoff, (int, float)) or not 0 < cutoff < math.inf:
        raise ConfigError(f"cutoff needs a positive length in Å; got {cutoff!r}. Take 4 to 6 for atoms.")
    return float(cutoff)
