import copy
import math
import pickle

import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from o3.products import MODES, products

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(product):
    return o3.TensorProduct(*product.irreps, product.instructions, **product.options)


def operands(tp, rows=3):
    weights = torch.randn(tp.weight_numel) if tp.shared_weights else torch.randn(rows, tp.weight_numel)
    return tp.irreps_in1.randn(rows, -1), tp.irreps_in2.randn(rows, -1), weights


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_equals_e3nn_with_its_weights(mode):
    @settings(max_examples=8)
    @given(products(modes=(mode,)))
    def compare(product):
        irreps = [[(mul, (ir.l, ir.p)) for mul, ir in side] for side in product.irreps]
        theirs = e3nn.o3.TensorProduct(*irreps, product.instructions, **product.options)
        ours = make(product)
        for a, b in zip(ours.instructions, theirs.instructions, strict=True):
            assert a[:5] == tuple(b)[:5] and a.path_shape == b.path_shape
            assert a.path_weight == pytest.approx(b.path_weight, rel=1e-14)
        assert ours.weight_numel == theirs.weight_numel
        assert torch.equal(ours.output_mask, theirs.output_mask)
        args = operands(ours)
        torch.testing.assert_close(ours(*args), theirs(*args), rtol=0, atol=1e-12)

    compare()


@settings(max_examples=25)
@given(products(lmax=6, max_mul=2))
def test_is_equivariant(product):
    tp = make(product)
    x, y, weights = operands(tp)
    R = -o3.rand_matrix()
    D1, D2, D3 = (irreps.D_from_matrix(R) for irreps in (tp.irreps_in1, tp.irreps_in2, tp.irreps_out))
    out = tp(x, y, weights)
    assert out.abs().max() > 1e-6
    turned = tp(x @ D1.T, y @ D2.T, weights)
    torch.testing.assert_close(turned, out @ D3.T, rtol=0, atol=1e-12 * max(1.0, out.abs().max().item()))


def test_weights_lie_as_in_e3nn():
    instructions = [(0, 0, 0, "uvu", False), (1, 0, 1, "uvw", True), (0, 1, 2, "uvu", True)]
    tp = o3.TensorProduct("2x0e+3x1o", "4x0e+2x1o", "2x0e+5x1o+2x1o", instructions)
    assert tp.weight_numel == 3 * 4 * 5 + 2 * 2 and tp.weight.shape == (64,)
    numbers, paths, views = zip(*tp.weight_views(yield_instruction=True), strict=True)
    assert numbers == (1, 2) and [path.path_shape for path in paths] == [(3, 4, 5), (2, 2)]
    assert [tuple(view.shape) for view in views] == [(3, 4, 5), (2, 2)]
    assert torch.equal(torch.cat([view.flatten() for view in views]), tp.weight)
    assert tp.weight_view_for_instruction(2).data_ptr() == tp.weight[60:].data_ptr()
    x, y = tp.irreps_in1.randn(5, -1), tp.irreps_in2.randn(5, -1)
    assert torch.equal(tp(x, y, list(views)), tp(x, y))


@settings(max_examples=10)
@given(products())
def test_views_are_where_the_product_reads(product):
    """e3nn's weight_view_for_instruction counts paths without weights, so later views are wrong there."""
    tp = make(product)
    weight = torch.arange(float(tp.weight_numel))
    weight = weight if tp.shared_weights else weight.expand(2, -1)
    views = [tp.weight_view_for_instruction(i, weight) for i, ins in enumerate(tp.instructions) if ins.has_weight]
    for view, other in zip(views, tp.weight_views(weight), strict=True):
        assert torch.equal(view, other)
    assert torch.equal(torch.cat([view.flatten(weight.ndim - 1) for view in views] or [weight], dim=-1), weight)
    twin = e3nn.o3.TensorProduct(
        *[[(mul, (ir.l, ir.p)) for mul, ir in side] for side in product.irreps], product.instructions, **product.options
    )
    for view, other in zip(views, twin.weight_views(weight), strict=True):
        assert torch.equal(view, other)


def test_the_view_that_e3nn_misplaces():
    args = "2x0e", "0e", "2x0e", [(0, 0, 0, "uvu", False), (0, 0, 0, "uvu", True)]
    weight = torch.tensor([1.0, 2.0])
    ours, theirs = (room.TensorProduct(*args, internal_weights=False) for room in (o3, e3nn.o3))
    assert ours.weight_view_for_instruction(1, weight).flatten().tolist() == [1.0, 2.0]
    with pytest.raises((RuntimeError, IndexError)):
        theirs.weight_view_for_instruction(1, weight)


