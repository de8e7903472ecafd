"""Cases of linear maps, products, harmonics and gates."""

import torch
from modules.case import Case

from irrepnet import nn, o3


def rows(*irreps):
    """Return a function that draws five rows of each irreps."""
    return lambda dtype: tuple(torch.randn(5, o3.Irreps(ir).dim, dtype=dtype) for ir in irreps)


def product(name, *arguments, **options):
    """Return a case of a class of products."""
    make = lambda: getattr(o3, name)(*arguments, **options)
    made = make()
    a, b = made.irreps_in1, made.irreps_in2
    return Case(f"{name}-{a}-{b}", make, rows(a, b), [a, b], made.irreps_out)


CASES = [
    Case("Linear", lambda: o3.Linear("4x0e+2x1o", "3x0e+1o+2x1o"), rows("4x0e+2x1o"), "4x0e+2x1o", "3x0e+1o+2x1o"),
    Case("Linear-biases", lambda: o3.Linear("0e+1o", "2x0e", biases=True), rows("0e+1o"), "0e+1o", "2x0e"),
    product("FullyConnectedTensorProduct", "2x0e+1o", "0e+1o", "2x0e+1o+1e+2e"),
    product("FullTensorProduct", "2x0e+1o", "1o+2e"),
    product("TensorProduct", "4x1o", "1o+2e", "4x0e+4x2o", [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True)]),
    Case(
        "SphericalHarmonics",
        lambda: o3.SphericalHarmonics("0e+1o+2e+3o", normalize=False, normalization="component"),
        rows("1o"),
        "1o",
        "0e+1o+2e+3o",
    ),
    Case(
        "SphericalHarmonics-normalize",
        lambda: o3.SphericalHarmonics("0e+1o+2e+3o", normalize=True),
        rows("1o"),
        "1o",
        "0e+1o+2e+3o",
    ),
    Case(
        "Activation",
        lambda: nn.Activation("3x0e+2x0o+1o", [torch.sigmoid, torch.tanh, None]),
        rows("3x0e+2x0o+1o"),
        "3x0e+2x0o+1o",
        "3x0e+2x0o+1o",
    ),
    Case(
        "Gate",
        lambda: nn.Gate("2x0e", [torch.tanh], "3x0e", [torch.sigmoid], "2x1o+2e"),
        rows("5x0e+2x1o+2e"),
        "5x0e+2x1o+2e",
        "2x0e+2x1o+2e",
    ),
]
