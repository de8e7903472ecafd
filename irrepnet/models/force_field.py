"""A conservative, equivariant interatomic potential in the manner of NequIP: energy, forces and stress of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, FiniteFloat, PositiveFloat, model_validator
from torch import Tensor, nn

from irrepnet.data.graph import Graph
from irrepnet.errors import DataError
from irrepnet.models.repulsion import bond_lengths, species_pairs
from irrepnet.models.trunk import Trunk, scale_to
from irrepnet.models.trunk_config import DTYPES, TrunkConfig, Widths
from irrepnet.nn.pool import ScalarReadout, sum_pool
from irrepnet.nn.radial_network import RadialNetwork
from irrepnet.nn.zbl import ZBLRepulsion
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.scatter import scatter_sum

__all__ = ["ForceField", "ForceFieldConfig", "Prediction"]


class ForceFieldConfig(TrunkConfig):
    """What a :class:`ForceField` is made of.

    Raises:
        pydantic.ValidationError: If a key is unknown or a value is out of range (a ``ValueError`` too).

    Example:
        >>> config = ForceFieldConfig(species=("H", "O"), cutoff=4.0)
        >>> config.irreps_hidden, config.shifts
        ('16x0e+16x1o', (0.0, 0.0))
    """

    DETERMINED_BY_DATA: ClassVar[tuple[str, ...]] = (
        *TrunkConfig.DETERMINED_BY_DATA,
        "energy_scale",
        "species_shifts",
        "repulsion_ends",
    )

    readout_hidden: Widths = Field((16,), description="widths of the energy readout's hidden layers")
    energy_scale: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        1.0, description="energy that one unit of the network's output stands for, eV; one number or one per species"
    )
    species_shifts: tuple[FiniteFloat, ...] = Field(
        (), description="energy of an isolated atom of each species, eV; empty: zero"
    )
    repulsion: Literal["none", "zbl"] = Field(
        "none", description="zbl: the screened repulsion of nuclei (Ziegler-Biersack-Littmark) is added to the network"
    )
    repulsion_ends: tuple[PositiveFloat, ...] | None = Field(
        None,
        description="where the repulsion of each pair of species ends (of H, O: HH, HO, OO), Å; null: at bond lengths",
    )

    @property
    def scales(self) -> tuple[float, ...]:
        """One energy scale per species, eV."""
        return self.energy_scale if isinstance(self.energy_scale, tuple) else (self.energy_scale,) * len(self.species)

    @property
    def shifts(self) -> tuple[float, ...]:
        """One energy shift per species, eV."""
        return self.species_shifts or (0.0,) * len(self.species)

    @property
    def ends(self) -> tuple[float, ...]:
        """Where the repulsion of each pair of species ends, Å; not beyond the cutoff."""
        if self.repulsion_ends is None:
            return bond_lengths(self.species, self.cutoff)
        return tuple(min(end, self.cutoff) for end in self.repulsion_ends)

    @model_validator(mode="after")
    def _one_value_per_species(self) -> ForceFieldConfig:
        if not self.species:  # a training configuration may leave them open
            return self
        for name in ("energy_scale", "species_shifts"):
            values = getattr(self, name)
            if self.species and isinstance(values, tuple) and values and len(values) != len(self.species):
                raise ValueError(f"{name} needs one value for each of {', '.join(self.species)}; found {len(values)}")
        pairs = species_pairs(self.species)
        if self.repulsion_ends is not None and len(self.repulsion_ends) != len(pairs):
            wanted = ", ".join(f"{a}-{b}" for a, b in pairs)
            raise ValueError(f"repulsion_ends needs one value for each of {wanted}; found {len(self.repulsion_ends)}")
        return self


class Prediction(NamedTuple):
    """What a force field says of a graph, in float64 whatever the model's dtype.

    Example:
        >>> Prediction(energy=torch.zeros(1), forces=torch.zeros(3, 3), stress=None)._fields
        ('energy', 'forces', 'stress')
    """

    energy: Tensor  # [B] eV
    forces: Tensor  # [N, 3] eV/Å
    stress: Tensor | None  # [B, 3, 3] eV/Å^3


class ForceField(nn.Module):
    r"""Energy of atoms as a sum over atoms, and its exact derivatives.

    .. math:: E = \sum_i \epsilon_{s(i)} + \lambda_{s(i)} \, (u(x_i) - u(x^0_{s(i)}))
                  + \tfrac12 \sum_e V(r_e), \qquad
              F_i = -\frac{\partial E}{\partial r_i}, \qquad
              \sigma_{ab} = \frac{1}{V} \frac{\partial E}{\partial \varepsilon_{ab}}

    The features :math:`x_i` are a species embedding after ``num_layers`` of :class:`~irrepnet.nn.PointConvolution`,
    self-connection and gate; :math:`u` is a small network on their scalars; shifts :math:`\epsilon` and scales
    :math:`\lambda` are given. The features :math:`x^0_s` of an isolated atom are computed beside them, so that such an
    atom has the energy :math:`\epsilon_s` but for rounding. The repulsion V of nuclei is
    :class:`~irrepnet.nn.ZBLRepulsion` or zero; edges come in pairs, so each counts half. Every sum over atoms is in
    float64. Outputs can be differentiated once more in training mode, and where ``graph.pos`` requires a gradient.

    Args:
        config: What it is made of.

    Reference: Batzner et al. 2022, Nature Communications 13, 2453 (arXiv:2101.03164).

    Example:
        >>> from irrepnet.data import Frame, build_graph
        >>> model = ForceField(ForceFieldConfig(species=("H", "O"), irreps_hidden="4x0e+4x1o", num_layers=2)).eval()
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        >>> energy, forces, stress = model(build_graph(water, model.cutoff))
        >>> energy.shape, energy.dtype, forces.shape, stress
        (torch.Size([1]), torch.float64, torch.Size([3, 3]), None)
        >>> model.irreps_layers
        [4x0e+4x1o, 4x0e]
    """

    scales: Tensor
    shifts: Tensor

    def __init__(self, config: ForceFieldConfig):
        super().__init__()
        self.config = config
        self.metadata: dict[str, Any] = {}
        self.trunk = Trunk(config, Irreps("0e"))
        self.readout = ScalarReadout(self.irreps_layers[-1], hidden=config.readout_hidden)
        self.repulsion = ZBLRepulsion(self.atomic_numbers, config.ends) if config.repulsion == "zbl" else None
        self.to(DTYPES[config.dtype])

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Of the elements that it knows, in the order of ``config.species``."""
        return self.trunk.atomic_numbers

    @property
    def irreps_layers(self) -> list[Irreps]:
        """Irreps of the features after each layer."""
        return self.trunk.irreps_layers

    @property
    def cutoff(self) -> float:
        """Distance up to which a graph has to have edges, Å."""
        return self.config.cutoff

    @property
    def radial_networks(self) -> list[RadialNetwork]:
        """That of each layer; they differ in their weights and in the number of functions."""
        return self.trunk.radial_networks

    @property
    def dtype(self) -> torch.dtype:
        """Of the network."""
        return self.trunk.dtype

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> ForceField:
        super()._apply(fn, recurse)
        # From the configuration each time: cast to float32 and back, a shift of -2,000 eV would be off by 0.1 meV.
        for name, values in (("scales", self.config.scales), ("shifts", self.config.shifts)):
            tensor = torch.tensor(values, dtype=torch.float64, device=self.trunk.embedding.device)
            self.register_buffer(name, tensor, persistent=False)
        return self

    def forward(self, graph: Graph, *, compute_stress: bool = False) -> Prediction:
        """Return energy, forces and, where asked for, stress.

        Args:
            graph: Positions and cell in float32 or float64: edge vectors are formed in their dtype, then cast.
            compute_stress: Of every structure; each has to have a cell.

        Raises:
            DataError: If an element is unknown, a position is not finite, two atoms coincide, a stress is asked for
                where there is no cell, or the graph is on another device.
            DtypeError: If the model is neither float32 nor float64, or autocast is on.
        """
        self.trunk.check(graph)
        wants_graph = torch.is_grad_enabled() and (self.training or graph.pos.requires_grad)
        with torch.inference_mode(False), torch.enable_grad():
            edge_vec = self.trunk.edge_vectors(graph)
            if not edge_vec.requires_grad:
                edge_vec.requires_grad_()
            energy = self._energy(graph, edge_vec)
            # With respect to edges rather than positions: forces and stress are then sums of one and the same thing.
            (slope,) = torch.autograd.grad(energy.sum(), edge_vec, create_graph=wants_graph)
            src, dst = graph.edge_index
            slope = slope.double()  # [E, 3] eV/Å; summed in float64, the forces add up to zero
            forces = scatter_sum(slope, src, graph.num_nodes) - scatter_sum(slope, dst, graph.num_nodes)
            stress = _stress(graph, edge_vec.double(), slope) if compute_stress else None
        if not wants_graph:
            energy, stress = energy.detach(), None if stress is None else stress.detach()
        return Prediction(energy, forces, stress)

    def node_feats(self, graph: Graph) -> list[Tensor]:
        """Return the features after each layer, shapes ``[N, irreps_layers[k].dim]``, typed by ``irreps_layers``.

        Raises:
            DataError: As :meth:`forward`.
            DtypeError: As :meth:`forward`.
        """
        self.trunk.check(graph)
        return self.trunk(self.trunk.species(graph), graph.edge_index, self.trunk.edge_vectors(graph))

    def calibrate(self, graph: Graph) -> float:
        """Scale the weights of a fresh model so that its forces begin at the size that ``energy_scale`` stands for.

        First those of each layer, see :meth:`~irrepnet.models.Trunk.calibrate`, then the last ones of the readout. To
        unlearn forces that are many times too large takes the better part of a short training.

        What is measured is how steeply the energy rises with each edge, not the net force, which symmetry cancels: in
        a perfect crystal it is nothing but rounding. If the pulls of edges on an atom were independent, forces would
        have a root mean square of 1 in units of ``energy_scale`` per Å after this call. Repulsion is left out of it.

        Args:
            graph: Some training structures, without which nothing is known of bonds.

        Returns:
            The factor of the last weights of the readout, between 0.001 and 1000; 1 where there are no edges.

        Raises:
            DataError: As :meth:`forward`, or if slopes are not finite.
            DtypeError: As :meth:`forward`.

        Example:
            >>> from irrepnet.data import Frame, build_graph
            >>> _ = torch.manual_seed(0)
            >>> model = ForceField(ForceFieldConfig(species=("H", "O"), energy_scale=1.2))
            >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
            >>> graph = build_graph(water, model.cutoff)
            >>> _ = model.calibrate(graph)
            >>> 0.4 < model.eval()(graph).forces.square().mean().sqrt().item() < 3.6
            True
        """
        self.trunk.calibrate(graph)
        with torch.inference_mode(False), torch.enable_grad():
            edge_vec = self.trunk.edge_vectors(graph).detach().requires_grad_()
            energy = self._network_energy(self.trunk.species(graph), graph.edge_index, edge_vec)
            (slope,) = torch.autograd.grad(energy.sum(), edge_vec)
        # Every edge pulls at two atoms, and each of them has three components.
        size = (2 * slope.double().square().sum() / max(1, 3 * graph.num_nodes)).sqrt()
        wanted = self.scales[self.trunk.species(graph)].square().mean().sqrt()
        last = [layer for layer in self.readout.network if isinstance(layer, Linear)][-1]
        assert last.weight is not None
        return scale_to(float(wanted), float(size), last.weight)

    def _network_energy(self, species: Tensor, edge_index: Tensor, edge_vec: Tensor) -> Tensor:
        """Return what the network adds to the shift of each atom, ``[N]``, eV, float64."""
        isolated = torch.arange(len(self.atomic_numbers), device=species.device)  # one atom of each, without edges
        feats = self.trunk(torch.cat([species, isolated]), edge_index, edge_vec)[-1]
        atoms, vacuum = self.readout.per_node(feats).split([len(species), len(isolated)])
        return (atoms - vacuum[species]).double() * self.scales[species]

    def _energy(self, graph: Graph, edge_vec: Tensor) -> Tensor:
        species = self.trunk.species(graph)
        energy = self._network_energy(species, graph.edge_index, edge_vec) + self.shifts[species]  # [N]
        if self.repulsion is not None:  # each end of a pair has half; the edge back has the other half
            pair = self.repulsion(edge_vec.double().norm(dim=1), species[graph.edge_index])  # [E]
            energy = energy + scatter_sum(pair / 2, graph.edge_index[1], graph.num_nodes)
        return sum_pool(energy, graph.batch, graph.num_graphs)


def _stress(graph: Graph, edge_vec: Tensor, slope: Tensor) -> Tensor:
    r"""Return :math:`\frac{1}{V} \sum_e \frac{\partial E}{\partial r_e} \otimes r_e` of each structure, ``[B, 3, 3]``.

    A strain takes every edge vector r to (1 + strain) r; a rotation leaves the energy as it is, so the sum is symmetric
    up to rounding, and what is left is averaged away.
    """
    if graph.cell is None:
        raise DataError("stress needs a cell for its volume; found none; call the model with compute_stress=False")
    volume = torch.linalg.det(graph.cell.double()).abs()  # [B] Å^3
    if not bool((volume > 0).all()):
        index = int((volume <= 0).nonzero()[0])
        raise DataError(f"stress needs cells with a volume; graph {index} has none; use compute_stress=False")
    outer = slope[:, :, None] * edge_vec[:, None, :]  # [E, 3, 3]
    total = scatter_sum(outer, graph.batch[graph.edge_index[0]], graph.num_graphs)
    return (total + total.mT) / (2 * volume[:, None, None])
