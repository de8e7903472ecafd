"""The repulsion of nuclei that come close, which no training set teaches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn.envelope import PolynomialEnvelope, check_lengths

__all__ = ["ZBLRepulsion"]

_COULOMB = 14.3996454784  # e^2 / (4 pi epsilon_0), eV Å; CODATA 2018
_BOHR = 0.529177210903  # Å; CODATA 2018
# Screening length and function of Ziegler, Biersack and Littmark 1985, The Stopping and Range of Ions in Solids, eqs.
# 2-56 to 2-60; LAMMPS's pair_style zbl has the same digits.
_LENGTH, _POWER = 0.8854 * _BOHR, 0.23
_AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
_EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


class ZBLRepulsion(nn.Module):
    r"""Screened Coulomb energy of two nuclei, by Ziegler, Biersack and Littmark, times an envelope.

    .. math:: V_{ij}(r) = u(r)\, \frac{e^2}{4 \pi \epsilon_0} \frac{Z_i Z_j}{r}\, \phi(r / a_{ij}), \qquad
              a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}

    with the universal screening function :math:`\phi(x) = \sum_k A_k e^{-b_k x}`, of four terms. It has no parameters.

    The envelope u is 1 at r = 0 and ends at a distance of its own for each pair. A good end is the shortest distance
    of the pair that a network was trained on: nearer, nothing but this is known; farther, the network knows better, and
    would have to learn what takes the repulsion away again, which at bonds is ten times an ordinary force. The covalent
    radii are too short an end for pairs that do not bond: oxygen atoms of water are never seen nearer than 2.4 Å, and
    networks have holes at 1.6 Å, 0.3 Å beyond the sum of their radii.

    Args:
        atomic_numbers: Of the S species, in the order of their numbers.
        ends: Where value, slope and curvature of V reach zero, Å, one for each unordered pair of species: for species
            0, 1, 2 those of 00, 01, 02, 11, 12, 22.
        envelope_power: The power p of the envelope.

    Raises:
        ConfigError: If an atomic number or an end is not positive, there is not one end for each pair, or the power is
            not an integer >= 2.

    Reference: Ziegler, Biersack and Littmark 1985, The Stopping and Range of Ions in Solids, Pergamon, New York.

    Example:
        >>> repulsion = ZBLRepulsion([1, 8], ends=[1.4, 1.0, 2.4])
        >>> lengths = torch.tensor([0.8, 1.6, 2.4], dtype=torch.float64)
        >>> repulsion(lengths, torch.tensor([[0, 1, 1], [1, 1, 1]]))
        tensor([1.9152, 1.9536, 0.0000], dtype=torch.float64)
    """

    atomic_numbers: Tensor
    ends: Tensor

    def __init__(self, atomic_numbers: Sequence[int], ends: Sequence[float], envelope_power: int = 6) -> None:
        super().__init__()
        self._numbers, self._ends = tuple(atomic_numbers), tuple(float(end) for end in ends)
        pairs = len(self._numbers) * (len(self._numbers) + 1) // 2
        if min(self._numbers, default=1) < 1:
            raise ConfigError(f"ZBLRepulsion needs atomic numbers >= 1; got {self._numbers}.")
        if len(self._ends) != pairs or not all(0 < end < math.inf for end in self._ends):
            raise ConfigError(f"ZBLRepulsion needs {pairs} positive ends, one for each pair; got {self._ends}.")
        self.envelope = PolynomialEnvelope(1.0, envelope_power)
        self.register_buffer("atomic_numbers", None, persistent=False)
        self.register_buffer("ends", None, persistent=False)
        self._make_constants(torch.empty(0).device)

    def forward(self, edge_len: Tensor, species: Tensor) -> Tensor:
        """Return the energy of each pair.

        Args:
            edge_len: Lengths > 0, shape ``[E]``, Å.
            species: Numbers of the species at both ends, int64, shape ``[2, E]``.

        Returns:
            Shape ``[E]``, eV, in float64 whatever the dtype of the lengths.

        Raises:
            ShapeError: If shapes do not fit each other.
            DtypeError: If lengths are not floating-point, or species not int64.
        """
        check_lengths("ZBLRepulsion", edge_len)
        if species.dtype != torch.int64:
            raise DtypeError(f"ZBLRepulsion needs species in int64; got {species.dtype}. Write species.long().")
        if edge_len.ndim != 1 or species.shape != (2, *edge_len.shape):
            raise ShapeError(
                f"ZBLRepulsion needs edge_len [E] and species [2, E]; got {list(edge_len.shape)} and "
                f"{list(species.shape)}."
            )
        r = edge_len.double()
        charges = self.atomic_numbers.double()
        inverse_length = charges.pow(_POWER)[species].sum(dim=0) / _LENGTH  # [E] 1/Å
        x = (r * inverse_length).unsqueeze(-1)
        screening = torch.exp(-x * x.new_tensor(_EXPONENTS)) @ x.new_tensor(_AMPLITUDES)  # [E]
        envelope = self.envelope(r / self.ends[species[0], species[1]])
        return envelope * screening * charges[species].prod(dim=0) * _COULOMB / r

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ZBLRepulsion:
        """Move, and make the constants anew: ``to_empty`` would leave them without values."""
        super()._apply(fn, recurse)
        self._make_constants(self.atomic_numbers.device)
        return self

    def _make_constants(self, device: torch.device) -> None:
        # float64 in a model of any dtype, so not what a cast has left of them.
        self.atomic_numbers = torch.tensor(self._numbers, dtype=torch.int64, device=device)
        size = len(self._numbers)
        upper = torch.triu_indices(size, size, device=device)
        ends = torch.zeros(size, size, dtype=torch.float64, device=device)
        ends[upper[0], upper[1]] = ends[upper[1], upper[0]] = torch.tensor(
            self._ends, dtype=torch.float64, device=device
        )
        self.ends = ends

    def __repr__(self) -> str:
        return f"ZBLRepulsion(Z = {', '.join(map(str, self._numbers))} | r < {max(self._ends)})"
