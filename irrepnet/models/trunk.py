"""What all models have in common: node features after layers of convolution, self-connection and gate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.graph import Graph
from irrepnet.errors import DataError, DtypeError, IrrepsError
from irrepnet.models.trunk_config import DTYPES, TrunkConfig
from irrepnet.nn.gate import Gate
from irrepnet.nn.point_convolution import PointConvolution
from irrepnet.nn.radial_network import EdgeRadial, RadialNetwork
from irrepnet.nn.species_linear import SpeciesLinear
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.edge_order import EdgeOrder, edge_order
from irrepnet.ops.spherical_harmonics import spherical_harmonics

__all__ = ["LARGEST_FACTOR", "Trunk", "edge_vectors", "scale_to"]

LARGEST_FACTOR = 1e3  # of weights; what asks for more is no size but rounding


class _Layer(nn.Module):
    """One interaction: ``gate((convolution(linear(x)) + self_connection(x, species)) / sqrt(2))``."""

    def __init__(self, irreps_in: Irreps, irreps_hidden: Irreps, config: TrunkConfig):
        super().__init__()
        scalars = Irreps([entry for entry in irreps_hidden if entry.ir.l == 0])
        gated = Irreps([entry for entry in irreps_hidden if entry.ir.l > 0])
        self.gate = Gate(
            scalars,
            [silu if ir.p == 1 else torch.tanh for _, ir in scalars],
            Irreps([(mul, "0e") for mul, _ in gated]),
            [torch.sigmoid for _ in gated],
            gated,
            second_moment="exact",
        )
        self.linear = Linear(irreps_in, irreps_in, backend=config.backend)
        self.convolution = PointConvolution(
            irreps_in,
            Irreps.spherical_harmonics(config.lmax),
            self.gate.irreps_in,
            cutoff=config.cutoff,
            num_basis=config.num_basis,
            radial_decay=config.radial_decay,
            radial_hidden=config.radial_hidden,
            envelope_power=config.envelope_power,
            radial=config.radial,
            radial_knots=config.radial_knots,
            num_edge_types=config.num_edge_types,
            avg_num_neighbors=config.avg_num_neighbors,
            backend=config.backend,
        )
        self.self_connection = SpeciesLinear(
            irreps_in, self.gate.irreps_in, len(config.species), unreached="zero", backend=config.backend
        )
        self.irreps_out = self.gate.irreps_out

    def forward(
        self, node_feats: Tensor, species: Tensor, edge_sh: Tensor, edge_radial: EdgeRadial, edges: EdgeOrder
    ) -> Tensor:
        messages = self.messages(node_feats, edge_sh, edge_radial, edges)
        return self.gate((messages + self.self_connection(node_feats, species)) * 0.5**0.5)

    def messages(self, node_feats: Tensor, edge_sh: Tensor, edge_radial: EdgeRadial, edges: EdgeOrder) -> Tensor:
        return self.convolution(self.linear(node_feats), edge_sh, edge_radial, edges)


class Trunk(nn.Module):
    r"""Features of atoms and their surroundings, layer by layer.

    .. math:: x^0_i = e_{s(i)}, \qquad
              x^{k+1} = \mathrm{gate}\left( (C^k(L^k x^k) + S^k_{s} x^k) / \sqrt 2 \right)

    with an embedding e of the species, the convolution C over neighbours (:class:`~irrepnet.nn.PointConvolution`), a
    linear map L and a self-connection S whose weights depend on the species.

    Args:
        config: What it is made of.
        wanted: Irreps that are read from the features after the last layer. Layers keep only what can be made of
            scalars and can still become one of these.

    Attributes:
        irreps_layers: Irreps of the features after each layer.
        atomic_numbers: Of ``config.species``.

    Raises:
        IrrepsError: If the last layer cannot have one of the wanted irreps.

    Reference: Batzner et al. 2022, Nature Communications 13, 2453 (arXiv:2101.03164).

    Example:
        >>> Trunk(TrunkConfig(species=("H",), num_layers=2), Irreps("0e")).irreps_layers
        [16x0e+16x1o, 16x0e]
        >>> Trunk(TrunkConfig(species=("H",), num_layers=2), Irreps("0e + 1o")).irreps_layers
        [16x0e+16x1o, 16x0e+16x1o]
    """

    species_index: Tensor

    def __init__(self, config: TrunkConfig, wanted: Irreps):
        super().__init__()
        self.config = config
        self.atomic_numbers = tuple(atomic_number(symbol) for symbol in config.species)
        scalars = Irreps(config.irreps_hidden).count("0e")
        self.embedding = nn.Parameter(torch.randn(len(config.species), scalars))
        layers: list[_Layer] = []
        for irreps_hidden in _useful_irreps(config, wanted):
            irreps_in = layers[-1].irreps_out if layers else Irreps([(scalars, "0e")])
            layers.append(_Layer(irreps_in, irreps_hidden, config))
        self.layers = nn.ModuleList(layers)
        self.irreps_layers = [layer.irreps_out for layer in layers]
        self.to(DTYPES[config.dtype])

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Trunk:
        super()._apply(fn, recurse)
        # From the configuration each time: to_empty would leave in it what happens to lie in the memory.
        index = torch.full((len(SYMBOLS),), -1)
        index[list(self.atomic_numbers)] = torch.arange(len(self.atomic_numbers))
        self.register_buffer("species_index", index.to(self.embedding.device), persistent=False)
        return self

    @property
    def cutoff(self) -> float:
        """Distance up to which a graph has to have edges, Å."""
        return self.config.cutoff

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self.embedding.dtype

    @property
    def radial_networks(self) -> list[RadialNetwork]:
        """That of each layer; they differ in their weights and in the number of functions."""
        return [layer.convolution.radial for layer in self.layers]  # type: ignore[union-attr, misc]

    def forward(self, species: Tensor, edge_index: Tensor, edge_vec: Tensor) -> list[Tensor]:
        """Return the features after each layer, shapes ``[N, irreps_layers[k].dim]``.

        Args:
            species: Place of each atom's element in ``config.species``, as :meth:`species` returns it, ``[N]``.
            edge_index: Sources above destinations, ``[2, E]``.
            edge_vec: As :meth:`edge_vectors` returns them, ``[E, 3]``, Å.
        """
        edge_inputs = self._edge_inputs(species, edge_index, edge_vec)
        feats = [self.embedding[species]]
        for layer in self.layers:
            feats.append(layer(feats[-1], species, *edge_inputs))
        return feats[1:]

    @torch.no_grad()
    def calibrate(self, graph: Graph) -> list[float]:
        """Scale the weights of a fresh trunk so that the messages of each layer begin with a mean square of 1.

        Weights are drawn for neighbours that are independent and fill the ball evenly. Those of real structures are
        alike, and near, where Bessel functions are large: their messages add up, layer upon layer, and after five
        layers features are of size 10 to 40.

        Args:
            graph: Some training structures.

        Returns:
            The factor of the weights of each layer, between 0.001 and 1000; 1 where there are no messages.

        Raises:
            DataError: As :meth:`check`, :meth:`species` and :meth:`edge_vectors`, or if messages are not finite.
            DtypeError: As :meth:`check`.

        Example:
            >>> from irrepnet.data import Frame, build_graph
            >>> _ = torch.manual_seed(0)
            >>> trunk = Trunk(TrunkConfig(species=("H", "O"), num_layers=2), Irreps("0e"))
            >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
            >>> graph = build_graph(water, trunk.cutoff)
            >>> _ = trunk.calibrate(graph)
            >>> [round(factor, 3) for factor in trunk.calibrate(graph)]
            [1.0, 1.0]
        """
        self.check(graph)
        species = self.species(graph)
        edge_inputs = self._edge_inputs(species, graph.edge_index, self.edge_vectors(graph))
        feats, factors = self.embedding[species], []
        layers: Any = self.layers
        for layer in layers:
            messages = layer.messages(feats, *edge_inputs).double()
            size = (messages.square().sum() / max(1, messages.numel())).sqrt()
            factors.append(scale_to(1.0, float(size), layer.convolution.linear.weight))
            feats = layer(feats, species, *edge_inputs)
        return factors

    def _edge_inputs(
        self, species: Tensor, edge_index: Tensor, edge_vec: Tensor
    ) -> tuple[Tensor, EdgeRadial, EdgeOrder]:
        """Return what all layers need to know of the edges."""
        edge_sh = spherical_harmonics(edge_vec, self.config.lmax, normalize=True, backend=self.config.backend)
        edge_type = self.edge_types(species, edge_index)
        edge_radial = self.radial_networks[0].prepare(edge_vec.norm(dim=1), edge_type)
        return edge_sh, edge_radial, edge_order(edge_index, len(species))

    def check(self, graph: Graph) -> None:
        """Refuse what would give a wrong number without a word; shapes were checked when the graph was made.

        Raises:
            DataError: If the graph is on another device, or a position or a lattice vector is not finite.
            DtypeError: If the network is neither float32 nor float64, or autocast is on.
        """
        device = graph.pos.device
        if device != self.embedding.device:
            raise DataError(f"the graph must be on {self.embedding.device}; found it on {device}; use graph.to(device)")
        if self.dtype not in DTYPES.values() or torch.is_autocast_enabled(device.type):
            found = "autocast" if torch.is_autocast_enabled(device.type) else str(self.dtype)
            raise DtypeError(f"the model needs float32 or float64; found {found}; in less, derivatives are noise")
        if not bool(graph.pos.isfinite().all()):
            atom = int((~graph.pos.isfinite()).any(dim=1).nonzero()[0])
            raise DataError(f"pos needs finite numbers; found {graph.pos[atom].tolist()} at atom {atom}")
        if graph.cell is not None and not bool(graph.cell.isfinite().all()):
            index = int((~graph.cell.isfinite()).flatten(1).any(dim=1).nonzero()[0])
            raise DataError(f"cell needs finite numbers; found {graph.cell[index].tolist()} in graph {index}")

    def species(self, graph: Graph) -> Tensor:
        """Return the place of each atom's element in ``config.species``, shape ``[N]``.

        Raises:
            DataError: If an element is unknown.
        """
        in_table = (graph.species > 0) & (graph.species < len(SYMBOLS))
        species = self.species_index[graph.species * in_table]  # number 0 is no element, so unknown too
        if bool((species < 0).any()):
            atom = int((species < 0).nonzero()[0])
            number = int(graph.species[atom])
            name = SYMBOLS[number] if bool(in_table[atom]) else f"atomic number {number}"
            known = ", ".join(self.config.species)
            raise DataError(f"the model knows the elements {known}; found {name} at atom {atom}; train with it")
        return species

    def edge_types(self, species: Tensor, edge_index: Tensor) -> Tensor | None:
        """Return the number of each edge's ordered pair of species, ``[E]``; None where radial networks share them.

        Args:
            species: As :meth:`species` returns it, ``[N]``.
            edge_index: Sources above destinations, ``[2, E]``.
        """
        if self.config.num_edge_types == 1:
            return None
        src, dst = species[edge_index]
        return src * len(self.config.species) + dst

    def edge_vectors(self, graph: Graph) -> Tensor:
        """Return :func:`edge_vectors` of the graph in the dtype of the network, shape ``[E, 3]``, Å.

        Raises:
            DataError: If two atoms coincide.
        """
        edge_vec = edge_vectors(graph).to(self.dtype)
        zero = (edge_vec.detach().square().sum(dim=1) == 0).nonzero().flatten()
        if len(zero):
            src, dst = graph.edge_index[:, zero[0]].tolist()
            a, b = SYMBOLS[graph.species[src]], SYMBOLS[graph.species[dst]]
            raise DataError(
                f"edges need a length above zero; found atoms {src} ({a}) and {dst} ({b}) at one place; move one"
            )
        return edge_vec


def scale_to(wanted: float, size: float, weight: Tensor) -> float:
    """Multiply a weight by ``wanted / size``, in place, and return that factor; by 1 where the size is 0.

    Factors beyond 1000 or below 0.001 are taken to be that: such a size is rounding, or a slip in the data.

    Raises:
        DataError: If the size is not finite.

    Example:
        >>> weight = torch.ones(2)
        >>> scale_to(1.0, 4.0, weight), weight
        (0.25, tensor([0.2500, 0.2500]))
        >>> scale_to(1.0, 1e-16, weight), scale_to(1.0, 0.0, weight)
        (1000.0, 1.0)
    """
    if not math.isfinite(size):
        raise DataError(
            f"a fresh model needs training structures on which its numbers are finite; found {size}; look for atoms "
            "that nearly coincide: irrepnet check-data"
        )
    factor = min(max(wanted / size, 1 / LARGEST_FACTOR), LARGEST_FACTOR) if size > 0 else 1.0
    with torch.no_grad():
        weight.mul_(factor)
    return factor


def edge_vectors(graph: Graph) -> Tensor:
    """Return ``pos[dst] - pos[src] + edge_shift @ cell``, shape ``[E, 3]``, Å, in the dtype of the positions.

    Example:
        >>> graph = Graph.checked(torch.eye(3)[:2], torch.tensor([8, 1]), torch.tensor([[0], [1]]))
        >>> edge_vectors(graph)
        tensor([[-1.,  1.,  0.]])
    """
    src, dst = graph.edge_index
    edge_vec = graph.pos[dst] - graph.pos[src]
    if graph.cell is None:
        return edge_vec
    shift = graph.edge_shift.to(edge_vec.dtype)
    if graph.num_graphs == 1:
        return edge_vec + shift @ graph.cell[0]
    return edge_vec + torch.einsum("ei,eij->ej", shift, graph.cell[graph.batch[src]])


def _useful_irreps(config: TrunkConfig, wanted: Irreps) -> list[Irreps]:
    """Return the irreps after each layer: what can be made from scalars so far and can still become a wanted one later.

    A layer takes a to b when b is in a x Y_l for some l of the edges.
    """
    hidden = Irreps(config.irreps_hidden)
    edge = Irreps.spherical_harmonics(config.lmax)
    step = {a: {b for _, sh in edge for b in a * sh} for _, a in hidden}
    reached, needed = [{edge[0].ir}], [{ir for mul, ir in wanted if mul}]
    for _ in range(config.num_layers):
        reached.append({b for a in reached[-1] for b in step[a]} & step.keys())
        needed.insert(0, {a for a in step if step[a] & needed[0]})
    if missing := sorted(needed[-1] - reached[-1]):
        raise IrrepsError(
            f"the output needs {', '.join(map(str, missing))} after the last layer; irreps_hidden = "
            f"'{config.irreps_hidden}' with lmax = {config.lmax} and num_layers = {config.num_layers} cannot make it; "
            f"add 16x{missing[0]} or raise lmax or num_layers"
        )
    useful = [up & down for up, down in zip(reached[1:], needed[1:], strict=True)]
    return [Irreps([entry for entry in hidden if entry.ir in irs]) for irs in useful]
