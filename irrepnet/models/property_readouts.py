"""How a property of a structure is made of what a network says of its atoms: one small readout for each kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from irrepnet.data.graph import Graph
from irrepnet.errors import DataError
from irrepnet.models.target_model import Atoms, Readout, small_readout, start_small
from irrepnet.nn.pool import IrrepsReadout, sum_pool
from irrepnet.o3.irreps import Irreps

__all__ = [
    "DipoleReadout",
    "ExtensiveReadout",
    "IntensiveReadout",
    "SecondMomentReadout",
    "from_centre",
    "softmax_pool",
]


class ExtensiveReadout(Readout):
    r"""A sum over atoms, :math:`y = \sum_i \epsilon_{s(i)} + \lambda\, (u(x_i) - u(x^0_{s(i)}))`.

    With the features :math:`x^0` of isolated atoms, so that such an atom has exactly its shift :math:`\epsilon`.

    Args:
        irreps_in: Of the features.
        hidden: Widths of the hidden layers of the network u.
        shifts: One for each species.
        scale: The unit of u.

    Example:
        >>> ExtensiveReadout(Irreps("4x0e"), (8,), shifts=(1.0, 2.0), scale=0.5)
        ExtensiveReadout(
          (value): ScalarReadout(4x0e -> 8x0e -> 1x0e | 40 weights)
        )
    """

    shifts: Tensor
    scale: Tensor

    def __init__(self, irreps_in: Irreps, hidden: Sequence[int], *, shifts: Sequence[float], scale: float) -> None:
        super().__init__(shifts=shifts, scale=scale)
        self.value = small_readout(irreps_in, hidden)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B]``, float64."""
        both = self.value.per_node(torch.cat([atoms.feats, atoms.vacuum]))
        value, vacuum = both.split([len(atoms.feats), len(atoms.vacuum)])
        per_atom = (value - vacuum[atoms.species]).double() * self.scale + self.shifts[atoms.species]
        return sum_pool(per_atom, atoms.graph.batch, atoms.graph.num_graphs)


class IntensiveReadout(Readout):
    r"""A weighted mean over atoms.

    .. math:: y = \epsilon + \lambda \sum_i w_i\, u(x_i), \qquad w = \mathrm{softmax}(a(x_1), \ldots, a(x_N))

    The atoms where a property such as an orbital energy lives count most; which they are is learned. Two copies of a
    molecule, far apart, have the value of one.

    Args:
        irreps_in: Of the features.
        hidden: Widths of the hidden layers of the networks u and a.
        shift: The usual value.
        scale: The unit of u.

    Reference: Chen et al. 2023, Chemical Science 14, 4913, compares ways of pooling for orbital energies.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, irreps_in: Irreps, hidden: Sequence[int], *, shift: float, scale: float) -> None:
        super().__init__(shift=shift, scale=scale)
        self.value = small_readout(irreps_in, hidden)
        self.weight = small_readout(irreps_in, hidden)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B]``, float64."""
        value, logits = self.value.per_node(atoms.feats).double(), self.weight.per_node(atoms.feats).double()
        return self.shift + self.scale * softmax_pool(value, logits, atoms.graph.batch, atoms.graph.num_graphs)


