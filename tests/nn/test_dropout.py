"""Dropout: e3nn's draws, whole irreps, the expected value, and what is refused."""

import e3nn.nn
import pytest
import torch

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn import Dropout
from irrepnet.o3 import Irreps

IRREPS = "3x0e+2x1o+0x2e+2x0o+1e"


@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lead", [(7,), (7, 2, 3)], ids=str)
def test_a_seed_draws_what_it_draws_in_e3nn(p, dtype, lead):
    ours, theirs = Dropout(IRREPS, p), e3nn.nn.Dropout(IRREPS, p)
    x = torch.randn(*lead, ours.irreps.dim, dtype=dtype)
    for training in (True, False):
        results = []
        for module in (ours.train(training), theirs.train(training)):
            torch.manual_seed(3)
            results.append(module(x))
        torch.testing.assert_close(*results, rtol=1e-12, atol=0)


def test_drops_whole_irreps_and_keeps_the_expected_value():
    dropout = Dropout(IRREPS, 0.25)
    y = dropout(torch.ones(20_000, dropout.irreps.dim))
    assert y.unique().tolist() == [0, pytest.approx(4 / 3)]
    for s, (mul, ir) in zip(Irreps(IRREPS).slices(), Irreps(IRREPS), strict=True):
        channels = y[:, s].reshape(len(y), mul, ir.dim)
        assert (channels == channels[..., :1]).all()
    torch.testing.assert_close(y.mean(0), torch.ones_like(y[0]), rtol=0, atol=0.02)
    draws = y[:, [0, 1, 2, 3, 6]]  # one column of five irreps: they are independent
    torch.testing.assert_close(draws.T.cov(), torch.eye(5) / 3, rtol=0, atol=0.02)


def test_rows_draw_anew_and_axes_between_share():
    y = Dropout("8x0e", 0.5)(torch.ones(50, 4, 8))
    assert (y == y[:, :1]).all()
    assert (y[0] != y[1:]).any()


def test_extremes():
    x = torch.tensor([[float("inf"), 1.0]])
    assert Dropout("2x0e", 0)(x) is x
    assert Dropout("2x0e", 1).eval()(x) is x
    assert (Dropout("2x0e", 1)(torch.ones(3, 2)) == 0).all()
    assert Dropout("", 0.5)(torch.ones(3, 0)).shape == (3, 0)  # e3nn concatenates nothing, an error
    assert Dropout("2x0e", 0.5)(torch.ones(0, 4, 2)).shape == (0, 4, 2)


def test_derivatives_in_training():
    dropout = Dropout("2x0e+1o", 0.5)

    def f(x):
        torch.manual_seed(0)
        return dropout(x)

    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)


def test_compiles_in_training():
    compiled = torch.compile(Dropout("2x0e+2x1o", 0.5), fullgraph=True, backend="aot_eager")
    y = compiled(torch.ones(100, 8))
    assert y.unique().tolist() == [0, 2]
    assert (y[:, 2:5] == y[:, 2:3]).all()


def test_errors():
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="needs a probability p from 0 to 1; got"):
            Dropout("0e", p)
    # e3nn makes a matrix of a single row, and features of another width of a column.
    with pytest.raises(ShapeError, match=r"Dropout needs x \[batch, ..., 5\]; got \[5\]"):
        Dropout("2x0e+1o", 0.5)(torch.ones(5))
    with pytest.raises(ShapeError, match=r"needs features \[..., 5\] for irreps = 2x0e\+1x1o; got \[2, 1\]"):
        Dropout("2x0e+1o", 0.5)(torch.ones(2, 1))
    with pytest.raises(DtypeError, match="floating-point"):
        Dropout("2x0e", 0.5)(torch.ones(2, 2, dtype=torch.int64))


def test_complex_numbers():
    x = torch.ones(200, 8, dtype=torch.complex64)
    assert set(Dropout("2x0e+2x1o", 0.5)(x).flatten().tolist()) == {0j, 2 + 0j}
