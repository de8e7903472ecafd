"""Cases of the layers that act on features row by row or batch by batch."""

import torch
from modules.case import Case
from torch.nn.functional import silu

from irrepnet import nn, o3
from irrepnet.math import normalize2mom

MIXED = "3x0e+2x1o+2x0o+0x2e+1e+2x0e+2e"  # odd parities, repeated irreps, an entry without channels
RUNNING = frozenset({"running_mean", "running_var"})
NO_COLUMNS = {
    "equivariance": "there are no components to compare",
    "shape": "the test appends a copy of a column, and there is none",
}
ANY_DTYPE = {"integers": "it computes nothing, so it takes numbers of any dtype, as in e3nn"}
FUNCTION = {"integers": "it is a function, and tanh takes integers", "shape": "it takes any shape"}


def in_place():
    """Return a function that overwrites its argument."""
    return torch.nn.SiLU(inplace=True)


def case(name, irreps, make, irreps_out=None, lead=(), **options):
    """Return a case whose input are five rows of irreps, with axes between."""
    draw = lambda dtype: (torch.randn(5, *lead, o3.Irreps(irreps).dim, dtype=dtype),)
    return Case(name, make, draw, irreps, irreps if irreps_out is None else irreps_out, **options)


def gate(name, make, **options):
    """Return a case of a gate, which says itself what goes in and out."""
    made = make()
    return case(f"Gate-{name}", made.irreps_in, make, made.irreps_out, **options)


ACTIVATIONS = [
    case("Activation-none", "2x0e+1o", lambda: nn.Activation("2x0e+1o", [None, None])),
    case("Activation-even", "3x0o+2x0e", lambda: nn.Activation("3x0o+2x0e", [torch.cos, silu]), "3x0e+2x0e"),
    case("Activation-learned", "2x0e+2x0e", lambda: nn.Activation("2x0e+2x0e", [torch.nn.PReLU(), silu])),
    case("Activation-in_place", "2x0e+1o", lambda: nn.Activation("2x0e+1o", [in_place(), None])),
    case("Activation-all_in_place", "2x0e", lambda: nn.Activation("2x0e", [torch.nn.Sequential(in_place())])),
    case("Activation-empty", "", lambda: nn.Activation("", []), excused=NO_COLUMNS),
    gate("odd", lambda: nn.Gate("2x0o", [torch.tanh], "2x0o+2x0e", [torch.tanh, silu], "2x1o+2x2e")),
    gate("repeated", lambda: nn.Gate("0e+2x0e", [silu, None], "2x0e+1x0e", [silu, torch.sigmoid], "1o+1e+1x1o")),
    gate("learned", lambda: nn.Gate("3x0e", [torch.nn.PReLU()], "2x0e", [torch.nn.PReLU()], "2x1o")),
    gate("in_place", lambda: nn.Gate("3x0e", [in_place()], "2x0e", [in_place()], "2x1o")),
    gate("empty", lambda: nn.Gate("", [], "", [], ""), excused=NO_COLUMNS),
    case("NormActivation", MIXED, lambda: nn.NormActivation(MIXED, torch.tanh)),
    case("NormActivation-bias", MIXED, lambda: nn.NormActivation(MIXED, torch.sigmoid, bias=True)),
    case("NormActivation-epsilon", MIXED, lambda: nn.NormActivation(MIXED, silu, epsilon=0.5)),
    case("NormActivation-unnormalized", MIXED, lambda: nn.NormActivation(MIXED, torch.sigmoid, normalize=False)),
    case("NormActivation-learned", "2x1o", lambda: nn.NormActivation("2x1o", torch.nn.PReLU(), normalize=False)),
    case("NormActivation-in_place", "2x1o", lambda: nn.NormActivation("2x1o", in_place())),
    case("NormActivation-in_place_plain", "2x1o", lambda: nn.NormActivation("2x1o", in_place(), normalize=False)),
    case("NormActivation-axes", "2x1o", lambda: nn.NormActivation("2x1o", silu), lead=(2, 3)),
    case("NormActivation-empty", "", lambda: nn.NormActivation("", silu, bias=True), excused=NO_COLUMNS),
]

