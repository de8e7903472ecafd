import copy
import pickle

import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.testing.strategies import irreps

some = irreps(lmax=2, max_mul=3, max_terms=4)


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def twins(irreps_in, irreps_out, **options):
    return [room.Linear(str(irreps_in), str(irreps_out), **options) for room in (o3, e3nn.o3)]


@settings(max_examples=25)
@given(some, some, st.booleans(), st.sampled_from(["element", "path"]))
def test_equals_e3nn_with_its_weights(irreps_in, irreps_out, biases, path_normalization):
    biases = biases and "0e" in irreps_in  # e3nn cannot make a bias where no path ends
    ours, theirs = twins(irreps_in, irreps_out, biases=biases, path_normalization=path_normalization)
    if biases and ours.bias is not None:
        torch.nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    assert [tuple(ins) for ins in ours.instructions] == [
        (ins.i_in, ins.i_out, ins.path_shape, pytest.approx(ins.path_weight)) for ins in theirs.instructions
    ]
    assert torch.equal(ours.output_mask, theirs.output_mask)
    x = irreps_in.randn(3, -1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_equals_e3nn_with_extra_axes_and_with_weights_in_the_call():
    args = "2x1o+3x0e", "1x1o+2x0e+1o"
    ours, theirs = twins(*args, f_in=3, f_out=4, biases=True)
    torch.nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 3, 9)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    assert ours(torch.randn(6, 5, 3, 9)).shape == (6, 5, 4, 8) and ours(torch.randn(0, 3, 9)).shape == (0, 4, 8)

    ours, theirs = twins(*args, shared_weights=False)
    x, w = torch.randn(5, 9), torch.randn(5, ours.weight_numel)
    torch.testing.assert_close(ours(x, w), theirs(x, w), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours(x[:1], w), ours(x[:1].expand(5, 9), w))

    ours, theirs = twins(*args, internal_weights=False, biases=True)
    w, b = torch.randn(ours.weight_numel), torch.randn(2)
    torch.testing.assert_close(ours(x, w, b), theirs(x, w, b), rtol=0, atol=1e-12)

    ours, theirs = twins(*args, f_in=2, f_out=3, shared_weights=False)
    x, w = torch.randn(5, 2, 9), torch.randn(5, 2, 3, ours.weight_numel)
    torch.testing.assert_close(ours(x, w), theirs(x, w), rtol=0, atol=1e-12)


@settings(max_examples=15)
@given(some, some, st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_extra_axes_are_channels(irreps_in, irreps_out, f_in, f_out, shared):
    """Each f of the output sums one plain map of each f of the input; the plan does not grow with them."""
    linear = o3.Linear(irreps_in, irreps_out, f_in=f_in, f_out=f_out, shared_weights=shared, internal_weights=False)
    plain = o3.Linear(irreps_in, irreps_out, shared_weights=shared, internal_weights=False)
    assert len(linear.plan.paths) == len(plain.plan.paths)
    x = torch.randn(4, f_in, irreps_in.dim)
    w = torch.randn(*([] if shared else [4]), f_in, f_out, linear.weight_numel)
    terms = [[plain(x[:, a], w[..., a, b, :]) for a in range(f_in)] for b in range(f_out)]
    expected = torch.stack([sum(row) for row in terms], dim=1) / f_in**0.5
    torch.testing.assert_close(linear(x, w), expected, rtol=0, atol=1e-12)


def test_extra_axes_under_transforms_and_compilers():
    linear = o3.Linear("2x0e+1o", "2x1o+2x0e", f_in=2, f_out=3, biases=True)
    x = torch.randn(4, 2, 5)
    torch.testing.assert_close(torch.compile(linear, backend="aot_eager", fullgraph=True)(x), linear(x))
    program = torch.export.export(linear, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},)).module()
    torch.testing.assert_close(program(x[:3]), linear(x[:3]))
    torch.testing.assert_close(torch.vmap(linear)(x), linear(x))
    outside = o3.Linear("2x0e+1o", "2x1o+2x0e", f_in=2, f_out=2, internal_weights=False)
    args = [t.requires_grad_() for t in (x[:2], torch.randn(2, 2, outside.weight_numel))]
    assert torch.autograd.gradgradcheck(outside, args)


