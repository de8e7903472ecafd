"""Cases of products reduced by symmetries under permutations."""

import torch
from modules.case import Case

from irrepnet import o3

EXCUSED = {"export": "forward(*xs) takes dynamic shapes in another form: tests/o3/test_reduced_tensor_products.py"}
NOTHING = {"equivariance": "the output is empty: there is nothing to compare"}


def case(formula, filter_ir_out=None, filter_ir_mid=None, note="", excused=EXCUSED, **irreps):
    make = lambda: o3.ReducedTensorProducts(formula, filter_ir_out, filter_ir_mid, **irreps)
    made = make()
    inputs = lambda dtype: tuple(torch.randn(5, factor.dim, dtype=dtype) for factor in made.irreps_in)
    return Case(
        f"ReducedTensorProducts-{formula}{note}", make, inputs, made.irreps_in, made.irreps_out, excused=excused
    )


CASES = [
    case("ij=ji", i="1o"),
    case("ij=-ji", i="2x1o+1e+0o", note="-repeated"),
    case("ijk=jki", i="0e+1o"),
    case("ijk=-jik", i="1o", k="0o+2e"),
    case("ijkl=jikl=klij", i="1o"),
    case("ij=ji", filter_ir_out=["2e"], i="1o+2e", note="-filter_ir_out"),
    case("ijk=jik", filter_ir_mid=["0e", "1o"], i="1o", k="1o", note="-filter_ir_mid"),
    case("i", i="1o+0e+1o"),
    case("ij=-ji", i="0e", note="-empty-output", excused=EXCUSED | NOTHING),
    case("ij=ji", i="0x1o+0e", note="-zero-multiplicity"),
]