class DipoleReadout(Readout):
    r"""Charges times positions, and a vector of each atom.

    .. math:: \mu = \lambda \sum_i q_i (r_i - c) + v_i, \qquad \lambda \sum_i q_i = Q

    The charges q are scalars of the atoms, corrected by one and the same number so that they add up to Q; c is the
    centre of nuclear charge, and the vectors v are linear in the features.

    Args:
        irreps_in: Of the features; with 1o.
        hidden: Widths of the hidden layers of the network for the charges.
        total_charge: Q, in units of the dipole per Å.
        scale: The unit of charges.
        norm: Return the length of the dipole; its slope is zero where it is zero.
    """

    total_charge: Tensor
    scale: Tensor

    def __init__(
        self, irreps_in: Irreps, hidden: Sequence[int], *, total_charge: float, scale: float, norm: bool
    ) -> None:
        super().__init__(total_charge=total_charge, scale=scale)
        self.norm = norm
        self.charge = small_readout(irreps_in, hidden)
        self.vector = IrrepsReadout(irreps_in, "1o")
        start_small(self.vector)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B, 3]``, or ``[B]`` for a norm, float64."""
        graph = atoms.graph
        charge = self.charge.per_node(atoms.feats).double() * self.scale
        count = sum_pool(torch.ones_like(charge), graph.batch, graph.num_graphs).clamp(min=1)
        excess = (sum_pool(charge, graph.batch, graph.num_graphs) - self.total_charge) / count
        charge = charge - excess[graph.batch]
        per_atom = charge[:, None] * from_centre(graph) + self.vector(atoms.feats).double() * self.scale
        dipole = sum_pool(per_atom, graph.batch, graph.num_graphs)
        return torch.linalg.vector_norm(dipole, dim=1) if self.norm else dipole

    def extra_repr(self) -> str:
        """Say in ``repr`` whether it is a length."""
        return f"norm={self.norm}"


class SecondMomentReadout(Readout):
    r"""Charges times squared distances to the centre of nuclear charge c, and a term of each atom.

    .. math:: y = \sum_i (Q_{s(i)} + \lambda q_i)\, |r_i - c|^2 + \epsilon_{s(i)} + \lambda t_i

    The charges Q and shifts :math:`\epsilon` of the species say nearly all; the network adds what the surroundings
    of an atom change.

    Args:
        irreps_in: Of the features.
        hidden: Widths of the hidden layers of the networks q and t.
        charges: One for each species, in units of the result per Å^2.
        shifts: One for each species.
        scale: The unit of q and t.

    Reference: Schütt et al. 2021, arXiv:2102.03150, section 4.2, for the sum over charges.
    """

    charges: Tensor
    shifts: Tensor
    scale: Tensor

    def __init__(
        self,
        irreps_in: Irreps,
        hidden: Sequence[int],
        *,
        charges: Sequence[float],
        shifts: Sequence[float],
        scale: float,
    ) -> None:
        super().__init__(charges=charges, shifts=shifts, scale=scale)
        self.charge = small_readout(irreps_in, hidden)
        start_small(self.charge.network[-1])  # again: squared distances add up to some 100 Å^2
        self.term = small_readout(irreps_in, hidden)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B]``, float64."""
        graph = atoms.graph
        charge = self.charges[atoms.species] + self.charge.per_node(atoms.feats).double() * self.scale
        term = self.shifts[atoms.species] + self.term.per_node(atoms.feats).double() * self.scale
        per_atom = charge * from_centre(graph).square().sum(dim=1) + term
        return sum_pool(per_atom, graph.batch, graph.num_graphs)


def softmax_pool(values: Tensor, logits: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Return the mean of the values of each graph, weighted by the softmax of the logits of its nodes.

    Args:
        values: Shape ``[N]``.
        logits: Shape ``[N]``.
        batch: Graph of each node, int64, shape ``[N]``.
        num_graphs: Number of graphs; one without nodes gets zero.

    Returns:
        Shape ``[num_graphs]``, float64.

    Example:
        >>> softmax_pool(torch.tensor([1.0, 3.0, 5.0]), torch.zeros(3), torch.tensor([0, 0, 1]), num_graphs=2)
        tensor([2., 5.], dtype=torch.float64)
    """
    highest = logits.new_full((num_graphs,), -torch.inf).scatter_reduce(0, batch, logits.detach(), "amax")
    weights = (logits - highest[batch]).exp()  # the highest is 1: no overflow, and a sum of at least 1
    total = sum_pool(torch.stack([weights, weights * values], dim=1), batch, num_graphs)
    return total[:, 1] / total[:, 0].clamp(min=1)


def from_centre(graph: Graph) -> Tensor:
    """Return the positions relative to the centre of nuclear charge of each structure, ``[N, 3]``, Å, float64.

    Raises:
        DataError: If a structure is periodic: it has no centre.

    Example:
        >>> hydrogen = Graph.checked(torch.eye(3)[:2], torch.tensor([1, 1]), torch.zeros(2, 0).long())
        >>> from_centre(hydrogen)
        tensor([[ 0.5000, -0.5000,  0.0000],
                [-0.5000,  0.5000,  0.0000]], dtype=torch.float64)
    """
    if bool(graph.pbc.any()):
        index = int(graph.pbc.any(dim=1).nonzero()[0])
        raise DataError(
            f"a dipole or second moment needs open structures, which have a centre; graph {index} is periodic; "
            "set pbc=False, or use a tensor model, which reads a dipole from the atoms' vectors alone"
        )
    pos, charge = graph.pos.double(), graph.species.double()
    moments = sum_pool(torch.cat([charge[:, None], charge[:, None] * pos], dim=1), graph.batch, graph.num_graphs)
    return pos - (moments[:, 1:] / moments[:, :1])[graph.batch]
