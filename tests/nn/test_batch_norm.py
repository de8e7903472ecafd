"""Batch normalisation: e3nn's values and running averages, statistics of graphs, and what is refused."""

import e3nn.nn
import pytest
import torch

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn import BatchNorm
from irrepnet.o3 import Irreps
from irrepnet.testing import assert_equivariant

IRREPS = "3x0e+2x1o+2x0o+2x0e+1e"
OPTIONS = [
    {},
    {"affine": False},
    {"include_bias": False},
    {"affine": False, "include_bias": False},
    {"normalization": "norm", "eps": 0.1, "momentum": 0.5},
    {"reduce": "max"},
    {"instance": True},
    {"instance": True, "reduce": "max", "normalization": "norm"},
    {"momentum": 0.0},
    {"momentum": 1.0},
]


def pair(irreps, **options):
    """Return our module and e3nn's, with the same weights that are not ones."""
    ours, theirs = BatchNorm(irreps, **options).double(), e3nn.nn.BatchNorm(irreps, **options).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def draw(irreps, *lead):
    return 2 * torch.randn(*lead, Irreps(irreps).dim, dtype=torch.float64) + 1


def assert_close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lead", [(6,), (6, 3), (4, 3, 2), (1,), (1, 3)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_e3nn_in_training_and_evaluation(options, lead):
    ours, theirs = pair(IRREPS, **options)
    for _ in range(3):
        x = draw(IRREPS, *lead)
        assert_close(ours(x), theirs(x))
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_close(state[name], value)
    ours.eval(), theirs.eval()
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("irreps", ["2x1o+0o", "4x0e", "1o"])
def test_equals_e3nn_without_some_kinds(irreps):
    ours, theirs = pair(irreps)
    x = draw(irreps, 5)
    assert_close(ours(x), theirs(x))
    assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_state_goes_both_ways(options):
    ours, theirs = BatchNorm(IRREPS, **options), e3nn.nn.BatchNorm(IRREPS, **options)
    ours(draw(IRREPS, 5, 2).float())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for name in ("weight", "bias", "running_mean", "running_var"):
        a, b = getattr(ours, name), getattr(theirs, name, None)  # e3nn leaves the attribute bias away
        assert (a is None) == (b is None)


def test_unit_scale():
    x = draw("4x0e+3x1o", 1000)
    y = BatchNorm("4x0e+3x1o", eps=0).double()(x)
    assert_close(y[:, :4].mean(0), torch.zeros(4, dtype=torch.float64))
    assert_close(y[:, :4].var(0, correction=0), torch.ones(4, dtype=torch.float64))
    assert_close(y[:, 4:].reshape(1000, 3, 3).square().mean((0, 2)), torch.ones(3, dtype=torch.float64))
    y = BatchNorm("4x0e+3x1o", eps=0, normalization="norm").double()(x)
    assert_close(y[:, 4:].reshape(1000, 3, 3).square().sum(2).mean(0), torch.ones(3, dtype=torch.float64))


def test_empty_batches_and_irreps_leave_statistics_alone():
    # e3nn raises for a batch without rows (a rank without data), for empty irreps and for multiplicities of zero.
    norm = BatchNorm("2x0e+1o")
    for lead in ((0,), (0, 4), (4, 0)):
        assert norm(torch.zeros(*lead, 5)).shape == (*lead, 5)
    assert_close(norm.running_mean, torch.zeros(2))
    assert_close(norm.running_var, torch.ones(3))
    assert BatchNorm("2x0e+1o", instance=True)(torch.zeros(0, 4, 5)).shape == (0, 4, 5)
    for options in ({}, {"instance": True}, {"reduce": "max"}):
        assert BatchNorm("", **options)(torch.zeros(3, 0)).shape == (3, 0)
        x = torch.randn(3, 2, 5)
        assert_close(BatchNorm("2x0e+0x2e+1o+0x0e", **options)(x), BatchNorm("2x0e+1o", **options)(x))


def test_graphs_are_normalised_each_on_its_own():
    norm = BatchNorm(IRREPS, instance=True).double()
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    batch = torch.tensor([2, 0, 2, 2, 0, 3, 2])  # unsorted; graph 1 has no nodes, graph 3 has one
    x = draw(IRREPS, 7)
    y = norm(x, batch=batch, num_graphs=4)
    for graph in (0, 2, 3):
        rows = batch == graph
        assert_close(y[rows], norm(x[rows].unsqueeze(0)).squeeze(0))
    assert norm(x[:0], batch=batch[:0], num_graphs=2).shape == (0, x.shape[1])
    assert_close(norm.eval()(x, batch=batch, num_graphs=4), y)


