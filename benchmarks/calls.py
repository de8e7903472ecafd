"""What users of e3nn reach for, as expressions that read the same with either library: shared by two benchmarks."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CALLS", "Call"]


class Call(NamedTuple):
    """Something to make, and what to call it with.

    Args:
        make: Expression in ``o3``, ``nn``, ``io``, ``math``, ``torch``; its value is ``f``.
        inputs: Expression of a tuple ``x`` of tensors with ``N`` rows.
        call: Expression in ``f`` and ``x``.
        rows: N of the timed runs; a fresh process takes 4.
        same: Whether results are equal; e3nn's peaks are the nearest grid points.
        differentiable: Whether gradients to the inputs are timed too.
        is_product: A product or linear map: wanted ten times faster to make than e3nn's; the others at most 2 ms.
    """

    make: str
    inputs: str
    call: str = "f(*x)"
    rows: int = 1000
    differentiable: bool = True
    same: bool = True
    is_product: bool = False


FEATS, DIM = "16x0e+16x1o+16x2e", 16 * 9
ONE, TWO = f"(torch.randn(N, {DIM}),)", f"(torch.randn(N, {DIM}), torch.randn(N, {DIM}))"
POINTS = "(torch.randn(N, 3),)"
ANGLES = "tuple(3 * torch.rand(3, N))"

CALLS = {
    "Linear": Call(f"o3.Linear('{FEATS}', '{FEATS}')", ONE, is_product=True),
    "FullyConnectedTensorProduct": Call(
        "o3.FullyConnectedTensorProduct('16x0e+16x1o', '0e+1o', '16x0e+16x1o')",
        "(torch.randn(N, 64), torch.randn(N, 4))",
        is_product=True,
    ),
    "FullTensorProduct": Call(
        "o3.FullTensorProduct('4x0e+4x1o', '4x0e+4x1o')", "tuple(torch.randn(2, N, 16))", is_product=True
    ),
    "ElementwiseTensorProduct": Call(f"o3.ElementwiseTensorProduct('{FEATS}', '{FEATS}')", TWO, is_product=True),
    "TensorSquare": Call("o3.TensorSquare('4x0e+4x1o', '8x0e+4x1o+2e')", "(torch.randn(N, 16),)", is_product=True),
    "Norm": Call(f"o3.Norm('{FEATS}')", ONE),
    "SphericalHarmonics": Call("o3.SphericalHarmonics([0, 1, 2, 3], True)", POINTS),
    "SphericalHarmonicsAlphaBeta": Call("o3.SphericalHarmonicsAlphaBeta([0, 1, 2, 3])", "tuple(torch.rand(2, N))"),
    "Legendre": Call("o3.Legendre([0, 1, 2, 3])", "tuple(torch.rand(2, N))"),
    "wigner_D": Call("o3.wigner_D", ANGLES, "[f(l, *x) for l in range(7)]", rows=10000),
    "wigner_3j": Call("o3.wigner_3j", "()", "f(4, 5, 6)", differentiable=False),
    "D_from_matrix": Call(f"o3.Irreps('{FEATS}')", "(o3.rand_matrix(N),)", "f.D_from_matrix(*x)", rows=100),
    "ToS2Grid": Call("o3.ToS2Grid(6, (14, 13))", "(torch.randn(N, 49),)"),
    "FromS2Grid": Call("o3.FromS2Grid((14, 13), 6)", "(torch.randn(N, 14, 13),)"),
    "SO3Grid": Call("o3.SO3Grid(3, 4)", "(torch.randn(N, 84),)", "f.to_grid(*x)", rows=100),
    "ReducedTensorProducts": Call("o3.ReducedTensorProducts('ij=ji', i='1o')", "tuple(torch.randn(2, N, 3))"),
    "ReducedTensorProducts-4": Call(
        "o3.ReducedTensorProducts('ijkl=jikl=klij', i='1o')", "tuple(torch.randn(4, N, 3))"
    ),
    "CartesianTensor": Call("io.CartesianTensor('ij=ji')", "(torch.randn(N, 3, 3),)", "f.from_cartesian(*x)"),
    "SphericalTensor": Call(
        "io.SphericalTensor(6, 1, -1)", "(torch.randn(8, 3),)", "f.with_peaks_at(*x)", rows=1, differentiable=False
    ),
    "find_peaks": Call(
        "io.SphericalTensor(6, 1, -1)", "(torch.eye(3),)", "f.find_peaks(f.with_peaks_at(*x))", rows=1,
        differentiable=False, same=False,
    ),
    "Activation": Call("nn.Activation('64x0e', [torch.nn.functional.silu])", "(torch.randn(N, 64),)"),
    "Gate": Call(
        "nn.Gate('16x0e', [torch.nn.functional.silu], '32x0e', [torch.sigmoid], '16x1o+16x2e')",
        "(torch.randn(N, 16 * 11),)",
    ),
    "NormActivation": Call(f"nn.NormActivation(o3.Irreps('{FEATS}'), torch.sigmoid, bias=True)", ONE),
    "BatchNorm": Call(f"nn.BatchNorm('{FEATS}')", ONE),
    "Dropout": Call(f"nn.Dropout('{FEATS}', 0.5)", ONE),
    "FullyConnectedNet": Call(
        "nn.FullyConnectedNet([8, 64, 64, 64], torch.nn.functional.silu)", "(torch.randn(N, 8),)"
    ),
    "S2Activation": Call("nn.S2Activation('0e+1o+2e+3o', torch.tanh, 20)", "(torch.randn(N, 16),)"),
    "SO3Activation": Call("nn.SO3Activation(2, 2, torch.tanh, 5)", "(torch.randn(N, 35),)", rows=100),
    "Extract": Call("nn.Extract('16x0e+16x1o', ['16x1o'], [(1,)])", "(torch.randn(N, 64),)"),
    "soft_one_hot_linspace": Call(
        "math.soft_one_hot_linspace", "(torch.rand(N),)", "f(*x, 0.0, 1.0, 8, 'smooth_finite', cutoff=True)"
    ),
    "normalize2mom": Call("math.normalize2mom(torch.tanh)", "(torch.randn(N),)"),
}  # fmt: skip
