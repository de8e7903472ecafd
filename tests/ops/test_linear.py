import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ops.twin import TwinTests

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._backend import library_status
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

needs_library = pytest.mark.skipif(not library_status().loaded, reason=library_status().reason)


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


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("kind", ["shared", "each", "species"])
def test_vmap_of_any_size(kind, batch, rows, backend):
    """An empty batch keeps the shape of its members; gradients of the weights, too."""
    torch.manual_seed(0)
    x = torch.randn(batch, rows, 13, dtype=torch.float64)
    shape = {"shared": (batch, 18), "each": (batch, rows, 18), "species": (batch, 3, 18)}[kind]
    weights = torch.randn(shape, dtype=torch.float64)
    species = torch.randint(3, (rows,)) if kind == "species" else None

    def total(x, weights):
        out = linear(x, weights, PLAN, species, backend=backend)
        return out.sin().sum(), out

    for dims in (0, None):
        W = weights if dims == 0 else torch.randn(shape[1:], dtype=torch.float64)
        grads, found = torch.vmap(torch.func.grad(total, argnums=(0, 1), has_aux=True), in_dims=(0, dims))(x, W)
        assert found.shape == (batch, rows, 14) and [g.shape for g in grads] == [x.shape, shape]
        for n in range(batch):
            V = W[n] if dims == 0 else W
            expected, out = torch.func.grad(total, argnums=(0, 1), has_aux=True)(x[n], V)
            torch.testing.assert_close((found[n], grads[0][n], grads[1][n]), (out, *expected))


# Two channels to one, of one component: sizes, then first columns, channels, components, first weight.
INTS = [2, 1, 2, 0, 0, 2, 1, 1, 0]


def changed(**numbers):
    """The plan with other numbers, by position: changed(n3=1) reads one column later."""
    plan = list(INTS)
    for name, number in numbers.items():
        plan[int(name[1:])] = number
    return plan


def linear_call(plan=INTS, scales=(1.0,), transposed=False, **others):
    given = {"x": torch.ones(4, 1 if transposed else 2), "weights": torch.ones(1, 2), "species": None, **others}
    return torch.ops.irrepnet.linear(*given.values(), plan, list(scales), transposed)


def weights_call(plan=INTS, scales=(1.0,), num_species=1, **others):
    given = {"x": torch.ones(4, 2), "g": torch.ones(4, 1), "species": None, **others}
    return torch.ops.irrepnet.linear_weights(*given.values(), plan, list(scales), num_species)


OUTSIDE = "got a plan whose path 0 lies outside its tensors"
BAD_PLANS = [
    ({"plan": INTS[:-1]}, r"needs a plan of 3 \+ 6 numbers per path"),
    ({"plan": []}, r"needs a plan of 3 \+ 6 numbers per path"),
    ({"scales": ()}, r"needs a plan of 3 \+ 6 numbers per path"),
    *(({"plan": changed(**{f"n{n}": bad})}, OUTSIDE) for n in range(3, 9) for bad in (-1, 2**30, 2**63 - 1, -(2**63))),
    *(({"plan": changed(**{f"n{n}": 0})}, OUTSIDE) for n in (5, 6, 7)),  # no channels, no components
    *(({"plan": changed(**{f"n{n}": 1})}, OUTSIDE) for n in (3, 4, 8)),  # one too far
    *(({"plan": changed(**{f"n{n}": more})}, OUTSIDE) for n, more in ((5, 3), (6, 2), (7, 2))),
    ({"plan": [4, 2, 6, *INTS[3:], 0, 0, 2, 2, 1, 2], "scales": (1.0, 1.0)}, "got a plan with overlapping blocks"),
    ({"plan": [2, 3, 6, 0, 0, 2, 2, 1, 0, 0, 1, 1, 2, 1, 4], "scales": (1.0,) * 2}, "with overlapping blocks"),
]
SPECIES = torch.zeros(4, dtype=torch.int64)
BAD_SPECIES = [
    ({"species": SPECIES[1:]}, r"needs species as int64 \[4\]; got \[3\]"),
    ({"species": SPECIES[None]}, r"needs species as int64 \[4\]; got \[1, 4\]"),
    ({"species": SPECIES.int()}, r"needs species as int64 \[4\]"),
    *(({"species": SPECIES + bad}, f"needs species from 0 to 0; got {bad}") for bad in (-1, 1, 2**62)),
]


@needs_library
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *BAD_PLANS,
        *BAD_SPECIES,
        ({"x": torch.ones(4, 1)}, r"linear needs x \[..., 2\]; got x \[4, 1\]"),
        ({"transposed": True, "x": torch.ones(4, 2)}, r"linear needs x \[..., 1\]; got x \[4, 2\]"),
        ({"x": torch.ones(2)}, r"linear needs x with two axes; got \[2\]"),
        ({"weights": torch.ones(1, 3)}, r"linear needs weights \[..., 2\]; got weights \[1, 3\]"),
        ({"weights": torch.ones(2)}, r"linear needs weights with two axes; got \[2\]"),
        ({"weights": torch.ones(1, 2).double()}, "needs x and weights of one dtype"),
        ({"x": torch.ones(4, 2).half()}, "needs x in float32 or float64; got Half"),
        ({"weights": torch.ones(1, 2).long()}, "needs weights in float32 or float64; got Long"),
        *(({"weights": torch.ones(sets, 2)}, f"a set of weights for each of 4 rows; got {sets}") for sets in (0, 3, 5)),
    ],
)
def test_the_library_checks_its_arguments(arguments, message):
    """The stable ABI checks nothing, and an op can be called with a plan that no class has looked at."""
    with pytest.raises(RuntimeError, match=message):
        linear_call(**arguments)


@needs_library
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *BAD_PLANS,
        *BAD_SPECIES,
        ({"x": torch.ones(4, 1)}, r"linear_weights needs x \[..., 2\]; got x \[4, 1\]"),
        ({"g": torch.ones(4, 2)}, r"linear_weights needs g \[..., 1\]; got g \[4, 2\]"),
        ({"g": torch.ones(1)}, r"linear_weights needs g with two axes; got \[1\]"),
        ({"g": torch.ones(3, 1)}, r"x and g with equal leading axes; got \[4, 2\] and \[3, 1\]"),
        ({"g": torch.ones(4, 1).double()}, "needs x and g of one dtype; got Float and Double"),
        ({"x": torch.ones(4, 2).half()}, "needs x in float32 or float64; got Half"),
        *(({"num_species": sets}, f"needs num_species > 0; got {sets}") for sets in (0, -1)),
        *(({"num_species": sets}, f"a set of weights for each of 4 rows; got {sets}") for sets in (3, 2**40)),
    ],
)
def test_the_library_checks_its_arguments_for_gradients_of_weights(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        weights_call(**arguments)


@needs_library
def test_the_library_checks_its_arguments_and_takes_these():
    assert torch.equal(linear_call(), torch.full((4, 1), 2.0))
    assert torch.equal(linear_call(transposed=True), torch.ones(4, 2))
    assert torch.equal(weights_call(), torch.full((1, 2), 4.0))


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
