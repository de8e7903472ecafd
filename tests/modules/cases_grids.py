"""Cases of harmonics of angles, of grids on the sphere and on SO(3), and of the activations there."""

import torch
from modules.case import Case

from irrepnet import nn, o3

SAMPLES = "samples at fixed points do not transform by a matrix; the round trip is tested below"
ANGLES = "angles do not transform by a matrix; tests/o3 compares with the harmonics of vectors"
TURNED = "each call turns at random, so results are equal to rounding only, as the other tests ask for"
NO_WIDTH = "the arguments are angles, or cosines, of any shape"


def square(x):
    """Return a polynomial: its harmonics end at twice the degree, so grids integrate it exactly."""
    return x * x


class BothWays(o3.SO3Grid):
    """To the grid and back."""

    def forward(self, features):
        return self.from_grid(self.to_grid(features))


class S2BothWays(torch.nn.Sequential):
    """To the grid and back."""

    def __repr__(self):
        return f"ToS2Grid({self[0]}, {self[1]})"


def normal(*shape):
    """Return a function that draws one tensor of five rows."""
    return lambda dtype: (torch.randn(5, *shape, dtype=dtype),)


def two(dtype):
    """Draw two arguments without an axis of components."""
    return tuple(torch.randn(2, 5, dtype=dtype))


def s2_activation(name, irreps_in, irreps_out, *arguments, excused=None, **options):
    """Return a case of a function on the sphere."""
    make = lambda: nn.S2Activation(irreps_in, *arguments, **options)
    return Case(
        f"S2Activation-{name}", make, normal(o3.Irreps(irreps_in).dim), irreps_in, irreps_out, excused=excused or {}
    )


def so3_irreps(lmax):
    """Return the irreps of a signal on SO(3)."""
    return o3.Irreps([(2 * l + 1, (l, 1)) for l in range(lmax + 1)])


def so3_activation(lmax_in, lmax_out, *arguments, **options):
    """Return a case of a function on SO(3)."""
    make = lambda: nn.SO3Activation(lmax_in, lmax_out, *arguments, **options)
    irreps_in, irreps_out = so3_irreps(lmax_in), so3_irreps(lmax_out)
    return Case(f"SO3Activation-{lmax_in}-{lmax_out}", make, normal(irreps_in.dim), irreps_in, irreps_out)


CASES = [
    Case("Legendre", lambda: o3.Legendre([3, 0, 1]), two, excused={"equivariance": ANGLES, "shape": NO_WIDTH}),
    Case("Legendre-none", lambda: o3.Legendre([]), two, excused={"equivariance": ANGLES, "shape": NO_WIDTH}),
    Case("Legendre-scalar", lambda: o3.Legendre([0]), two, excused={"equivariance": ANGLES, "shape": NO_WIDTH}),
    Case(
        "SphericalHarmonicsAlphaBeta",
        lambda: o3.SphericalHarmonicsAlphaBeta([2, 0, 3], normalization="norm"),
        two,
        excused={"equivariance": ANGLES, "shape": NO_WIDTH},
    ),
    Case("ToS2Grid", lambda: o3.ToS2Grid(2), normal(9), excused={"equivariance": SAMPLES}),
    Case("ToS2Grid-odd", lambda: o3.ToS2Grid(2, (7, 6), "norm"), normal(2, 9), excused={"equivariance": SAMPLES}),
    Case("ToS2Grid-scalar", lambda: o3.ToS2Grid(0, (2, 2), "integral"), normal(1), excused={"equivariance": SAMPLES}),
    Case("FromS2Grid", lambda: o3.FromS2Grid((6, 5), 2), normal(6, 5), excused={"equivariance": SAMPLES}),
    Case("FromS2Grid-odd", lambda: o3.FromS2Grid((7, 8), 1), normal(2, 7, 8), excused={"equivariance": SAMPLES}),
    Case(
        "ToS2Grid-FromS2Grid",
        lambda: S2BothWays(o3.ToS2Grid(3, (7, 8)), o3.FromS2Grid((7, 8), 3)),
        normal(16),
        "0e+1o+2e+3o",
        "0e+1o+2e+3o",
    ),
    Case("SO3Grid", lambda: BothWays(2, 3), normal(35), "0e+3x1e+5x2e", "0e+3x1e+5x2e"),
    Case("SO3Grid-flat", lambda: BothWays(1, 3, aspect_ratio=0.7), normal(10), "0e+3x1e", "0e+3x1e"),
    s2_activation("polar", "0e+1o+2e", "0e+1o+2e", square, 8),
    s2_activation("axial", "0e+1e+2e", "0e+1e+2e", square, (9, 10), "norm"),
    s2_activation("odd-values", "0o+1e", "0e+1o+2e+3o", square, 8, lmax_out=3),
    s2_activation("stays-odd", "0o+1o+2o", "0o+1o+2o", torch.tanh, 60, "integral"),
    s2_activation("scalar", "0e", "0e", torch.tanh, None),
    s2_activation("turned", "0e+1o+2e", "0e+1o+2e", square, 8, random_rot=True, excused={"copies": TURNED}),
    s2_activation("coarse", "0e", "0e", square, (1, 1), allow_aliasing=True),
    so3_activation(1, 2, square, 4),
    so3_activation(2, 1, square, 4),
    so3_activation(0, 0, torch.tanh, 2, aspect_ratio=1),
]
