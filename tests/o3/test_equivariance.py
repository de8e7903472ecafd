"""Every map of ``o3`` commutes with rotations and inversion, in both dtypes, to the default tolerances."""

import pytest
import torch
from hypothesis import given, settings
from o3.products import products

from irrepnet import o3
from irrepnet.testing import assert_equivariant, strategies

both = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
few = settings(max_examples=6)
some = strategies.irreps(lmax=6, max_mul=2, max_terms=2)
one = strategies.irreps(lmax=6, max_mul=2, max_terms=1)


@both
@few
@given(products(lmax=6, max_mul=2))
def test_tensor_product(dtype, product):
    tp = o3.TensorProduct(*product.irreps, product.instructions, **product.options).to(dtype)
    weights = (
        torch.randn(tp.weight_numel, dtype=dtype) if tp.shared_weights else torch.randn(5, tp.weight_numel).to(dtype)
    )
    inputs = [tp.irreps_in1, tp.irreps_in2]
    assert_equivariant(lambda x, y: tp(x, y, weights), inputs, tp.irreps_out, dtype=dtype, trials=2)


@both
@few
@given(some, one)
def test_full_tensor_product(dtype, a, b):
    tp = o3.FullTensorProduct(a, b).to(dtype)
    assert_equivariant(tp, [a, b], tp.irreps_out, trials=2)


@both
@few
@given(some, one)
def test_fully_connected_tensor_product(dtype, a, b):
    reached = sorted({ir for _, ir1 in a for _, ir2 in b for ir in ir1 * ir2})
    tp = o3.FullyConnectedTensorProduct(a, b, [(2, ir) for ir in reached]).to(dtype)
    assert_equivariant(tp, [a, b], tp.irreps_out, trials=2)


@both
@few
@given(strategies.irreps(lmax=6, max_mul=3))
def test_linear(dtype, irreps):
    linear = o3.Linear(irreps, irreps.regroup() + o3.Irreps("2x0e"), biases=True).to(dtype)
    torch.nn.init.normal_(linear.bias)
    assert_equivariant(linear, linear.irreps_in, linear.irreps_out, trials=2)


@both
@few
@given(strategies.irreps(lmax=6, max_mul=1))
def test_spherical_harmonics(dtype, irreps):
    for vector in ("1o", "1e"):
        out = o3.Irreps([(1, (ir.l, o3.Irrep(vector).p ** ir.l)) for _, ir in irreps])
        for normalize in (True, False):
            Y = o3.SphericalHarmonics(out, normalize, "component", irreps_in=vector)
            assert_equivariant(Y, vector, out, dtype=dtype, trials=2)
