"""Channels and scalars: against loops over irreps, and what is refused."""

import pytest
import torch
from hypothesis import given

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.nn.channels import Channels, Scalars, checked_features
from irrepnet.o3 import Irreps
from irrepnet.testing import strategies


def components(irreps):
    """Return the columns of each irrep, one after another."""
    columns = iter(range(irreps.dim))
    return [(ir, [next(columns) for _ in range(ir.dim)]) for mul, ir in irreps for _ in range(mul)]


@given(irreps=strategies.irreps(lmax=3, max_mul=3, max_terms=5))
def test_channels_equal_a_loop_over_irreps(irreps):
    channels, x = Channels(irreps), torch.randn(2, 3, irreps.dim, dtype=torch.float64)
    places = [columns for _, columns in components(irreps)]
    torch.testing.assert_close(channels.sum(x), torch.stack([x[..., c].sum(-1) for c in places], -1))
    torch.testing.assert_close(channels.mean(x), torch.stack([x[..., c].mean(-1) for c in places], -1))
    values = torch.randn(3, len(places), dtype=torch.float64)
    spread = torch.zeros(3, irreps.dim, dtype=torch.float64)
    for i, c in enumerate(places):
        spread[:, c] = values[:, i : i + 1]
    torch.testing.assert_close(channels.spread(values), spread, rtol=0, atol=0)
    torch.testing.assert_close(channels.scale(x, values), x * spread, rtol=0, atol=0)


@given(irreps=strategies.irreps(lmax=1, max_mul=3, max_terms=5))
def test_scalars_equal_a_loop_over_irreps(irreps):
    scalars, x = Scalars(irreps), torch.randn(2, irreps.dim)
    places = [c[0] for ir, c in components(irreps) if ir.is_scalar()]
    assert scalars.num == len(places)
    torch.testing.assert_close(scalars.take(x), x[:, places], rtol=0, atol=0)
    back = torch.zeros(2, irreps.dim)
    back[:, places] = x[:, places]
    torch.testing.assert_close(scalars.put(scalars.take(x)), back, rtol=0, atol=0)


def test_no_columns():
    for irreps in ("", "0x1o+0x0e"):
        channels, scalars, x = Channels(Irreps(irreps)), Scalars(Irreps(irreps)), torch.ones(2, 0)
        for result in (channels.sum(x), channels.spread(x), channels.scale(x, x), scalars.take(x), scalars.put(x)):
            assert result.shape == (2, 0)


def test_features_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"Norm needs features \[..., 3\] for irreps = 1x1o; got \[2, 4\]"):
        checked_features("Norm", torch.zeros(2, 4), Irreps("1o"))
    with pytest.raises(DtypeError, match=r"needs floating-point features; got torch.int64. Write features.float\(\)"):
        checked_features("Norm", torch.zeros(2, 3, dtype=torch.int64), Irreps("1o"))
    with pytest.raises(DtypeError, match="features float64 on cpu, parameters float32 on cpu"):
        checked_features("Norm", torch.zeros(2, 3, dtype=torch.float64), Irreps("1o"), torch.zeros(1))
    with pytest.raises(DtypeError, match="features float32 on meta, parameters float32 on cpu"):
        checked_features("Norm", torch.zeros(2, 3, device="meta"), Irreps("1o"), torch.zeros(1))


def test_autocast_computes_in_the_dtype_of_the_parameters():
    x = torch.zeros(2, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert checked_features("Norm", x, Irreps("1o"), torch.zeros(1)).dtype == torch.float32
        x = torch.zeros(2, 3, dtype=torch.float64)
        assert checked_features("Norm", x, Irreps("1o")).dtype == torch.float64
        with pytest.raises(DtypeError, match="features float64 on cpu, parameters float32"):  # autocast never rounds it
            checked_features("Norm", x, Irreps("1o"), torch.zeros(1))
