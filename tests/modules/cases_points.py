"""Cases of the layers of points and edges: functions of lengths, convolutions, maps of species, readouts."""

import torch
from modules.case import Case

from irrepnet import nn, o3

PAIRS = ((1, 0), (0, 1), (3, 2), (4, 3), (2, 4))  # as many edges as points; the first two join the first two points
GRAPHS = (1, 0, 2, 2, 4)  # as many graphs as points, one of them empty
SPECIES = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 1))  # at both ends of edges
TYPES = (3, 0, 0, 2, 3)  # of edges; none is of type 1
ANY_SHAPE = {"shape": "lengths have any shape"}
REPULSION = {
    "equivariance": "lengths do not transform",
    "dtype": "energies are float64",
    "mixed_dtypes": "lengths of any dtype are taken as float64",
    "zero": "two nuclei at one place have an infinite energy",
}
SUMS = {"dtype": "sums over graphs are made in float64"}
PATHS = [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 0, 2, "uvu", False)]


class TensorProductConv(nn.TensorProductConv):
    """With one edge in each row, so that all arguments have rows."""

    def forward(self, node_feats, edge_sh, weights, pairs):
        return super().forward(node_feats, edge_sh, weights, pairs.T)


class PointConvolution(nn.PointConvolution):
    """With one edge in each row, so that all arguments have rows."""

    def forward(self, node_feats, edge_sh, edge_len, pairs):
        return super().forward(node_feats, edge_sh, edge_len, pairs.T)


class TypedConvolution(nn.PointConvolution):
    """With one edge in each row, and its type."""

    def forward(self, node_feats, edge_sh, edge_len, pairs, edge_type):
        return super().forward(node_feats, edge_sh, self.radial.prepare(edge_len, edge_type), pairs.T)


class ZBLRepulsion(nn.ZBLRepulsion):
    """With one pair in each row, so that all arguments have rows."""

    def forward(self, edge_len, species):
        return super().forward(edge_len, species.T)


class ScalarReadout(nn.ScalarReadout):
    """Of as many graphs as points, with an axis of components."""

    def forward(self, node_feats, batch):
        return super().forward(node_feats, batch, node_feats.shape[0]).unsqueeze(-1)


class IrrepsReadout(nn.IrrepsReadout):
    """Of as many graphs as points."""

    def forward(self, node_feats, batch):
        return super().forward(node_feats, batch, node_feats.shape[0])


def lengths(dtype):
    """Draw five lengths, the last one beyond the cutoff of 4."""
    return (torch.cat([4 * torch.rand(4, dtype=torch.float64), torch.tensor([4.5])]).to(dtype),)


def radial(name, make, **excused):
    """Return a case of a function of lengths: they do not transform, so that any rotation leaves them alone."""
    return Case(name, make, lengths, [None], None, excused={"equivariance": "lengths do not transform"} | excused)


def rows(*parts):
    """Return a function that draws five rows of each irreps; integers stay as they are, and None stands for lengths."""

    def draw(part, dtype):
        if part is None:
            return lengths(dtype)[0]
        return torch.randn(5, o3.Irreps(part).dim, dtype=dtype) if isinstance(part, str) else torch.tensor(part)

    return lambda dtype: tuple(draw(part, dtype) for part in parts)


def convolution(name, irreps_in, irreps_edge, irreps_out, paths):
    """Return a case of a product on edges."""
    make = lambda: TensorProductConv(irreps_in, irreps_edge, irreps_out, paths)
    weights = f"{make().weight_numel}x0e"
    inputs = rows(irreps_in, irreps_edge, weights, PAIRS)
    return Case(f"TensorProductConv-{name}", make, inputs, [irreps_in, irreps_edge, weights, None], irreps_out)


def point_convolution(name, irreps_in, irreps_edge, irreps_out, **options):
    """Return a case of a convolution on points."""
    make = lambda: PointConvolution(irreps_in, irreps_edge, irreps_out, cutoff=4.0, radial_hidden=(8,), **options)
    inputs = rows(irreps_in, irreps_edge, None, PAIRS)
    return Case(f"PointConvolution-{name}", make, inputs, [irreps_in, irreps_edge, None, None], irreps_out)