def test_wrong_numbers_of_weights_come_with_a_table():
    instructions = [(0, 0, 0, "uvu", False), (1, 0, 1, "uvw", True), (0, 1, 2, "uvu", True)]
    tp = o3.TensorProduct("2x0e+3x1o", "4x0e+2x1o", "2x0e+5x1o+2x1o", instructions, internal_weights=False)
    with pytest.raises(ShapeError, match=r"needs weight \[64\]; got \[60\]. The flat axis holds") as error:
        tp(torch.randn(3, 11), torch.randn(3, 10), torch.randn(60))
    assert str(error.value).splitlines()[1:] == [
        "  instruction  entries              mode  path_shape  count  offset",
        "  1            3x1o x 4x0e -> 5x1o  uvw   (3, 4, 5)   60     0",
        "  2            2x0e x 2x1o -> 2x1o  uvu   (2, 2)      4      60",
    ]
    with pytest.raises(ShapeError, match=r"needs weights \[..., 2, 2\] for instruction 2; got \[4\]"):
        tp(torch.randn(3, 11), torch.randn(3, 10), [torch.randn(3, 4, 5), torch.randn(4)])


def test_a_table_of_many_instructions_is_cut():
    tp = o3.FullyConnectedTensorProduct("+".join(["0e"] * 30), "0e", "0e", internal_weights=False)
    with pytest.raises(ShapeError) as error:
        tp(torch.randn(3, 30), torch.randn(3, 1), torch.randn(29))
    lines = str(error.value).splitlines()
    assert len(lines) == 23 and lines[-2].strip() == "..." and lines[-1].split()[0] == "29"


def test_variance_of_the_output():
    torch.manual_seed(0)
    tp = o3.FullyConnectedTensorProduct("8x0e+8x1o+4x2e", "0e+1o+2e", "16x0e+16x1o+16x2e")
    out = tp(tp.irreps_in1.randn(4000, -1), tp.irreps_in2.randn(4000, -1))
    variances = torch.stack([out[:, s].var() for s in tp.irreps_out.slices()])
    assert ((variances > 0.5) & (variances < 1.6)).all()


def test_leading_axes_broadcast_and_may_be_empty():
    tp = o3.FullyConnectedTensorProduct("2x0e+1o", "1o", "1o+2x0e")
    assert tp(torch.randn(5, 1, 5), torch.randn(4, 3)).shape == (5, 4, 5)
    assert tp(torch.randn(5), torch.randn(3)).shape == (5,)
    assert tp(torch.randn(0, 5), torch.randn(0, 3)).shape == (0, 5)
    x, y = torch.randn(4, 5), torch.randn(3)
    torch.testing.assert_close(tp(x, y), tp(x, y.expand(4, 3)))
    unshared = o3.TensorProduct("2x0e", "1o", "2x1o", [(0, 0, 0, "uvu", True)], shared_weights=False)
    assert unshared(torch.randn(4, 1, 2), torch.randn(3), torch.randn(6, 2)).shape == (4, 6, 6)


def test_empty_irreps():
    for irreps in [("", "1o", "0e"), ("1o", "", ""), ("0x0e+2x1o", "1o", "0x0e+2x1e")]:
        tp = o3.TensorProduct(*irreps, [(1, 0, 1, "uvw", True)] if len(irreps[0]) > 2 else [])
        out = tp(tp.irreps_in1.randn(3, -1), tp.irreps_in2.randn(3, -1))
        assert out.shape == (3, tp.irreps_out.dim)
    nothing = o3.TensorProduct("0x1o", "1o", "1e", [(0, 0, 0, "uvw", True)])
    assert nothing.weight_numel == 0 and not nothing.output_mask.any()
    assert torch.equal(nothing(torch.randn(2, 0), torch.randn(2, 3)), torch.zeros(2, 3))


def test_second_derivatives():
    for mode in ("uvw", "uvu", "u<vw"):
        mul = {"uvw": 2, "uvu": 2, "u<vw": 3}[mode]
        tp = o3.TensorProduct(f"2x0e+{mul}x1o", f"{mul}x1o", "2x1e", [(1, 0, 0, mode, True)], internal_weights=False)
        args = [arg.requires_grad_() for arg in operands(tp, rows=2)]
        assert torch.autograd.gradcheck(tp, args) and torch.autograd.gradgradcheck(tp, args)


MIXED = (
    "2x0e+2x1o",
    "0e+1o",
    "2x0e+2x1o+1o",
    [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True), (1, 1, 0, "uvu", False), (0, 1, 2, "uvw", True)],
)