def test_graphs_are_equivariant_and_twice_differentiable():
    norm, batch = BatchNorm("2x0e+1o", instance=True).double(), torch.tensor([0, 1, 0, 1, 0])
    assert_equivariant(lambda x: norm(x, batch=batch, num_graphs=2), "2x0e+1o", "2x0e+1o")
    x = draw("2x0e+1o", 5).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: norm(x, batch=batch, num_graphs=2), x)
    compiled = torch.compile(norm, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, batch=batch, num_graphs=2), norm(x, batch=batch, num_graphs=2))


@pytest.mark.parametrize("options", [{}, {"reduce": "max"}, {"instance": True, "reduce": "max"}], ids=str)
def test_second_derivatives_in_training(options):
    norm = BatchNorm("2x0e+1o+0o", **options).double()
    x = draw("2x0e+1o+0o", 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)
    if not norm.instance:
        assert not norm.running_mean.requires_grad and not norm.running_var.requires_grad


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_second_derivatives_at_zero_in_training(reduce):
    norm, x = BatchNorm("2x0e+1o", reduce=reduce).double(), torch.zeros(3, 2, 5, dtype=torch.float64).requires_grad_()
    (first,) = torch.autograd.grad(norm(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + first.sum(), x)
    assert first.isfinite().all() and second.isfinite().all()


def test_compiled_training_moves_the_averages():
    x = draw(IRREPS, 6)
    plain, other = BatchNorm(IRREPS).double(), BatchNorm(IRREPS).double()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        assert_close(compiled(x), plain(x))
    assert_close(other.running_var, plain.running_var)
    assert_close(other.running_mean, plain.running_mean)


def test_autocast_keeps_statistics_in_full_precision():
    norm, x = BatchNorm("2x0e+1o"), torch.randn(8, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x.bfloat16())
    assert y.dtype == norm.running_var.dtype == torch.float32
    assert_close(y, BatchNorm("2x0e+1o")(x.bfloat16().float()))


def test_repr():
    assert repr(BatchNorm("2x0e+1o")) == "BatchNorm(2x0e+1x1o | 3 weights | 2 biases)"
    assert repr(BatchNorm("2x0e+1o", instance=True, affine=False)) == "BatchNorm(2x0e+1x1o | per instance)"


def test_errors():
    with pytest.raises(ConfigError, match=r"needs reduce 'mean' or 'max'; got 'maxi'. Did you mean 'max'\?"):
        BatchNorm("0e", reduce="maxi")
    with pytest.raises(ConfigError, match="needs normalization 'component' or 'norm'; got 'integral'"):
        BatchNorm("0e", normalization="integral")
    with pytest.raises(ConfigError, match=r"eps >= 0 and 0 <= momentum <= 1; got 1e-05 and 2"):
        BatchNorm("0e", momentum=2)
    with pytest.raises(ShapeError, match=r"needs features \[batch, ..., 3\]; got \[3\]"):
        BatchNorm("3x0e")(torch.zeros(3))
    with pytest.raises(ShapeError, match=r"needs features \[..., 3\] for irreps = 3x0e; got \[2, 4\]"):
        BatchNorm("3x0e")(torch.zeros(2, 4))
    batch = torch.tensor([0, 1])
    with pytest.raises(ConfigError, match=r"needs instance=True and reduce='mean'; got instance=False"):
        BatchNorm("3x0e")(torch.zeros(2, 3), batch=batch, num_graphs=2)
    with pytest.raises(ConfigError, match="and reduce='max'"):
        BatchNorm("3x0e", instance=True, reduce="max")(torch.zeros(2, 3), batch=batch, num_graphs=2)
    with pytest.raises(ShapeError, match=r"batch \[N\] and num_graphs together; .* batch \[2\], num_graphs None"):
        BatchNorm("3x0e", instance=True)(torch.zeros(2, 3), batch=batch)
    with pytest.raises(ShapeError, match=r"batch None, num_graphs 2"):
        BatchNorm("3x0e", instance=True)(torch.zeros(2, 3), num_graphs=2)
    with pytest.raises(ShapeError, match=r"got features \[2, 1, 3\]"):
        BatchNorm("3x0e", instance=True)(torch.zeros(2, 1, 3), batch=batch, num_graphs=2)
    with pytest.raises(DtypeError, match="int64 index"):
        BatchNorm("3x0e", instance=True)(torch.zeros(2, 3), batch=batch.int(), num_graphs=2)
    for wrong in (batch[:1], batch.unsqueeze(1)):
        with pytest.raises(ShapeError, match=r"batch \[N\] and num_graphs together"):
            BatchNorm("3x0e", instance=True)(torch.zeros(2, 3), batch=wrong, num_graphs=2)
    for num_graphs in (-1, 2.0, True):
        with pytest.raises(ConfigError, match="needs an integer num_graphs >= 0; got"):
            BatchNorm("3x0e", instance=True)(torch.zeros(2, 3), batch=batch, num_graphs=num_graphs)