def test_biases_of_each_row():
    linear = o3.Linear("2x0e", "3x0e+0e", shared_weights=False, biases=[True, False])
    x, w, b = torch.randn(5, 2), torch.randn(5, 8), torch.randn(5, 3)
    plain = linear(x, w, torch.zeros(5, 3))
    torch.testing.assert_close(linear(x, w, b), plain + torch.nn.functional.pad(b, (0, 1)))
    only_bias = o3.Linear("1o", "2x0e", biases=True)
    torch.nn.init.ones_(only_bias.bias)
    assert torch.equal(only_bias(torch.randn(4, 3)), torch.ones(4, 2))


@settings(max_examples=15)
@given(irreps(lmax=6, max_mul=3), irreps(lmax=6, max_mul=3))
def test_is_equivariant(irreps_in, irreps_out):
    linear = o3.Linear(irreps_in, irreps_out + irreps_in, biases=True)
    for bias in linear.parameters():
        torch.nn.init.normal_(bias)
    x, R = irreps_in.randn(3, -1), -o3.rand_matrix()
    out = linear(x)
    turned = linear(x @ irreps_in.D_from_matrix(R).T)
    assert out.abs().max() > 1e-6
    torch.testing.assert_close(turned, out @ linear.irreps_out.D_from_matrix(R).T, rtol=0, atol=1e-12)


def test_weights_and_where_they_lie():
    linear = o3.Linear("4x0e+3x1o", "2x1o+5x0e", biases=True)
    assert linear.weight_numel == 26 and linear.bias.eq(0).all() and linear.bias_numel == 5
    assert [(s.slice_1D, s.shape_2D) for s in linear.weight_index_slices] == [
        (slice(0, 20), (4, 5)),
        (slice(20, 26), (3, 2)),
    ]
    assert [tuple(v.shape) for v in linear.weight_views()] == [(4, 5), (3, 2)]
    assert abs(o3.Linear("64x0e", "64x0e").weight.std().item() - 1) < 0.05
    out = o3.Linear("32x0e+32x1o", "32x0e+32x1o")(torch.randn(2000, 128))
    assert 0.8 < out.var().item() < 1.25


def test_a_bias_list_that_is_none_is_no_bias():
    assert o3.Linear("0e", "0e", biases=None).bias is None


