"""What irreps a function really returns."""

import pytest
import torch
from hypothesis import given

from irrepnet import nn, o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.testing import infer_parity, strategies

VECTORS = ["1o", "1o"]


def triple(a, b, c):
    return (a * torch.linalg.cross(b, c)).sum(-1, keepdim=True)


class TestFinds:
    def test_cross_product_is_even(self):
        assert infer_parity(torch.linalg.cross, VECTORS) == o3.Irreps("1e")
        assert infer_parity(torch.linalg.cross, ["1o", "1e"]) == o3.Irreps("1o")

    def test_scalars(self):
        assert infer_parity(triple, ["1o", "1o", "1o"]) == o3.Irreps("0o")
        assert infer_parity(triple, ["1e", "1o", "1o"]) == o3.Irreps("0e")
        assert infer_parity(lambda a, b: (a * b).sum(-1, keepdim=True), VECTORS) == o3.Irreps("0e")

    def test_several_outputs(self):
        f = lambda a, b: (a + b, torch.linalg.cross(a, b), (a * b).sum(-1, keepdim=True))
        assert infer_parity(f, VECTORS) == (o3.Irreps("1o"), o3.Irreps("1e"), o3.Irreps("0e"))

    def test_three_scalars_are_not_a_vector(self):
        lengths = lambda a, b: torch.stack([a.norm(dim=-1), b.norm(dim=-1), (a * b).sum(-1)], dim=-1)
        assert infer_parity(lengths, VECTORS) == o3.Irreps("3x0e")

    @given(irreps=strategies.irreps(lmax=4, max_mul=3))
    def test_identity_returns_what_it_was_given(self, irreps):
        assert infer_parity(lambda x: x, irreps) == irreps.simplify()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_product_module_in_both_dtypes(self, dtype):
        product = o3.FullTensorProduct("2x0o+1o", "1o+2e").to(dtype)
        assert infer_parity(product, [product.irreps_in1, product.irreps_in2]) == product.irreps_out.simplify()
        assert infer_parity(product, ["2x0o+1o", "1o+2e"], dtype=dtype) == product.irreps_out.simplify()

    def test_activation_of_odd_scalars(self):
        assert infer_parity(torch.tanh, "2x0o") == o3.Irreps("2x0o")
        assert infer_parity(torch.abs, "2x0o") == o3.Irreps("2x0e")
        assert infer_parity(nn.Activation("2x0o", [torch.abs]), "2x0o") == o3.Irreps("2x0e")

    def test_copies_of_one_vector(self):
        assert infer_parity(lambda x: torch.cat([x, x], dim=-1), "1o") == o3.Irreps("2x1o")

    def test_differences_of_points_and_given_inputs(self):
        pos = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64)  # on an axis: zero components are no obstacle
        pairs = torch.tensor([[0], [1]])
        f = lambda pos, pairs: pos[pairs[1]] - pos[pairs[0]]
        assert infer_parity(f, ["cartesian_points", None], inputs=[pos, pairs]) == o3.Irreps("1o")

    def test_function_that_is_not_a_polynomial_or_homogeneous(self):
        f = lambda x: x * torch.exp(-x.square().sum(-1, keepdim=True)) + x
        assert infer_parity(f, "1e") == o3.Irreps("1e")


class TestRefuses:
    def test_both_parities_in_one_column(self):
        with pytest.raises(
            IrrepsError, match=r"columns 1 to 3 of output 0 of <lambda> have no parity: they rotate as l"
        ) as e:
            infer_parity(lambda a, b: torch.cat([a[:, :1] * 0 + 1, a + torch.linalg.cross(a, b)], -1), VECTORS)
        assert "even part, 1e, of rms" in str(e.value) and "odd part, 1o, of rms" in str(e.value)
        with pytest.raises(IrrepsError, match=r"column 0 of output 0 of softplus has no parity: it rotates as l = 0"):
            infer_parity(torch.nn.functional.softplus, "0o")

    def test_the_parts_are_measured(self):
        x = torch.tensor([[3.0]], dtype=torch.float64)
        with pytest.raises(IrrepsError, match=r"0e, of rms 2.0e\+00 and an odd part, 0o, of rms 3.0e\+00"):
            infer_parity(lambda x: x + 2, "0o", inputs=[x])

    def test_no_rotation_law(self):
        with pytest.raises(IrrepsError, match="does not rotate as irreps from column 0 of 3 on: the nearest, l = "):
            infer_parity(torch.nn.Linear(3, 3).double(), "1o")
        with pytest.raises(IrrepsError, match="from column 1 of 3 on"):  # one scalar, then two parts of a vector
            infer_parity(lambda x: torch.cat([x.norm(dim=-1, keepdim=True), x[:, :2]], -1), "1o")

    def test_matrix_of_nine_columns_is_not_in_the_order_of_irreps(self):
        outer = lambda a, b: (a[:, :, None] * b[:, None]).flatten(1)
        with pytest.raises(IrrepsError, match="its columns are not those of irreps"):
            infer_parity(outer, VECTORS)

    def test_zero_column(self):
        with pytest.raises(
            IrrepsError, match="column 3 of output 0 of <lambda> is zero, which transforms as every irrep"
        ):
            infer_parity(lambda x: torch.cat([x, 0 * x], dim=-1), "1o")

    def test_not_finite(self):
        with pytest.raises(IrrepsError, match="is not finite"):
            infer_parity(lambda x: x / 0, "1o")

    def test_the_second_output_is_named(self):
        with pytest.raises(IrrepsError, match="output 1 of <lambda> does not rotate"):
            infer_parity(lambda x: (x, x**2), "1o")


class TestErrors:
    def test_shapes(self):
        with pytest.raises(
            ShapeError, match=r"output 0 of <lambda> needs a floating-point tensor \[..., dim\]; got int"
        ):
            infer_parity(lambda x: 1, "1o")
        with pytest.raises(ShapeError, match="one shape whatever the arguments"):
            infer_parity(lambda x: x[x[:, 0] > 0], "1o")
        with pytest.raises(ShapeError, match="as many outputs whatever the arguments"):
            infer_parity(lambda x: [x] * int(3 + 100 * x[0, 0].abs()), "1o")
        with pytest.raises(ShapeError, match="inputs holds 2"):
            infer_parity(lambda x: x, "1o", inputs=[torch.ones(1, 3), 1])

    def test_missing_inputs(self):
        with pytest.raises(ConfigError, match="argument 1 is declared None"):
            infer_parity(lambda x, y: x, ["1o", None])

    def test_dtype_without_a_default(self):
        with pytest.raises(DtypeError, match=r"infer_parity needs tol for torch\.bfloat16"):
            infer_parity(lambda x: x, "1o", dtype=torch.bfloat16)
        assert infer_parity(lambda x: x, "1o", dtype=torch.bfloat16, tol=0.1) == o3.Irreps("1o")

    def test_global_random_state_stays(self):
        before = torch.get_rng_state()
        infer_parity(torch.linalg.cross, VECTORS)
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_size_of_the_output_does_not_matter(scale):
    assert infer_parity(lambda x: scale * x, "2x0o+1o") == o3.Irreps("2x0o+1o")
    with pytest.raises(IrrepsError, match="column 3 of output 0 of <lambda> is zero"):
        infer_parity(lambda x: scale * torch.cat([x, 1e-9 * x], dim=-1), "1o")
    with pytest.raises(IrrepsError, match="column 0 of output 0 of <lambda> is zero"):  # but for rounding
        infer_parity(lambda x: (x + 1) - x - 1, "1o")
