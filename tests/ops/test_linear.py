import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ops.twin import TwinTests

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops.blocks import Block
from irrepnet.ops.linear import LinearPath, LinearPlan, linear

# Two blocks into one, one into two, and columns that nothing reads or reaches.
PLAN = LinearPlan(
    13,
    14,
    18,
    (
        LinearPath(Block(1, 2, 1), Block(0, 3, 1), 0, 0.5),
        LinearPath(Block(4, 2, 3), Block(4, 1, 3), 6, 1.5),
        LinearPath(Block(10, 1, 3), Block(4, 1, 3), 8, -1.0),
        LinearPath(Block(4, 2, 3), Block(8, 2, 3), 10, 2.0),
        LinearPath(Block(3, 1, 1), Block(0, 3, 1), 14, 1.0),
    ),
)


def by_hand(x, weights, plan, species):
    """Number by number."""
    out = [[0.0] * plan.dim_out for _ in range(x.shape[0])]
    for z, row in enumerate(x.tolist()):
        W = weights[species[z]].tolist()
        for a, b, offset, scale in plan.paths:
            for u in range(a.mul):
                for w in range(b.mul):
                    for k in range(a.dim):
                        term = scale * W[offset + u * b.mul + w] * row[a.offset + u * a.dim + k]
                        out[z][b.offset + w * b.dim + k] += term
    return torch.tensor(out, dtype=torch.float64).reshape(x.shape[0], plan.dim_out)


class TestSharedWeights(TwinTests):
    differentiable = (0, 1)
    dynamic = ({0: "rows"}, None)

    def op(self, x, weights, *, backend):
        return linear(x, weights, PLAN, backend=backend)

    def example(self, size):
        return torch.randn(size, 13, dtype=torch.float64), torch.randn(18, dtype=torch.float64)

    def oracle(self, x, weights):
        return by_hand(x, weights[None], PLAN, [0] * x.shape[0])

    def kernels(self):
        x, W = self.example(4)
        g, V = torch.randn(4, 14, dtype=torch.float64), torch.randn(3, 18, dtype=torch.float64)
        species, plan = torch.tensor([2, 0, 2, 2]), (PLAN.ints, PLAN.scales)
        return [
            ("linear", (x, W[None], None, *plan, False)),
            ("linear", (g, V, species, *plan, True)),
            ("linear_weights", (x, g, None, *plan, 1)),
            ("linear_weights", (x.clone(), g.clone(), species, *plan, 3)),
        ]

    def bad_inputs(self):
        x, W = self.example(4)
        return [
            ((x[:, 1:], W), ShapeError, r"linear needs x \[Z, 13\]; got \[4, 12\]"),
            ((x[0], W), ShapeError, r"linear needs x \[Z, 13\]; got \[13\]"),
            ((x, W[1:]), ShapeError, r"linear needs weights \[\(Z = 4,\) 18\]; got \[17\]"),
            ((x, W[None]), ShapeError, r"linear needs weights \[\(Z = 4,\) 18\]; got \[1, 18\]"),
            ((x, W.float()), DtypeError, "got x float64 on cpu, weights float32 on cpu"),
            ((x.long(), W), DtypeError, "needs x as a floating-point tensor; got torch.int64"),
            ((x, None), DtypeError, "needs weights as a floating-point tensor; got NoneType"),
        ]


class TestWeightsOfSpecies(TwinTests):
    differentiable = (0, 1)
    dynamic = ({0: "rows"}, None, {0: "rows"})

    test_compile_with_inductor = None  # the same kernels as above

    def op(self, x, weights, species, *, backend):
        return linear(x, weights, PLAN, species, backend=backend)

    def example(self, size):
        species = torch.randint(3, (size,))
        species[species == 1] = 2  # there are none of one
        return torch.randn(size, 13, dtype=torch.float64), torch.randn(3, 18, dtype=torch.float64), species

    def oracle(self, x, weights, species):
        return by_hand(x, weights, PLAN, species.tolist())

    def bad_inputs(self):
        x, W, s = self.example(4)
        return [
            ((x, W[0], s), ShapeError, r"linear needs weights \[S, 18\]; got \[18\]"),
            ((x, W, s[1:]), ShapeError, r"linear needs species \[Z = 4\]; got \[3\]"),
            ((x, W, s.int()), DtypeError, "needs species as int64 numbers; got torch.int32"),
        ]


@given(st.integers(1, 70), st.integers(1, 40), st.sampled_from([1, 2, 3, 5, 7, 9, 13]), st.integers(1, 60))
def test_any_size(mul_in, mul_out, dim, rows):
    """Of channels, components and rows: kernels work in tiles, and what is left over must be right, too."""
    plan = LinearPlan(
        mul_in * dim + 1,
        mul_out * dim,
        mul_in * mul_out,
        (LinearPath(Block(1, mul_in, dim), Block(0, mul_out, dim), 0, 0.5),),
    )
    x, weights = torch.randn(rows, plan.dim_in), torch.randn(3, plan.weight_numel)
    species = torch.randint(3, (rows,))
    grads = []
    for backend in ("reference", "auto"):
        leaves = x.clone().requires_grad_(), weights.clone().requires_grad_()
        out = linear(*leaves, plan, species, backend=backend)
        grads.append((out, *torch.autograd.grad(out.sin().sum(), leaves)))
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_many_rows_and_one_set_of_weights_for_each():
    x, weights = torch.randn(5000, 13).double().requires_grad_(), torch.randn(5000, 18).double().requires_grad_()
    each = torch.arange(5000)
    out = linear(x, weights, PLAN, each)
    torch.testing.assert_close(out[::500], by_hand(x[::500], weights[::500], PLAN, range(10)))
    expected = torch.autograd.grad(linear(x, weights, PLAN, each, backend="reference").sum(), (x, weights))
    torch.testing.assert_close(torch.autograd.grad(out.sum(), (x, weights)), expected)


def test_species_out_of_range():
    with pytest.raises((RuntimeError, IndexError), match=r"species from 0 to 2; got 3|out of (range|bounds)"):
        linear(torch.randn(2, 13), torch.randn(3, 18), PLAN, torch.tensor([0, 3]))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (LinearPath(Block(12, 2, 1), Block(0, 1, 1), 0, 1.0), "path 5 needs blocks of equal dim within"),
        (LinearPath(Block(0, 2, 1), Block(0, 1, 2), 0, 1.0), "path 5 needs blocks of equal dim within"),
        (LinearPath(Block(0, 2, 1), Block(12, 2, 1), 15, 1.0), r"weights within \[18\]; got .*weight_offset 15"),
        (LinearPath(Block(0, 2, 1), Block(2, 2, 1), 0, 1.0), "equal or apart; got"),
    ],
)
def test_plans_that_do_not_fit(path, words):
    with pytest.raises(ShapeError, match=words):
        LinearPlan(13, 14, 18, (*PLAN.paths, path))