@settings(max_examples=10)
@given(st.data())
def test_chosen_paths_equal_e3nn(data):
    muls = st.integers(0, 3)
    irreps_in, irreps_out = (data.draw(st.lists(st.tuples(muls, st.just("1o")), min_size=1, max_size=3)) for _ in "ab")
    pairs = [(i, j) for i in range(len(irreps_in)) for j in range(len(irreps_out))]
    chosen = data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=4))  # one may come twice
    options = {"instructions": chosen, "path_normalization": data.draw(st.sampled_from(["element", "path"]))}
    ours, theirs = (room.Linear(irreps_in, irreps_out, **options) for room in (o3, e3nn.o3))
    assert ours.weight_numel == theirs.weight_numel
    ours.load_state_dict(theirs.state_dict())
    x = ours.irreps_in.randn(3, -1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    for view, other in zip(ours.weight_views(), theirs.weight_views(), strict=True):
        assert torch.equal(view, other)


def test_without_weights_of_its_own_arguments_still_go_together():
    linear = o3.Linear("2x0e", "3x0e", shared_weights=False)
    x, weight = torch.randn(4, 2), torch.randn(4, 6)
    assert linear(x.float(), weight.float()).dtype == torch.float32
    with pytest.raises(DtypeError, match="features and weights of one dtype"):
        linear(x.float(), weight)


def test_wrong_numbers_of_weights_come_with_a_table():
    linear = o3.Linear("4x0e+2x1o", "3x0e+2x1o", internal_weights=False, biases=True)
    with pytest.raises(ShapeError, match=r"needs weight \[16\]; got \[12\]. The flat axis holds") as error:
        linear(torch.randn(3, 10), torch.randn(12), torch.randn(3))
    assert str(error.value).splitlines()[1:] == [
        "  instruction  entries       mode  path_shape  count  offset",
        "  0            4x0e -> 3x0e  uw    (4, 3)      12     0",
        "  1            2x1o -> 2x1o  uw    (2, 2)      4      12",
    ]


def test_chosen_paths():
    linear = o3.Linear("4x0e+3x0e", "4x0e+3x0e", instructions=[(0, 0), (1, 1)])
    assert linear.weight_numel == 25
    x = torch.randn(2, 7)
    assert torch.equal(linear(torch.cat([x[:, :4], 0 * x[:, 4:]], 1))[:, 4:], torch.zeros(2, 3))


def test_second_derivatives():
    linear = o3.Linear("2x0e+1o", "2x1o+2x0e", biases=True, internal_weights=False)
    args = [t.requires_grad_() for t in (torch.randn(2, 5), torch.randn(linear.weight_numel), torch.randn(2))]
    assert torch.autograd.gradcheck(linear, args) and torch.autograd.gradgradcheck(linear, args)


def test_transforms_and_compilers():
    linear = o3.Linear("4x0e+2x1o", "3x0e+2x1o", biases=True)
    x = linear.irreps_in.randn(4, -1)
    torch.testing.assert_close(torch.compile(linear, backend="aot_eager", fullgraph=True)(x), linear(x))
    program = torch.export.export(linear, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},)).module()
    torch.testing.assert_close(program(x[:3]), linear(x[:3]))
    torch.testing.assert_close(torch.vmap(linear)(x), linear(x))
    torch.testing.assert_close(torch.func.jacrev(linear)(x[0]) @ x[0], linear(x[0]))


def test_state_and_copies():
    linear, theirs = twins("4x0e+2x1o", "3x0e+2x1o", biases=True)
    assert list(linear.state_dict()) == ["weight", "bias"]
    linear.load_state_dict(theirs.state_dict())
    x = linear.irreps_in.randn(4, -1)
    for other in (copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))):
        assert torch.equal(other(x), linear(x)) and other.weight is not linear.weight
    with torch.device("meta"):
        on_meta = o3.Linear("4x0e", "3x0e+2e")
    assert on_meta.to_empty(device="cpu").output_mask.tolist() == [1.0] * 3 + [0.0] * 5
    bare, theirs = twins("4x0e", "3x0e", shared_weights=False)
    bare.load_state_dict(theirs.state_dict())
    assert not bare.state_dict()
    assert linear.float()(x.float()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x.bfloat16()).isfinite().all()


def test_biases_of_the_call_broadcast():
    linear = o3.Linear("2x0e+1o", "3x0e+1o", internal_weights=False, biases=True)
    x, weight = linear.irreps_in.randn(4, 6, -1), torch.randn(linear.weight_numel)
    plain = linear(x, weight, torch.zeros(3))
    for shape in [(3,), (6, 3), (1, 3), (4, 1, 3), (4, 6, 3)]:
        bias = torch.randn(shape)
        needed = torch.cat([plain[..., :3] + bias, plain[..., 3:]], dim=-1)
        torch.testing.assert_close(linear(x, weight, bias), needed)
    for shape in [(4, 3), (24, 3), (1, 4, 6, 3)]:
        with pytest.raises(ShapeError, match=r"leading axes broadcast to \[4, 6\]; got"):
            linear(x, weight, torch.randn(shape))
    with pytest.raises(DtypeError, match=r"features and bias of one dtype .* bias float32 on cpu"):
        linear(x, weight, torch.randn(3).float())


def test_autocast_gives_one_dtype_with_and_without_biases():
    for irreps_out in ("3x0e+2x1o", "3x0o+2x0e+2x1o"):
        for biases in (False, True):
            linear = o3.Linear("4x0e+2x1o", irreps_out, biases=biases).float()
            with torch.autocast("cpu", torch.bfloat16):
                assert linear(torch.randn(5, 10).float()).dtype == torch.bfloat16


