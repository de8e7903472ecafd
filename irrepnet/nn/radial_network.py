"""The learned function of the edge length that weighs the paths of a convolution."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.errors import ConfigError, DtypeError, ShapeError, did_you_mean
from irrepnet.math.second_moment import second_moment_factor
from irrepnet.nn.envelope import PolynomialEnvelope
from irrepnet.nn.radial_basis import BesselBasis
from irrepnet.ops._autocast import without_autocast
from irrepnet.ops.blocks import Block
from irrepnet.ops.linear import LinearPath, LinearPlan, linear
from irrepnet.ops.radial_table import check_num_knots, radial_table, spline_matrix, spline_places

__all__ = ["EdgeRadial", "RadialNetwork", "TableError", "table_error", "table_pays"]

_KINDS = ("exact", "table")


class EdgeRadial(NamedTuple):
    """What all radial networks of one form need to know of the edges, made once by :meth:`RadialNetwork.prepare`.

    Attributes:
        edges: Bessel functions ``[E, num_basis]``; where a table is read the weights of its rows times the envelope,
            ``[E, 4]``.
        envelope: ``[E, 1]``; None where a table is read.
        row: First row of the table that each edge reads, ``[E]``; None where the network itself is evaluated.
        num_knots: Of the table; None without.
        edge_type: Type of each edge, ``[E]``; None where all edges are of one type.
        num_edge_types: Of the networks that it was made for.

    Example:
        >>> RadialNetwork(4.0, 16, num_basis=8).prepare(torch.tensor([1.0, 2.0])).edges.shape
        torch.Size([2, 8])
    """

    edges: Tensor
    envelope: Tensor | None
    row: Tensor | None
    num_knots: int | None
    edge_type: Tensor | None = None
    num_edge_types: int = 1


class TableError(NamedTuple):
    """How far a table is from the network it stands for, in standard deviations of the network's values or slopes.

    Example:
        >>> TableError(1e-6, 5e-8, 1e-5, 5e-6).value_max
        1e-06
    """

    value_max: float
    value_rms: float
    slope_max: float
    slope_rms: float


class RadialNetwork(nn.Module):
    r"""Smooth learned functions of the edge length that end at the cutoff.

    .. math:: w(r) = s\, u(r)\, \mathrm{MLP}(b(r))

    with the Bessel functions b, of which the k-th is divided by :math:`k^p`, the polynomial envelope u, and SiLU
    between layers without bias. Weights are drawn from N(0, 1); when used they are divided by the root of the number
    of inputs, or for the first layer by that of the second moment of all Bessel functions in the ball. Together with
    the factor that keeps SiLU at second moment 1, outputs begin at unit scale.

    With ``radial="table"`` the MLP is evaluated at knots from 0 to the cutoff, and edges read a cubic spline that
    goes through its values: then *the spline* times u is what is learned and differentiated, so forces remain the exact
    gradient of an energy whose second derivatives are continuous. It is many times less work where there are many edges
    for each knot, see :func:`table_pays`.

    With ``num_edge_types`` T > 1 each type of edge has functions of its own, as each ordered pair of elements may need:
    the first matrix of the MLP is another one for each type, the later ones are shared. A row of the first layer is
    multiplied by one matrix whatever T is, so evaluation costs hardly more; a table has T times the rows. All types
    begin with the same matrix: drawn apart, each has to learn from its own edges what is common to all of them.

    Args:
        cutoff: Length at which value, slope and curvature of w reach zero, Å.
        num_out: Number of functions.
        num_basis: Number of Bessel functions.
        decay: The power p of their number that they are divided by. With 0 all are of one size, and the network learns
            ripples as readily as what is smooth; with 1 what it learns from few structures holds better for others.
        hidden: Widths of the hidden layers.
        envelope_power: The power of the envelope.
        scale: The constant s.
        radial: "exact", the MLP at every edge, or "table".
        num_knots: Number of knots of the table, 4 to 4096.
        num_edge_types: Number T of types of edges.
        backend: "auto", "reference" or "fused", for reading the table and for the matrices of the types.

    Raises:
        ConfigError: If a size is not positive, ``radial`` is unknown, or as ``BesselBasis`` and ``PolynomialEnvelope``.

    Reference: Batzner et al. 2022, arXiv:2101.03164, methods.

    Example:
        >>> network = RadialNetwork(cutoff=4.0, num_out=16)
        >>> network(torch.tensor([1.0, 2.5, 4.0])).shape
        torch.Size([3, 16])
        >>> network(torch.tensor([4.0, 7.0])).abs().max().item()
        0.0
    """

    knot_basis: Tensor | None
    spline: Tensor | None

    def __init__(  # noqa: PLR0913 - one flat list, as in the configuration of a model
        self,
        cutoff: float,
        num_out: int,
        *,
        num_basis: int = 8,
        decay: float = 1.0,
        hidden: Sequence[int] = (64, 64),
        envelope_power: int = 6,
        scale: float = 1.0,
        radial: str = "exact",
        num_knots: int = 512,
        num_edge_types: int = 1,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.basis = BesselBasis(cutoff, num_basis, decay=decay)
        self.envelope = PolynomialEnvelope(cutoff, envelope_power)
        sizes = [num_basis, *hidden, num_out]
        if min(num_edge_types, *sizes) < 1:
            raise ConfigError(
                f"RadialNetwork needs sizes >= 1; got num_out = {num_out}, hidden = {tuple(hidden)}, "
                f"num_edge_types = {num_edge_types}."
            )
        if radial not in _KINDS:
            hint = did_you_mean(str(radial), _KINDS)
            raise ConfigError(f"RadialNetwork needs radial 'exact' or 'table'; got {radial!r}.{hint}")
        self.radial, self.num_knots, self.backend = radial, check_num_knots(num_knots), backend
        self.num_edge_types = num_edge_types
        shapes = list(itertools.pairwise(sizes))
        first, *later = (torch.randn(a, b) for a, b in shapes)
        if num_edge_types > 1:
            first = first.repeat(num_edge_types, 1, 1)
        self.weights = nn.ParameterList([first, *later])
        # An edge drawn from the ball sees Bessel functions of second moment 3 / (c^3 k^2p); SiLU's is known exactly.
        moments = [3 / cutoff**3 * sum(k ** (-2 * decay) for k in range(1, num_basis + 1))]
        moments += [size / second_moment_factor(silu) ** 2 for size in hidden]
        self._factors = [moment**-0.5 for moment in moments]
        self._factors[-1] *= scale
        a, b = shapes[0]
        self._plan = LinearPlan(a, b, a * b, (LinearPath(Block(0, a, 1), Block(0, b, 1), 0, self._factors[0]),))
        self.register_buffer("knot_basis", None, persistent=False)
        self.register_buffer("spline", None, persistent=False)
        self._make_constants()

    def forward(self, edge_len: Tensor | EdgeRadial, edge_type: Tensor | None = None) -> Tensor:
        """Evaluate the functions.

        Args:
            edge_len: Lengths >= 0, shape ``[E]``, Å; or what :meth:`prepare` made of them, with this network or another
                one with the same arguments (but for ``num_out``, ``hidden`` and ``scale``).
            edge_type: As of :meth:`prepare`, unless that was called.

        Returns:
            Shape ``[E, num_out]``; zero for lengths from the cutoff on.

        Raises:
            ShapeError: As :meth:`prepare`.
            DtypeError: As :meth:`prepare`.
            ConfigError: If they were prepared for another table, for none, or for another number of types.
        """
        radial = edge_len if isinstance(edge_len, EdgeRadial) else self.prepare(edge_len, edge_type)
        own = self.num_knots if self.radial == "table" else None
        if radial.num_edge_types != self.num_edge_types:
            raise ConfigError(
                f"RadialNetwork with {self.num_edge_types} types of edges needs lengths prepared for the same; got "
                f"some for {radial.num_edge_types}. Call its own prepare(edge_len, edge_type)."
            )
        if radial.num_knots != own and not (self.knot_basis is not None and radial.num_knots is None):
            raise ConfigError(
                f"RadialNetwork with radial={self.radial!r} and {self.num_knots} knots needs lengths prepared for the "
                f"same; got some for {radial.num_knots or 'no'} knots. Call its own prepare(edge_len)."
            )
        if radial.row is not None:
            return radial_table(radial.edges, radial.row, self.table(), backend=self.backend)
        assert radial.envelope is not None
        x, edge_type = radial.edges, radial.edge_type
        if len(self.weights) == 1:
            return self._first(x * radial.envelope, edge_type)
        # The last map is linear and has no bias, so the envelope may come before it, where there are fewer columns.
        return (self._hidden(self._first(x, edge_type)) * radial.envelope) @ (self.weights[-1] * self._factors[-1])

    def prepare(self, edge_len: Tensor, edge_type: Tensor | None = None) -> EdgeRadial:
        """Compute what depends on the lengths and types only.

        Args:
            edge_len: Lengths >= 0, shape ``[E]``, Å.
            edge_type: Numbers from 0 to ``num_edge_types - 1``, int64, shape ``[E]``; None for a network of one type.
                Where they come from has to check their range.

        Raises:
            ShapeError: If ``edge_len`` is not ``[E]``, or types are missing, not wanted or not ``[E]``.
            DtypeError: If lengths and weights differ in dtype, or types are not int64.
        """
        if edge_len.ndim != 1:
            raise ShapeError(f"RadialNetwork needs edge_len [E]; got {list(edge_len.shape)}. Give one length per edge.")
        if edge_len.dtype != self.weights[0].dtype:
            raise DtypeError(
                f"RadialNetwork needs edge_len and weights of one dtype; got edge_len {str(edge_len.dtype)[6:]}, "
                f"weights {str(self.weights[0].dtype)[6:]}. Move them with .to(...)."
            )
        found = None if edge_type is None else list(edge_type.shape)
        if found != (None if self.num_edge_types == 1 else list(edge_len.shape)):
            wanted = "no edge_type" if self.num_edge_types == 1 else f"edge_type [E = {len(edge_len)}]"
            raise ShapeError(
                f"RadialNetwork with num_edge_types = {self.num_edge_types} needs {wanted}; got {found or 'none'}."
            )
        if edge_type is not None and edge_type.dtype != torch.int64:
            raise DtypeError(f"RadialNetwork needs edge_type in int64; got {str(edge_type.dtype)[6:]}.")
        return self._prepared(edge_len, edge_type, self.radial)

    def _prepared(self, edge_len: Tensor, edge_type: Tensor | None, kind: str) -> EdgeRadial:
        envelope = self.envelope(edge_len).unsqueeze(-1)  # [E, 1]
        if kind == "exact":
            return EdgeRadial(self.basis(edge_len), envelope, None, None, edge_type, self.num_edge_types)
        # Knots lie twice as dense at length 0 and half as dense at the cutoff as equidistant ones would: the Bessel
        # functions grow as 1/r, and the error with them. That takes a factor of 3 to 5 off it.
        x = edge_len.clamp(max=self.basis.cutoff) / self.basis.cutoff
        places = spline_places(2 * x / (1 + x), 1.0, self.num_knots)
        row = places.row if edge_type is None else places.row + edge_type * (self.num_knots + 2)
        return EdgeRadial(places.b * envelope, None, row, self.num_knots, edge_type, self.num_edge_types)

    def table(self) -> Tensor:
        """Return the table of the MLP for ``radial="table"``.

        Its shape is ``[num_edge_types * (num_knots + 2), num_out]``; those of the types lie end to end.
        """
        assert self.knot_basis is not None and self.spline is not None, "an exact network has no table"
        # The last map is linear, so the spline may be found before it, where there are fewer columns. Autocast would
        # round it off: it is a few hundred rows, whatever the graph.
        with without_autocast(self.weights[0].device):
            first = self.knot_basis @ (self.weights[0] * self._factors[0])  # [(T,) K, hidden]
            if len(self.weights) == 1:
                return (self.spline @ first).flatten(0, -2)
            return (self.spline @ self._hidden(first)).flatten(0, -2) @ (self.weights[-1] * self._factors[-1])

    def _first(self, x: Tensor, edge_type: Tensor | None) -> Tensor:
        """Multiply with the first matrix, that of the edge's type: ``[E, num_basis]`` to ``[E, hidden]``."""
        if edge_type is None:
            return x @ (self.weights[0] * self._factors[0])
        return linear(x, self.weights[0].flatten(1), self._plan, edge_type, backend=self.backend)

    def _hidden(self, x: Tensor) -> Tensor:
        """Go on from the first product to the last hidden layer."""
        x = silu(x)
        middle = zip(self.weights, self._factors, strict=True)  # a slice of a ParameterList would be a new module
        for weight, factor in itertools.islice(middle, 1, len(self._factors) - 1):
            x = silu(x @ (weight * factor))  # [E, hidden]; factors go to the weights, which are small
        return x

    def _make_constants(self) -> None:
        if self.radial == "table":
            like = self.weights[0].detach()
            s = torch.linspace(0, 1, self.num_knots, dtype=torch.float64, device=like.device)
            knots = self.basis.cutoff * s / (2 - s)  # the inverse of what `_prepared` makes of lengths
            wide = BesselBasis(self.basis.cutoff, self.basis.num_basis, decay=self.basis.decay).to(knots)
            self.knot_basis = wide(knots).to(like.dtype)
            self.spline = spline_matrix(self.num_knots, like)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RadialNetwork:
        """Move, and make the constants anew: those cast to float32 and back would not be what they were."""
        super()._apply(fn, recurse)
        self._make_constants()
        return self

    def __repr__(self) -> str:
        widths = " -> ".join(str(size) for size in [self.basis.num_basis, *[w.shape[-1] for w in self.weights]])
        table = f" | table of {self.num_knots} knots" if self.radial == "table" else ""
        types = f" | {self.num_edge_types} types of edges" if self.num_edge_types > 1 else ""
        decay = f" | decay {self.basis.decay:g}" if self.basis.decay != 1 else ""
        return f"RadialNetwork({widths} | r < {self.basis.cutoff}{decay}{types}{table})"