def test_transforms_and_compilers():
    tp = o3.TensorProduct(*MIXED)
    x, y = tp.irreps_in1.randn(4, -1), tp.irreps_in2.randn(4, -1)
    expected = tp(x, y)
    torch.testing.assert_close(torch.compile(tp, backend="aot_eager", fullgraph=True)(x, y), expected)
    rows = {0: torch.export.Dim("rows")}
    program = torch.export.export(tp, (x, y), dynamic_shapes=(rows, rows)).module()
    torch.testing.assert_close(program(x[:3], y[:3]), expected[:3])
    torch.testing.assert_close(torch.vmap(tp)(x, y), expected)
    jacobian = torch.func.jacrev(tp)(x[0], y[0])
    torch.testing.assert_close(jacobian @ x[0], expected[0])  # linear in x
    loss = lambda weights: torch.func.functional_call(tp, weights, (x, y)).pow(2).sum()
    assert torch.func.grad(loss)(dict(tp.named_parameters()))["weight"].shape == tp.weight.shape


def test_state_holds_learned_weights_only_and_reads_that_of_e3nn():
    ours, theirs = o3.TensorProduct(*MIXED), e3nn.o3.TensorProduct(*MIXED)
    assert list(ours.state_dict()) == ["weight"]
    ours.load_state_dict(theirs.state_dict())
    x, y = ours.irreps_in1.randn(4, -1), ours.irreps_in2.randn(4, -1)
    torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=0, atol=1e-12)
    nested = torch.nn.Sequential(o3.TensorProduct(*MIXED))
    nested.load_state_dict(torch.nn.Sequential(theirs).state_dict())
    assert torch.equal(nested[0].weight, theirs.weight)
    bare = o3.TensorProduct(*MIXED, internal_weights=False)
    bare.load_state_dict(e3nn.o3.TensorProduct(*MIXED, internal_weights=False).state_dict())
    assert not bare.state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        ours.load_state_dict({"weight": ours.weight, "other": ours.weight})


def test_moves_keep_the_tables_exact():
    tp = o3.TensorProduct(*MIXED)
    exact = tp.tables.clone()
    tp.float()
    assert tp.tables.dtype == tp.weight.dtype == tp.output_mask.dtype == torch.float32
    assert torch.equal(tp.double().tables, exact)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(o3.TensorProduct(*MIXED).double().tables, exact)
    with torch.device("meta"):
        on_meta = o3.TensorProduct(*MIXED)
    on_meta.to_empty(device="cpu")
    assert torch.equal(on_meta.tables, exact.float()) and torch.equal(on_meta.output_mask, tp.output_mask.float())


def test_copies():
    tp = o3.TensorProduct(*MIXED)
    x, y = tp.irreps_in1.randn(4, -1), tp.irreps_in2.randn(4, -1)
    for other in (copy.deepcopy(tp), pickle.loads(pickle.dumps(tp))):
        assert torch.equal(other(x, y), tp(x, y)) and other.plan == tp.plan and other.weight is not tp.weight


def test_reads_as_mathematics():
    assert repr(o3.TensorProduct(*MIXED)) == (
        "TensorProduct(2x0e+2x1o x 1x0e+1x1o -> 2x0e+2x1o+1x1o | 8 paths | 6 weights)"
    )
    tp = o3.TensorProduct("1o", "1o", "1e+2x0o+0e", [(0, 0, 2, "uvw", True)])
    assert repr(tp) == "TensorProduct(1x1o x 1x1o -> 1x1e+2x0o+1x0e | 1 paths | 1 weights | no path to 1x1e+2x0o)"
    assert tp.output_mask.tolist() == [0, 0, 0, 0, 0, 1]
    assert torch.equal(tp(torch.randn(2, 3), torch.randn(2, 3))[:, :5], torch.zeros(2, 5))


def test_weights_that_are_missing_or_wrong():
    path = [(0, 0, 0, "uvw", True)]
    without = o3.TensorProduct("1o", "1o", "1e", path, internal_weights=False)
    rows = torch.randn(2, 3), torch.randn(2, 3)
    with pytest.raises(
        RuntimeError, match=r"made with internal_weights=False and needs 1 weights in the call; got none"
    ):
        without(*rows)
    with pytest.raises(ShapeError, match=r"shared_weights=True needs weight \[1\]; got \[2, 1\]"):
        without(*rows, torch.randn(2, 1))
    unshared = o3.TensorProduct("1o", "1o", "1e", path, shared_weights=False)
    with pytest.raises(ShapeError, match=r"shared_weights=False needs weight \[..., 1\]; got \[1\]"):
        unshared(*rows, torch.randn(1))
    with pytest.raises(DtypeError, match="needs weight as a tensor; got float"):
        without(*rows, 1.0)
    with pytest.raises(ConfigError, match="internal_weights=True needs shared_weights=True"):
        o3.TensorProduct("1o", "1o", "1e", path, shared_weights=False, internal_weights=True)


