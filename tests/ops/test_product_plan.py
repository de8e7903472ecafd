import copy
import math
import pickle

import pytest
import torch

from irrepnet import o3
from irrepnet.errors import ShapeError
from irrepnet.ops import Block, Coupling, ProductPath, ProductPlan, tensor_product

UNIT = Coupling((1, 1, 1), (1.0,))
SCALAR = Block(0, 2, 1)


def path(**changes):
    return ProductPath(SCALAR, Block(0, 1, 1), SCALAR, "uvu", 0, 0, 1.0, (2, 1))._replace(**changes)


def plan(*paths, dims=(2, 1, 2), weight_numel=2, couplings=(UNIT,)):
    return ProductPlan(*dims, weight_numel, paths, couplings)


def big(edge="0e+1o+2e", muls=(4, 4)):
    return o3.TensorProduct(
        f"{muls[0]}x0e+{muls[1]}x1o",
        edge,
        f"{muls[0]}x1o+{muls[1]}x0e+{muls[1]}x1o",
        [(0, 1, 0, "uvu", True), (1, 1, 1, "uvu", True), (1, 0, 2, "uvu", True)],
    ).plan


def test_is_a_value():
    assert (
        plan(path()) == plan(path())
        and hash(plan(path())) == hash(plan(path()))
        and plan(path()) != plan(path(scale=2.0))
    )
    for other in (copy.deepcopy(big()), pickle.loads(pickle.dumps(big()))):
        assert other == big() and other.channelwise_groups() == big().channelwise_groups()
    with pytest.raises(AttributeError):
        plan(path()).dim1 = 3


def test_prints():
    assert repr(big()) == "ProductPlan(16 x 9 -> 28 | 12 weights | 3 paths)"
    assert repr(Coupling((1, 2, 2), (1.0, 0.0, 0.0, 1.0))) == "Coupling(1 x 2 -> 2 | 2 of 4 entries)"


def test_tables_are_rounded_once():
    exact = big().tables(torch.float64)
    assert exact.dtype == torch.float64 and torch.equal(big().tables(torch.float32), exact.float())
    assert big().tables(torch.float32, "meta").device.type == "meta"
    couplings = torch.cat([big().paths[0].scale * big().couplings[0].dense().flatten()])
    assert set(couplings[couplings != 0].tolist()) <= set(exact.tolist())


@pytest.mark.parametrize(
    "made", [big(), big(muls=(4, 5)), o3.FullTensorProduct("2x4e+2x5o", "2x4e").plan, plan(path())]
)
def test_the_number_of_constants_is_known(made):
    assert made.tables(torch.float32).shape == (made.table_numel,)


def test_small_blocks_of_one_multiplicity_share_a_matrix():
    (shared,) = big().channelwise_groups()
    assert shared.paths == (0, 1, 2) and shared.dims == (3, 1, 3) and (shared.rows, shared.columns) == (7, 4)
    assert [group.paths for group in big(muls=(4, 5)).channelwise_groups()] == [(0,), (1, 2)]
    wide = o3.FullTensorProduct("2x4e+2x5o", "4e").plan.channelwise_groups()
    assert [len(group.blocks) for group in wide] == [1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: plan(path(), dims=(1, 1, 2)),
            r"path 0 needs in1 within 1 columns; got Block\(offset=0, mul=2, dim=1\)",
        ),
        (lambda: plan(path(), dims=(2, 0, 2)), "path 0 needs in2 within 0 columns"),
        (lambda: plan(path(), dims=(2, 1, 1)), "path 0 needs out within 1 columns"),
        (lambda: plan(path(weight_offset=1)), "path 0 needs its weights at 0, next to the last"),
        (
            lambda: plan(path(mode="uvw", weight_offset=None, weight_shape=()), weight_numel=0),
            "path 0 needs weights for its mode 'uvw'; got none",
        ),
        (lambda: plan(path(), weight_numel=3), "the paths hold 2 weights; got weight_numel = 3"),
        (
            lambda: plan(path(in1=Block(0, 2, 3)), dims=(6, 1, 2)),
            r"path 0 couples \(3, 1, 1\); its coupling is \(1, 1, 1\)",
        ),
        (
            lambda: plan(path(), path(out=Block(1, 2, 1), weight_offset=2), dims=(2, 1, 3), weight_numel=4),
            "blocks must be the same or apart",
        ),
        (lambda: plan(path(mode="uvx")), "needs a mode of uvw, uvu, .*; got 'uvx'. Did you mean 'uv"),
        (
            lambda: plan(path(mode="uvx", weight_offset=None, weight_shape=()), weight_numel=0),
            "needs a mode of .*; got 'uvx'",
        ),
        (lambda: plan(path(out=Block(0, 1, 1))), r"path 0 of mode 'uvu' needs mul_out = mul_in1; got \(2, 1, 1\)"),
        (lambda: plan(path(mode="uuw")), r"path 0 of mode 'uuw' needs mul_in1 = mul_in2; got \(2, 1, 2\)"),
        (
            lambda: plan(path(in2=SCALAR, mode="uuw", weight_offset=None), dims=(2, 2, 2)),
            "path 0 needs weights for its mode 'uuw'; got none",  # without, all outputs would be the same sum
        ),
        (
            lambda: plan(path(weight_shape=(2,))),
            r"path 0 of mode 'uvu' needs weight_shape \(2, 1\); got \(2,\)",
        ),
        (lambda: Coupling((1, 1, 2), (1.0,)), r"a coupling \(1, 1, 2\) needs 2 values; got 1"),
    ],
)
def test_plans_that_cannot_be(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


@pytest.mark.parametrize(
    ("mode", "fitting"),
    [
        ("uvw", (2, 3, 4)),
        ("uvu", (2, 3, 2)),
        ("uvv", (2, 3, 3)),
        ("uuw", (2, 2, 5)),
        ("uuu", (2, 2, 2)),
        ("uvuv", (2, 3, 6)),
        ("uvu<v", (4, 4, 6)),
        ("u<vw", (4, 4, 5)),
    ],
)
@pytest.mark.parametrize("more", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_multiplicities_go_with_the_mode(mode, fitting, more):
    """What would not fit is what instructions of e3nn's products refuse, too; a kernel is never asked for it."""
    muls = tuple(a + b for a, b in zip(fitting, more, strict=True))
    free = {"uvw": (0, 1, 2), "uvu": (1,), "uvv": (0,), "uuw": (2,), "u<vw": (2,)}.get(mode, ())
    blocks = [Block(0, mul, 1) for mul in muls]
    wanted = ProductPath(*blocks, mode, 0, 0, 1.0)
    wanted = wanted._replace(weight_shape=wanted.needed_weight_shape)
    numel = math.prod(wanted.weight_shape)

    def make():
        return plan(wanted, dims=muls, weight_numel=numel)

    if more == (0, 0, 0) or more.index(1) in free:
        made = make()
        x, y, weights = (torch.randn(size) for size in (muls[0], muls[1], numel))
        results = [tensor_product(x, y, weights, made, backend=backend) for backend in ("reference", "auto")]
        torch.testing.assert_close(*results)
    else:
        with pytest.raises(
            ShapeError, match=rf"path 0 of mode '{mode}' needs mul_.* = .*; got \({muls[0]}, {muls[1]}, "
        ):
            make()
