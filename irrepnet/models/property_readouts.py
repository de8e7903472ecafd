"""How a property of a structure is made of what a network says of its atoms: one small readout for each kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from irrepnet.data.graph import Graph
from irrepnet.errors import DataError
from irrepnet.models.target_model import Atoms, Readout, small_readout, start_small
from irrepnet.models.trunk import edge_vectors
from irrepnet.nn.envelope import PolynomialEnvelope
from irrepnet.nn.pool import IrrepsReadout, ScalarReadout, sum_pool
from irrepnet.o3.irreps import Irreps
from irrepnet.ops.scatter import scatter_sum

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

    With the features :math:`x^0` of isolated atoms, so that such an atom has its shift :math:`\epsilon`, but for
    rounding.

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
        per_atom = _beyond_vacuum(self.value, atoms) * self.scale + self.shifts[atoms.species]
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

    .. math:: \mu = \sum_i q_i (r_i - c) + \lambda v_i, \qquad
              q_i = \frac Q N + \frac \lambda Z \sum_{j \ne i} u(r_{ij}) (a(x_i) - a(x_j))

    Neighbours exchange charge by the difference of their scalars a, less and less up to the cutoff, where the envelope
    u ends. What one atom gains another one loses, so charges add up to Q, and two neutral molecules far apart have the
    sum of their dipoles, whatever they are. The charge of an ion is spread over all N atoms alike, so the dipoles of
    ions do not add up. Here c is the centre of nuclear charge, Z the usual number of neighbours, and the vectors v are
    linear in the features.

    Args:
        irreps_in: Of the features; with 1o.
        hidden: Widths of the hidden layers of the network a.
        envelope: u.
        avg_num_neighbors: Z.
        total_charge: Q, in units of the dipole per Å.
        scale: The unit of charges.
        norm: Return the length of the dipole; its slope is zero where it is zero.
    """

    total_charge: Tensor
    scale: Tensor

    def __init__(
        self,
        irreps_in: Irreps,
        hidden: Sequence[int],
        *,
        envelope: PolynomialEnvelope,
        avg_num_neighbors: float,
        total_charge: float,
        scale: float,
        norm: bool,
    ) -> None:
        super().__init__(total_charge=total_charge, scale=scale)
        self.norm, self.avg_num_neighbors, self.envelope = norm, avg_num_neighbors, envelope
        self.affinity = small_readout(irreps_in, hidden)
        self.vector = IrrepsReadout(irreps_in, "1o")
        start_small(self.vector)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B, 3]``, or ``[B]`` for a norm, float64."""
        graph = atoms.graph
        count = sum_pool(torch.ones_like(graph.batch), graph.batch, graph.num_graphs)  # [B]
        charge = self._exchanged(atoms) * self.scale + self.total_charge / count[graph.batch]  # [N]
        per_atom = charge[:, None] * from_centre(graph) + self.vector(atoms.feats).double() * self.scale
        dipole = sum_pool(per_atom, graph.batch, graph.num_graphs)
        return torch.linalg.vector_norm(dipole, dim=1) if self.norm else dipole

    def _exchanged(self, atoms: Atoms) -> Tensor:
        """Return the charge that each atom gains from its neighbours, ``[N]``, float64."""
        graph, affinity = atoms.graph, self.affinity.per_node(atoms.feats)
        src, dst = graph.edge_index
        share = self.envelope(edge_vectors(graph).to(affinity.dtype).norm(dim=1)) / self.avg_num_neighbors  # [E]
        gain = (share * (affinity[dst] - affinity[src])).double() / 2  # the edge back has the other half
        return scatter_sum(gain, dst, graph.num_nodes) - scatter_sum(gain, src, graph.num_nodes)

    def extra_repr(self) -> str:
        """Say in ``repr`` whether it is a length."""
        return f"norm={self.norm}"


class SecondMomentReadout(Readout):
    r"""Charges times squared distances to the centre of nuclear charge c, and a term of each atom.

    .. math:: y = \sum_i (Q_{s(i)} + \lambda q(x_i))\, |r_i - c|^2
                  + \epsilon_{s(i)} + \lambda (t(x_i) - t(x^0_{s(i)}))

    The charges Q and shifts :math:`\epsilon` of the species say nearly all; the network adds what the surroundings
    of an atom change. The features :math:`x^0` are those of isolated atoms, so that such an atom has its shift.

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
        term = _beyond_vacuum(self.term, atoms) * self.scale + self.shifts[atoms.species]
        per_atom = charge * from_centre(graph).square().sum(dim=1) + term
        return sum_pool(per_atom, graph.batch, graph.num_graphs)


def _beyond_vacuum(network: ScalarReadout, atoms: Atoms) -> Tensor:
    """Return what a network says of each atom less what it says of an isolated one, ``[N]``, float64."""
    value, vacuum = network.per_node(torch.cat([atoms.feats, atoms.vacuum])).split(
        [len(atoms.feats), len(atoms.vacuum)]
    )
    return (value - vacuum[atoms.species]).double()


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