def test_weights_for_a_product_without_weights():
    """Dropped silently, they would hide a second factor given to a square."""
    x, y = torch.randn(4, 6), torch.randn(4, 3)
    product = o3.FullTensorProduct("2x1o", "1o")
    message = r"has no weights and needs none; got weight \[4, 6\]. Leave it out."
    for call in (lambda: product(x, y, x), lambda: product.right(y, x), lambda: o3.TensorSquare("2x1o")(x, x)):
        with pytest.raises(ShapeError, match=message):
            call()
    with pytest.raises(ShapeError, match="needs a list of 0 weights, one for each instruction that has some; got 1"):
        product(x, y, [x])
    with pytest.raises(DtypeError, match="needs weight as a tensor; got float"):
        product(x, y, 1.0)
    for nothing in (torch.randn(0), torch.randn(4, 0), []):
        assert torch.equal(product(x, y, nothing), product(x, y))
        assert torch.equal(product.right(y, nothing), product.right(y))


def test_bad_operands_are_named():
    tp = o3.TensorProduct("2x0e+1o", "1o", "1o", [(0, 0, 0, "uvw", True)])
    y = torch.randn(3, 3)
    with pytest.raises(
        ShapeError, match=r"TensorProduct needs x \[..., 5\] for irreps_in1 = 2x0e\+1x1o; got x \[3, 4\]"
    ):
        tp(torch.randn(3, 4), y)
    with pytest.raises(ShapeError, match=r"needs y \[..., 3\] for irreps_in2 = 1x1o; got y \[\]"):
        tp(torch.randn(3, 5), torch.tensor(1.0))
    with pytest.raises(ShapeError, match=r"leading axes broadcast; got \[3, 5\] and \[2, 3\]"):
        tp(torch.randn(3, 5), torch.randn(2, 3))
    with pytest.raises(DtypeError, match="one dtype on one device; got x float32 on cpu, y float64 on cpu"):
        tp(torch.randn(3, 5).float(), y)
    with pytest.raises(DtypeError, match="got x float32 on cpu, y float32 on cpu, weights float64"):
        tp(torch.randn(3, 5).float(), y.float())
    with pytest.raises(DtypeError, match=r"floating-point tensor.*got torch.int64"):
        tp(torch.ones(3, 5).long(), y)
    with pytest.raises(DtypeError, match=r"needs y as a floating-point tensor \[..., 3\]; got list"):
        tp(torch.randn(3, 5), [0.0, 1.0, 0.0])
    with pytest.raises(DtypeError, match="x float64 on meta, y float64 on cpu"):
        tp(torch.randn(3, 5, device="meta"), y)


def test_arguments_without_meaning_here_stay_at_their_defaults():
    refused = {"_optimize_einsums": True, "_specialized_code": True}
    for name, value in refused.items():
        with pytest.raises(ConfigError, match=f"{name} has no meaning in irrepnet; got"):
            o3.TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)], **{name: value})
    with pytest.raises(IrrepsError, match=r"in1_var needs 1 values, one for each entry of '1x1o'; got 2"):
        o3.TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)], in1_var=[1.0, 2.0])
    with pytest.raises(IrrepsError, match=r"out_var needs 1 values, one for each entry of '1x1e'; got 0"):
        o3.TensorProduct("1o", "1o", "1e", [(0, 0, 0, "uuu", False)], out_var=[])


def test_the_old_name_of_the_normalization():
    arguments = "2x1o", "1o", "2x1e", [(0, 0, 0, "uvu", True)]
    with pytest.warns(DeprecationWarning, match="Use irrep_normalization"):
        old = o3.TensorProduct(*arguments, normalization="norm")
    assert old.instructions == o3.TensorProduct(*arguments, irrep_normalization="norm").instructions
    assert old.instructions != o3.TensorProduct(*arguments).instructions


def test_half_precision():
    tp = o3.TensorProduct(*MIXED).float()
    x, y = tp.irreps_in1.randn(4, -1).float(), tp.irreps_in2.randn(4, -1).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tp(x, y), tp(x, y)) and tp(x, y).dtype == torch.float32
        assert tp(x.bfloat16(), y).dtype == torch.float32
    low = copy.deepcopy(tp).bfloat16()(x.bfloat16(), y.bfloat16())
    assert low.dtype == torch.bfloat16 and math.isclose((low.float() - tp(x, y)).abs().max().item(), 0, abs_tol=0.2)
