"""A conservative, equivariant interatomic potential in the manner of NequIP: energy, forces and stress of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    model_validator,
)
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.graph import Graph
from irrepnet.errors import DataError, DtypeError, IrrepsError
from irrepnet.nn.gate import Gate
from irrepnet.nn.point_convolution import PointConvolution
from irrepnet.nn.pool import ScalarReadout, sum_pool
from irrepnet.nn.radial_network import EdgeRadial, RadialNetwork
from irrepnet.nn.species_linear import SpeciesLinear
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.edge_order import EdgeOrder, edge_order
from irrepnet.ops.radial_table import FEWEST_KNOTS, MOST_KNOTS
from irrepnet.ops.scatter import scatter_sum
from irrepnet.ops.spherical_harmonics import spherical_harmonics

__all__ = ["ForceField", "ForceFieldConfig", "Prediction", "edge_vectors"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
_MOST_FEATURES = 10_000  # far above any model; a slip or a crafted file shall not exhaust the memory
_Width = Annotated[int, Field(gt=0, le=_MOST_FEATURES)]


def _known_elements(symbols: tuple[str, ...]) -> tuple[str, ...]:
    numbers = [atomic_number(symbol) for symbol in symbols]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"species needs each element once; found {', '.join(symbols)}")
    return symbols


def _readable_irreps(text: str) -> str:
    irreps = Irreps(text).remove_zero_multiplicities().sort().irreps.simplify()
    if irreps.count("0e") == 0:
        raise IrrepsError(f"irreps_hidden needs scalars 0e, which carry the energy; found {text!r}; add 16x0e")
    if irreps.dim > _MOST_FEATURES:
        raise IrrepsError(f"irreps_hidden needs a dimension of at most {_MOST_FEATURES}; found {irreps.dim} ({text!r})")
    return str(irreps)


class ForceFieldConfig(BaseModel):
    """What a :class:`ForceField` is made of.

    Raises:
        pydantic.ValidationError: If a key is unknown or a value is out of range (a ``ValueError`` too).

    Example:
        >>> config = ForceFieldConfig(species=("H", "O"), cutoff=4.0)
        >>> config.irreps_hidden, config.shifts
        ('16x0e+16x1o', (0.0, 0.0))
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    species: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known_elements)] = Field(
        description="chemical symbols that the model knows"
    )
    cutoff: PositiveFloat = Field(4.5, description="distance beyond which atoms do not see each other in one layer, Å")
    lmax: int = Field(1, ge=0, le=11, description="highest degree of the spherical harmonics on edges")
    irreps_hidden: Annotated[str, AfterValidator(_readable_irreps)] = Field(
        "16x0e+16x1o", description="node features between layers; entries that cannot reach the energy are left out"
    )
    num_layers: int = Field(3, gt=0, le=100, description="number of convolutions; an atom sees num_layers * cutoff far")
    num_basis: int = Field(8, gt=0, le=_MOST_FEATURES, description="number of Bessel functions of the edge length")
    radial_hidden: tuple[_Width, ...] = Field((32, 32), description="widths of the radial networks' hidden layers")
    readout_hidden: tuple[_Width, ...] = Field((16,), description="widths of the energy readout's hidden layers")
    envelope_power: int = Field(6, ge=2, description="power of the polynomial that takes edges to zero at the cutoff")
    radial: Literal["exact", "table"] = Field(
        "exact", description="radial networks: exact at every edge; table: a cubic spline through their values at knots"
    )
    radial_knots: int = Field(
        512, ge=FEWEST_KNOTS, le=MOST_KNOTS, description="knots of the table, used where there are two edges per knot"
    )
    avg_num_neighbors: PositiveFloat = Field(
        20.0, description="mean number of neighbours; sums are divided by its square root"
    )
    energy_scale: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        1.0, description="energy that one unit of the network's output stands for, eV; one number or one per species"
    )
    species_shifts: tuple[FiniteFloat, ...] = Field(
        (), description="energy of an isolated atom of each species, eV; empty: zero"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of the network; sums are float64")
    backend: Literal["auto", "reference", "fused"] = Field("auto", description="kernels of the operations")

    @property
    def scales(self) -> tuple[float, ...]:
        """One energy scale per species, eV."""
        return self.energy_scale if isinstance(self.energy_scale, tuple) else (self.energy_scale,) * len(self.species)

    @property
    def shifts(self) -> tuple[float, ...]:
        """One energy shift per species, eV."""
        return self.species_shifts or (0.0,) * len(self.species)

    @model_validator(mode="after")
    def _one_value_per_species(self) -> ForceFieldConfig:
        for name in ("energy_scale", "species_shifts"):
            values = getattr(self, name)
            if self.species and isinstance(values, tuple) and values and len(values) != len(self.species):
                raise ValueError(f"{name} needs one value for each of {', '.join(self.species)}; found {len(values)}")
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


class _Layer(nn.Module):
    """One interaction: ``gate((convolution(linear(x)) + self_connection(x, species)) / sqrt(2))``."""

    def __init__(self, irreps_in: Irreps, irreps_hidden: Irreps, config: ForceFieldConfig):
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
            radial_hidden=config.radial_hidden,
            envelope_power=config.envelope_power,
            radial=config.radial,
            radial_knots=config.radial_knots,
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
        messages = self.convolution(self.linear(node_feats), edge_sh, edge_radial, edges)
        return self.gate((messages + self.self_connection(node_feats, species)) * 0.5**0.5)


class ForceField(nn.Module):
    r"""Energy of atoms as a sum over atoms, and its exact derivatives.

    .. math:: E = \sum_i \epsilon_{s(i)} + \lambda_{s(i)} \, (u(x_i) - u(x^0_{s(i)})), \qquad
              F_i = -\frac{\partial E}{\partial r_i}, \qquad
              \sigma_{ab} = \frac{1}{V} \frac{\partial E}{\partial \varepsilon_{ab}}

    The features :math:`x_i` are a species embedding after ``num_layers`` of :class:`~irrepnet.nn.PointConvolution`,
    self-connection and gate; :math:`u` is a small network on their scalars; shifts :math:`\epsilon` and scales
    :math:`\lambda` are given. The features :math:`x^0_s` of an isolated atom are computed beside them, so that such an
    atom has exactly the energy :math:`\epsilon_s`. Every sum over atoms is in float64. Outputs can be differentiated
    once more in training mode, and where ``graph.pos`` requires a gradient.

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
    species_index: Tensor

    def __init__(self, config: ForceFieldConfig):
        super().__init__()
        self.config = config
        self.metadata: dict[str, Any] = {}
        self.atomic_numbers = tuple(atomic_number(symbol) for symbol in config.species)
        scalars = Irreps(config.irreps_hidden).count("0e")
        self.embedding = nn.Parameter(torch.randn(len(config.species), scalars))
        layers: list[_Layer] = []
        for irreps_hidden in _useful_irreps(config):
            irreps_in = layers[-1].irreps_out if layers else Irreps([(scalars, "0e")])
            layers.append(_Layer(irreps_in, irreps_hidden, config))
        self.layers = nn.ModuleList(layers)
        self.irreps_layers = [layer.irreps_out for layer in layers]
        self.readout = ScalarReadout(self.irreps_layers[-1], hidden=config.readout_hidden)
        index = torch.full((len(SYMBOLS),), -1)
        index[list(self.atomic_numbers)] = torch.arange(len(config.species))
        self.register_buffer("species_index", index, persistent=False)
        self.to(DTYPES[config.dtype])

    @property
    def cutoff(self) -> float:
        """Distance up to which a graph has to have edges, Å."""
        return self.config.cutoff

    @property
    def radial_networks(self) -> list[RadialNetwork]:
        """That of each layer; they differ in their weights and in the number of functions."""
        return [layer.convolution.radial for layer in self.layers]  # type: ignore[union-attr, misc]

    @property
    def dtype(self) -> torch.dtype:
        """Of the network."""
        return self.embedding.dtype

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> ForceField:
        super()._apply(fn, recurse)
        # From the configuration each time: cast to float32 and back, a shift of -2,000 eV would be off by 0.1 meV.
        for name, values in (("scales", self.config.scales), ("shifts", self.config.shifts)):
            tensor = torch.tensor(values, dtype=torch.float64, device=self.embedding.device)
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
        self._check(graph)
        wants_graph = torch.is_grad_enabled() and (self.training or graph.pos.requires_grad)
        with torch.inference_mode(False), torch.enable_grad():
            edge_vec = self._edge_vectors(graph)
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
        self._check(graph)
        return self._features(self._species(graph), graph.edge_index, self._edge_vectors(graph))

    def _energy(self, graph: Graph, edge_vec: Tensor) -> Tensor:
        species = self._species(graph)
        isolated = torch.arange(len(self.atomic_numbers), device=species.device)  # one atom of each, without edges
        feats = self._features(torch.cat([species, isolated]), graph.edge_index, edge_vec)[-1]
        atoms, vacuum = self.readout.per_node(feats).split([graph.num_nodes, len(isolated)])
        interaction = (atoms - vacuum[species]).double()  # [N]
        return sum_pool(interaction * self.scales[species] + self.shifts[species], graph.batch, graph.num_graphs)

    def _features(self, species: Tensor, edge_index: Tensor, edge_vec: Tensor) -> list[Tensor]:
        edges = edge_order(edge_index, len(species))
        edge_len = edge_vec.norm(dim=1)
        edge_sh = spherical_harmonics(edge_vec, self.config.lmax, normalize=True, backend=self.config.backend)
        edge_radial = self.radial_networks[0].prepare(edge_len)  # the same for all layers
        feats = [self.embedding[species]]
        for layer in self.layers:
            feats.append(layer(feats[-1], species, edge_sh, edge_radial, edges))
        return feats[1:]

    def _edge_vectors(self, graph: Graph) -> Tensor:
        edge_vec = edge_vectors(graph).to(self.dtype)
        zero = (edge_vec.detach().square().sum(dim=1) == 0).nonzero().flatten()
        if len(zero):
            src, dst = graph.edge_index[:, zero[0]].tolist()
            a, b = SYMBOLS[graph.species[src]], SYMBOLS[graph.species[dst]]
            raise DataError(
                f"edges need a length above zero; found atoms {src} ({a}) and {dst} ({b}) at one place; move one"
            )
        return edge_vec

    def _check(self, graph: Graph) -> None:
        """Refuse what would give a wrong number without a word; shapes were checked when the graph was made."""
        device = graph.pos.device
        if device != self.embedding.device:
            raise DataError(f"the graph must be on {self.embedding.device}; found it on {device}; use graph.to(device)")
        if self.dtype not in DTYPES.values() or torch.is_autocast_enabled(device.type):
            found = "autocast" if torch.is_autocast_enabled(device.type) else str(self.dtype)
            raise DtypeError(f"a force field needs float32 or float64; found {found}; forces in less are noise")
        if not bool(graph.pos.isfinite().all()):
            atom = int((~graph.pos.isfinite()).any(dim=1).nonzero()[0])
            raise DataError(f"pos needs finite numbers; found {graph.pos[atom].tolist()} at atom {atom}")

    def _species(self, graph: Graph) -> Tensor:
        """Return the place of each atom's element in ``config.species``, shape ``[N]``."""
        in_table = (graph.species > 0) & (graph.species < len(SYMBOLS))
        species = self.species_index[graph.species * in_table]  # number 0 is no element, so unknown too
        if bool((species < 0).any()):
            atom = int((species < 0).nonzero()[0])
            number = int(graph.species[atom])
            name = SYMBOLS[number] if bool(in_table[atom]) else f"atomic number {number}"
            known = ", ".join(self.config.species)
            raise DataError(f"the model knows the elements {known}; found {name} at atom {atom}; train with it")
        return species


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


def _useful_irreps(config: ForceFieldConfig) -> list[Irreps]:
    """Return the irreps after each layer: what can be made from scalars so far and can still become scalars later.

    A layer takes a to b when b is in a x Y_l for some l of the edges. In the end only 0e is read.
    """
    hidden = Irreps(config.irreps_hidden)
    edge = Irreps.spherical_harmonics(config.lmax)
    step = {a: {b for _, sh in edge for b in a * sh} for _, a in hidden}
    scalar = edge[0].ir
    reached, needed = [{scalar}], [{scalar}]
    for _ in range(config.num_layers):
        reached.append({b for a in reached[-1] for b in step[a]} & step.keys())
        needed.insert(0, {a for a in step if step[a] & needed[0]})
    useful = [up & down for up, down in zip(reached[1:], needed[1:], strict=True)]
    return [Irreps([entry for entry in hidden if entry.ir in irs]) for irs in useful]