def table_pays(num_knots: int, num_edges: float, num_edge_types: int = 1) -> bool:
    """Return whether reading a table is less work than evaluating the network at the edges.

    Example:
        >>> table_pays(512, 5000), table_pays(512, 1000), table_pays(512, 5000, num_edge_types=9)
        (True, False, False)
    """
    return num_knots * num_edge_types < num_edges / 2


def table_error(
    network: RadialNetwork, edge_len: Tensor, num_knots: int | None = None, edge_type: Tensor | None = None
) -> TableError:
    """Compare spline and MLP, both times the envelope, in float64.

    Args:
        network: Of either kind; it stays as it is.
        edge_len: Lengths to compare at, as they occur, shape ``[E]``, Å. Far below the shortest bond the MLP of a
            fresh network is steep, and no edge goes there.
        num_knots: Of the table; by default the network's own.
        edge_type: Types of the edges, shape ``[E]``, where the network has several.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> r = 6 * torch.linspace(0.1, 1, 1000) ** (1 / 3)  # as in a liquid
        >>> table_error(RadialNetwork(cutoff=6.0, num_out=32), r, num_knots=512).value_rms < 1e-6
        True
    """
    r = edge_len.detach().double()
    found = []
    for kind in _KINDS:
        twin = copy.deepcopy(network)
        twin.radial, twin.num_knots = kind, check_num_knots(num_knots or network.num_knots)
        twin = twin.double()

        def values(x: Tensor, twin: RadialNetwork = twin, kind: str = kind) -> Tensor:
            return twin(twin._prepared(x, edge_type, kind))

        found.append(torch.func.jvp(values, (r,), (torch.ones_like(r),)))
    exact, exact_slope, table, table_slope = (x.detach() for pair in found for x in pair)
    value, slope = (table - exact).abs() / exact.std(), (table_slope - exact_slope).abs() / exact_slope.std()
    return TableError(*(float(x) for e in (value, slope) for x in (e.max(), e.square().mean().sqrt())))
