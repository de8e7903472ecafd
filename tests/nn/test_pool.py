"""Readouts: sums per graph in float64, equivariance, and what is refused."""

import pytest
import torch
from hypothesis import given, settings

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.nn import IrrepsReadout, ScalarReadout, sum_pool
from irrepnet.testing import Permutation, assert_equivariant, strategies

BATCH = torch.tensor([1, 0, 1, 3, 0])  # unsorted; graph 2 has no nodes
NODES = Permutation(inputs=[0, 1])


def test_sum_pool_keeps_float64_digits():
    values = torch.full((1000,), 29_999.875)  # exact in float32; their float32 sum is not
    total = sum_pool(values, torch.zeros(1000, dtype=torch.int64), 1)
    assert total.dtype == torch.float64
    assert total.item() == 29_999_875.0


def test_sum_pool_of_any_shape():
    values = torch.randn(5, 2, 3)
    pooled = sum_pool(values, BATCH, 4)
    torch.testing.assert_close(pooled[0], (values[1] + values[4]).double())
    assert (pooled[2] == 0).all()
    assert sum_pool(values[:0], BATCH[:0], 4).shape == (4, 2, 3)


class TestScalarReadout:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
    def test_is_invariant_and_sums_nodes(self, dtype, hidden):
        readout = ScalarReadout("3x0e+2x1o+0o+6e", hidden=hidden).to(dtype)
        assert_equivariant(
            lambda x, batch: readout(x, batch, 4)[:, None],
            [readout.irreps_in, None],
            "0e",
            permutation=NODES,
            inputs=[readout.irreps_in.randn(5, -1, dtype=dtype), BATCH],
        )
        x = readout.irreps_in.randn(5, -1, dtype=dtype)
        torch.testing.assert_close(readout(x, BATCH, 4), sum_pool(readout.per_node(x), BATCH, 4))

    def test_dtypes(self):
        readout = ScalarReadout("3x0e")
        x = torch.randn(5, 3)
        assert readout.per_node(x).dtype == torch.float32
        assert readout(x, BATCH, 4).dtype == torch.float64

    def test_second_derivatives(self):
        readout = ScalarReadout("2x0e+1o", hidden=(3,)).double()
        x = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda x: readout(x, BATCH, 4), x)
        assert [name for name in readout.state_dict()] == ["network.0.weight", "network.2.weight"]

    def test_errors(self):
        with pytest.raises(IrrepsError, match=r"ScalarReadout .* none leads to 1x0e: irreps_in = '2x1o' can make 1o"):
            ScalarReadout("2x1o")
        with pytest.raises(ConfigError, match=r"hidden widths >= 1; got \(0,\)"):
            ScalarReadout("2x0e", hidden=(0,))
        with pytest.raises(ShapeError, match=r"features \[..., 2\]"):
            ScalarReadout("2x0e")(torch.ones(5, 3), BATCH, 4)


class TestIrrepsReadout:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("reduce", ["sum", "mean"])
    @settings(max_examples=5)
    @given(irreps=strategies.irreps(lmax=6, max_mul=3))
    def test_equivariance_per_graph(self, dtype, reduce, irreps):
        readout = IrrepsReadout(irreps, irreps.regroup(), reduce=reduce).to(dtype)
        assert_equivariant(
            lambda x, batch: readout(x, batch, 4),
            [irreps, None],
            readout.irreps_out,
            permutation=NODES,
            inputs=[irreps.randn(5, -1, dtype=dtype), BATCH],
            trials=2,
        )

    def test_equivariance_per_node(self):
        readout = IrrepsReadout("3x0e+2x1o", "1o+0e")
        assert_equivariant(readout, readout.irreps_in, readout.irreps_out, permutation=([0], [0]))

    def test_mean_of_empty_graph_is_zero(self):
        readout = IrrepsReadout("3x0e", "0e", reduce="mean")
        x = torch.randn(5, 3)
        mean = readout(x, BATCH, 4)
        assert (mean.dtype, mean[2].item()) == (torch.float64, 0.0)
        torch.testing.assert_close(mean[0], readout.linear(x)[[1, 4]].mean(0).double())

    def test_errors(self):
        with pytest.raises(IrrepsError, match=r"IrrepsReadout .* none leads to 1x1e: .* Did you mean 1o"):
            IrrepsReadout("2x0e+1o", "1e")
        with pytest.raises(ConfigError, match=r"reduce 'none', 'sum' or 'mean'; got 'man'\. Did you mean 'mean'"):
            IrrepsReadout("2x0e", "0e", reduce="man")
        readout = IrrepsReadout("2x0e", "0e", reduce="sum")
        with pytest.raises(ShapeError, match=r"IrrepsReadout\(reduce='sum'\) needs batch \[N\] and num_graphs"):
            readout(torch.ones(5, 2))
        with pytest.raises(ShapeError, match=r"values \[rows, ...\] and index \[rows\]"):
            readout(torch.ones(4, 2), BATCH, 4)
        with pytest.raises(DtypeError, match="int64 index"):
            readout(torch.ones(5, 2), BATCH.int(), 4)