def typed(name, make):
    """Return a case of a function of lengths and of the types of the edges."""
    excused = {"equivariance": "lengths do not transform"} | ANY_SHAPE
    return Case(f"RadialNetwork-{name}", make, rows(None, TYPES), [None, None], None, excused=excused)


def readout(name, make, irreps_in, irreps_out, **excused):
    """Return a case of a readout of graphs."""
    return Case(name, make, rows(irreps_in, GRAPHS), [irreps_in, None], irreps_out, excused=excused)


def species(name, irreps_in, irreps_out, **options):
    """Return a case of a linear map for each species."""
    make = lambda: nn.SpeciesLinear(irreps_in, irreps_out, 3, **options)
    return Case(f"SpeciesLinear-{name}", make, rows(irreps_in, (1, 0, 2, 2, 0)), [irreps_in, None], irreps_out)


CASES = [
    radial("BesselBasis", lambda: nn.BesselBasis(4.0, 5), **ANY_SHAPE),
    radial("PolynomialEnvelope", lambda: nn.PolynomialEnvelope(4.0), **ANY_SHAPE),
    radial("PolynomialEnvelope-2", lambda: nn.PolynomialEnvelope(4.0, p=2), **ANY_SHAPE),
    radial("RadialNetwork", lambda: nn.RadialNetwork(4.0, 3, hidden=(8,)), **ANY_SHAPE),
    radial("RadialNetwork-table", lambda: nn.RadialNetwork(4.0, 3, hidden=(8,), radial="table"), **ANY_SHAPE),
    typed("types", lambda: nn.RadialNetwork(4.0, 3, hidden=(8,), num_edge_types=4)),
    typed("types-linear", lambda: nn.RadialNetwork(4.0, 3, hidden=(), num_edge_types=4)),
    typed("types-table", lambda: nn.RadialNetwork(4.0, 3, radial="table", num_knots=9, num_edge_types=4)),
    Case(
        "ZBLRepulsion",
        lambda: ZBLRepulsion([1, 8], [3.0, 4.2, 4.0]),
        rows(None, SPECIES),
        [None, None],
        None,
        excused=REPULSION,
    ),
    convolution("odd", "2x0e+2x1o", "0e+1o", "2x0e+2x1o+2x1o", PATHS),
    convolution("plain", "2x0o", "1o", "2x1e", [(0, 0, 0, "uvu", False)]),
    point_convolution("odd", "2x0e+1o", "0e+1o+2e", "3x0e+2x1o+2x1e"),
    point_convolution("table", "2x0e", "0e+1o", "2x0e+1o", radial="table"),
    Case(
        "PointConvolution-types",
        lambda: TypedConvolution("2x0e+1o", "0e+1o", "2x0e+1o", cutoff=4.0, radial_hidden=(8,), num_edge_types=4),
        rows("2x0e+1o", "0e+1o", None, PAIRS, TYPES),
        ["2x0e+1o", "0e+1o", None, None, None],
        "2x0e+1o",
    ),
    species("repeated", "2x0e+1o+1x1o", "3x0e+2x1o"),
    species("zero", "2x0o", "1x0o+1e", unreached="zero"),
    readout("ScalarReadout", lambda: ScalarReadout("3x0e+1o"), "3x0e+1o", "0e", **SUMS),
    readout("ScalarReadout-linear", lambda: ScalarReadout("3x0e+1o", hidden=()), "3x0e+1o", "0e", **SUMS),
    readout("IrrepsReadout-none", lambda: IrrepsReadout("3x0e+2x1o", "0e+1o"), "3x0e+2x1o", "0e+1o"),
    readout("IrrepsReadout-sum", lambda: IrrepsReadout("2x1o", "1o", reduce="sum"), "2x1o", "1o", **SUMS),
    readout("IrrepsReadout-mean", lambda: IrrepsReadout("2x0o", "0o", reduce="mean"), "2x0o", "0o", **SUMS),
]