def test_runs_without_values():
    linear = o3.Linear("4x0e+2x1o", "3x0e+2x1o", biases=True).to("meta")
    out = linear(torch.randn(5, 10, device="meta"))
    assert out.is_meta and out.shape == (5, 9)


def test_empty():
    for args in [("", "0e"), ("0e", ""), ("", ""), ("0x1o+2x0e", "0x1o+1o")]:
        linear = o3.Linear(*args)
        assert torch.equal(linear(linear.irreps_in.randn(3, -1)), torch.zeros(3, linear.irreps_out.dim))
    assert o3.Linear("2x0e", "3x0e")(torch.randn(0, 2)).shape == (0, 3)


def test_reads_as_mathematics():
    assert repr(o3.Linear("4x0e+2x1o", "3x0e+2e")) == "Linear(4x0e+2x1o -> 3x0e+1x2e | 12 weights | no path to 1x2e)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"instructions": [(0, 1)]}, ValueError, "instruction 0 joins 0e to 1o.*Did you mean 0e"),
        ({"instructions": [(0, 2)]}, IndexError, r"instruction 0 is \(0, 2\); irreps_in '2x0e\+1x1o' has 2 entries"),
        ({"instructions": [(-1, 0)]}, IndexError, r"instruction 0 is \(-1, 0\)"),
        ({"f_in": 3}, ConfigError, "needs f_in and f_out, or neither; got f_in = 3, f_out = None"),
        ({"biases": [True, True]}, IrrepsError, "a bias is possible on 0e only; got one on 1o of '3x0e"),
        ({"biases": [True]}, IrrepsError, "one bool for each entry of '3x0e.*; got 1"),
        ({"path_normalization": "paths"}, ConfigError, "one of element, path; got 'paths'. Did you mean 'path'"),
        ({"shared_weights": False, "internal_weights": True}, ConfigError, "needs shared_weights=True"),
        ({"_optimize_einsums": True}, ConfigError, "_optimize_einsums has no meaning"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        o3.Linear("2x0e+1o", "3x0e+1o", **options)


def test_bad_operands_are_named():
    linear = o3.Linear("2x0e+1o", "1o")
    with pytest.raises(
        ShapeError, match=r"Linear needs features \[..., 5\] for irreps_in = 2x0e\+1x1o; got features \[3, 4\]"
    ):
        linear(torch.randn(3, 4))
    with pytest.raises(DtypeError, match="got features float32 on cpu, weights float64 on cpu"):
        linear(torch.randn(3, 5).float())
    for features, found in ((torch.ones(3, 5).long(), "torch.int64"), ([1.0], "list")):
        with pytest.raises(DtypeError, match=f"Linear needs features as a floating-point tensor; got {found}"):
            linear(features)
    outside = o3.Linear("2x0e", "2x0e", internal_weights=False, biases=True)
    x = torch.randn(3, 2)
    with pytest.raises(RuntimeError, match="needs 4 weights in the call; got none"):
        outside(x)
    with pytest.raises(RuntimeError, match="needs 2 biases in the call; got none"):
        outside(x, torch.randn(4))
    with pytest.raises(ShapeError, match=r"needs bias \[..., 2\]; got \[3\]"):
        outside(x, torch.randn(4), torch.randn(3))
    for operands in ((torch.randn(4),), (None, torch.randn(4))):
        with pytest.raises(
            ShapeError, match=r"Linear has no (weights|biases) and needs none; got (weight|bias) \[4\]. Leave it out"
        ):
            o3.Linear("0e", "1o")(x[:, :1], *operands)
    unshared = o3.Linear("2x0e", "2x0e", shared_weights=False)
    with pytest.raises(ShapeError, match=r"Linear needs .* broadcast; got \[3\] of features and \[4\] of weight"):
        unshared(x, torch.randn(4, 4))
    with pytest.raises(ShapeError, match=r"needs features \[..., 4, 2\]"):
        o3.Linear("2x0e", "2x0e", f_in=4, f_out=1)(x)