NORMS = [
    case("BatchNorm", MIXED, lambda: nn.BatchNorm(MIXED), learned=RUNNING),
    case("BatchNorm-axes", MIXED, lambda: nn.BatchNorm(MIXED, reduce="max"), lead=(2, 2), learned=RUNNING),
    case("BatchNorm-norm", MIXED, lambda: nn.BatchNorm(MIXED, normalization="norm", affine=False), learned=RUNNING),
    case("BatchNorm-unbiased", MIXED, lambda: nn.BatchNorm(MIXED, include_bias=False), learned=RUNNING),
    case("BatchNorm-no_scalars", "2x1o+0o", lambda: nn.BatchNorm("2x1o+0o"), learned=RUNNING),
    case("BatchNorm-instance", MIXED, lambda: nn.BatchNorm(MIXED, instance=True), lead=(3,)),
    case("BatchNorm-instance_max", MIXED, lambda: nn.BatchNorm(MIXED, instance=True, reduce="max"), lead=(3,)),
    case("BatchNorm-empty", "", lambda: nn.BatchNorm(""), learned=RUNNING, excused=NO_COLUMNS),
    case("LayerNorm", MIXED, lambda: nn.LayerNorm(MIXED)),
    case("LayerNorm-joint", MIXED, lambda: nn.LayerNorm(MIXED, joint=True), lead=(2,)),
    case("LayerNorm-plain", MIXED, lambda: nn.LayerNorm(MIXED, affine=False)),
    case("LayerNorm-no_scalars", "2x1o+0o", lambda: nn.LayerNorm("2x1o+0o")),
    case("LayerNorm-empty", "", lambda: nn.LayerNorm(""), excused=NO_COLUMNS),
    case("RMSNorm", MIXED, lambda: nn.RMSNorm(MIXED)),
    case("RMSNorm-joint", MIXED, lambda: nn.RMSNorm(MIXED, joint=True), lead=(2,)),
    case("RMSNorm-plain", MIXED, lambda: nn.RMSNorm(MIXED, affine=False)),
    case("RMSNorm-empty", "", lambda: nn.RMSNorm("", joint=True), excused=NO_COLUMNS),
]

OTHERS = [
    case("normalize2mom", "3x0o", lambda: normalize2mom(torch.tanh), excused=FUNCTION),
    case("Dropout", MIXED, lambda: nn.Dropout(MIXED, 0.5)),
    case("Dropout-none", MIXED, lambda: nn.Dropout(MIXED, 0.0), lead=(2,)),
    case("Dropout-empty", "", lambda: nn.Dropout("", 0.5), excused=NO_COLUMNS),
    case("FullyConnectedNet", "4x0e", lambda: nn.FullyConnectedNet([4, 8, 3], silu), "3x0e"),
    case("FullyConnectedNet-linear", "4x0e", lambda: nn.FullyConnectedNet([4, 3]), "3x0e", lead=(2,)),
    case("FullyConnectedNet-learned", "4x0e", lambda: nn.FullyConnectedNet([4, 5, 3], torch.nn.PReLU()), "3x0e"),
    case(
        "FullyConnectedNet-options",
        "4x0e",
        lambda: nn.FullyConnectedNet([4, 5, 3], torch.tanh, variance_in=2, variance_out=3, out_act=True),
        "3x0e",
    ),
    case(
        "Extract",
        "1o+2x0e+1e+3x0e",
        lambda: nn.Extract("1o+2x0e+1e+3x0e", ["1e+2x0e", "2x0e+1e", "3x0e"], [(2, 1), (1, 2), (3,)]),
        ["1e+2x0e", "2x0e+1e", "3x0e"],
        excused=ANY_DTYPE,
    ),
    case(
        "Extract-whole",
        "1o+0e",
        lambda: nn.Extract("1o+0e", ["1o+0e"], [(0, 1)], squeeze_out=True),
        excused=ANY_DTYPE,
    ),
    case(
        "ExtractIr",
        "1o+2x0e+2x1o",
        lambda: nn.ExtractIr("1o+2x0e+2x1o", "1o"),
        "1o+2x1o",
        lead=(2,),
        excused=ANY_DTYPE,
    ),
    case(
        "ExtractIr-none",
        "1o+2x0e",
        lambda: nn.ExtractIr("1o+2x0e", "2e"),
        "",
        excused=ANY_DTYPE | {"equivariance": "there are no components to compare"},
    ),
    case(
        "Identity",
        MIXED,
        lambda: nn.Identity(MIXED, MIXED),
        excused=ANY_DTYPE | {"mixed_dtypes": "it computes nothing, so its mask meets no features"},
    ),
    case(
        "Residual",
        "4x0e+2x1o",
        lambda: nn.Residual(o3.Linear("4x0e+2x1o", "4x0e+2x1o"), learn_scale=True),
        "4x0e+2x1o",
    ),
    case(
        "Residual-shortcut",
        "4x0e+2x1o",
        lambda: nn.Residual(o3.Linear("4x0e+2x1o", "3x0e+1o"), scale=0.5),
        "3x0e+1o",
        lead=(2,),
    ),
]

CASES = ACTIVATIONS + NORMS + OTHERS
