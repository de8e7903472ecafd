"""Cases of products in every mode, of squares, norms and linear maps with options."""

import torch
from modules.case import Case

from irrepnet import o3
from irrepnet.o3.experimental import ElementwiseTensorProductv2, FullTensorProductv2

ONE_INPUT = (o3.Linear, o3.Norm, o3.TensorSquare)


NO_COLUMNS = {
    "shape": "the input has no columns, so the test has none to repeat and passes it as it was",
    "equivariance": "what comes out is zero or has no columns, so there is nothing to turn",
}
NO_DTYPE = {"mixed_dtypes": "without weights of its own it has no numbers, hence no dtype; test_linear mixes arguments"}


def case(kind, label, *arguments, excused=None, **options):
    """Return the case of a module; weights that it does not own are its last argument."""
    made = kind(*arguments, **options)
    irreps_in = [made.irreps_in] if kind in ONE_INPUT else [made.irreps_in1, made.irreps_in2]
    if getattr(made, "weight_numel", 0) and not made.internal_weights:
        irreps_in.append(o3.Irreps([(made.weight_numel, "0e")]))

    def inputs(dtype):
        drawn = [torch.randn(5, irreps.dim, dtype=dtype) for irreps in irreps_in]
        if getattr(made, "weight_numel", 0) and made.shared_weights and not made.internal_weights:
            drawn[-1] = drawn[-1][0]
        return tuple(drawn)

    make = lambda: kind(*arguments, **options)
    return Case(f"{kind.__name__}-{label}", make, inputs, irreps_in, str(made.irreps_out), excused=excused or {})


def mode(name, muls, has_weight=True, **options):
    """Return a case of one mode, of odd and even irreps, with the multiplicities of its three irreps."""
    a, b, c = muls
    irreps = f"{a}x1o+{a}x2o", f"{b}x1e+{b}x0o", f"{c}x1o+{c}x2o+{c}x2e"
    paths = [(0, 0, 0, name, has_weight), (0, 0, 1, name, has_weight, 0.5), (1, 1, 2, name, has_weight)]
    label = f"{name}-{'weights' if has_weight else 'plain'}{''.join(f'-{option}' for option in options)}"
    return case(o3.TensorProduct, label, *irreps, paths, **options)


CASES = [
    mode("uvw", (2, 3, 4)),
    mode("uvw", (2, 1, 4), shared_weights=False),
    mode("uvu", (2, 3, 2)),
    mode("uvu", (3, 1, 3), shared_weights=False),
    mode("uvv", (2, 3, 3), has_weight=False),
    mode("uuw", (2, 2, 3)),
    mode("uuu", (2, 2, 2), has_weight=False),
    mode("uvuv", (2, 3, 6)),
    mode("uvuv", (2, 3, 6), has_weight=False, irrep_normalization="norm", path_normalization="path"),
    mode("uvu<v", (3, 3, 3)),
    mode("u<vw", (3, 3, 2)),
    case(o3.TensorProduct, "empty", "", "1o", "2x1e", [], excused=NO_COLUMNS),
    case(o3.TensorProduct, "zero", "0x1o+2x0e", "1o", "0x1e+2x1o", [(0, 0, 0, "uvw", True), (1, 0, 1, "uvu", True)]),
    case(o3.FullyConnectedTensorProduct, "repeated", "1o+2x1o+0o", "1o+1e", "0e+0e+1o+2o"),
    case(o3.FullTensorProduct, "repeated", "1o+0e+2x1o", "2x1e+1o", filter_ir_out=["0e", "0o", "1o", "2e"]),
    case(o3.FullTensorProduct, "empty", "", "1o", excused=NO_COLUMNS),
    case(o3.ElementwiseTensorProduct, "cut", "2x0e+3x1o+1e", "4x1e+2x0o"),
    case(o3.ElementwiseTensorProduct, "filter", "2x1o+1o", "1o+2x2e", ["1o", "2e"], "norm"),
    case(o3.ElementwiseTensorProduct, "empty", "", "", excused=NO_COLUMNS),
    case(o3.TensorSquare, "whole", "2x0e+1o+2x1e"),
    case(o3.TensorSquare, "filter", "2x0o+2x1o", filter_ir_out=["0e", "1e"]),
    case(o3.TensorSquare, "weights", "2x0o+3x1o", "2x0e+1o+2x1e+2e"),
    case(o3.TensorSquare, "empty", "", excused=NO_COLUMNS),
    case(FullTensorProductv2, "regroup", "1o+0e+1o", "2x1e"),
    case(FullTensorProductv2, "repeated", "1o+0e+2x1o", "1o+1o", regroup_output=False),
    case(ElementwiseTensorProductv2, "repeated", "1o+2x1o+0e", "2x1o+2x0o"),
    case(o3.Norm, "odd", "2x0e+3x1o+0o+1o"),
    case(o3.Norm, "squared", "2x0e+3x1o+2e", squared=True),
    case(o3.Norm, "empty", "", excused=NO_COLUMNS),
    case(o3.Linear, "path", "2x0o+1o+3x0o", "4x0o+1o+1e", path_normalization="path"),
    case(o3.Linear, "instructions", "2x1o+3x1o", "2x1o+3x1o", instructions=[(0, 0), (1, 1), (1, 0)]),
    case(o3.Linear, "unshared", "2x0e+1o", "3x0e+2x1o", shared_weights=False, excused=NO_DTYPE),
    case(o3.Linear, "empty", "", "2x0e", excused=NO_COLUMNS | NO_DTYPE),
]
