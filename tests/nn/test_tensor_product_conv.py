import e3nn.o3
import pytest
import torch

from irrepnet import nn, o3
from irrepnet.errors import ShapeError
from irrepnet.ops import edge_order
from irrepnet.testing import assert_equivariant

PATHS = [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 1, 0, "uvu", True), (1, 0, 1, "uvu", False)]
IRREPS = ("4x0e+4x1o", "0e+1o", "4x0e+4x1o")
EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 2, 0, 2]])


def test_equals_e3nn_on_edges_and_a_sum():
    conv = nn.TensorProductConv(*IRREPS, PATHS).double()
    theirs = e3nn.o3.TensorProduct(*IRREPS, PATHS, shared_weights=False, internal_weights=False).double()
    assert conv.weight_numel == theirs.weight_numel
    x, y, w = (torch.randn(*s, dtype=torch.float64) for s in ((4, 16), (5, 4), (5, conv.weight_numel)))
    expected = torch.zeros(4, 16, dtype=torch.float64).index_add(0, EDGES[1], theirs(x[EDGES[0]], y, w))
    torch.testing.assert_close(conv(x, y, w, EDGES), expected, rtol=0, atol=1e-7)  # e3nn made its tables in float32
    shared = conv(x, y, w[0], EDGES)
    torch.testing.assert_close(shared, conv(x, y, w[:1].expand(5, -1), EDGES), rtol=0, atol=1e-12)


def test_without_weights_and_with_other_destinations():
    conv = nn.TensorProductConv("2x0e", "1o", "2x1o", [(0, 0, 0, "uvu", False)])
    x, y = torch.randn(4, 2), torch.randn(5, 3)
    out = conv(x, y, None, torch.tensor([[0, 1, 2, 3, 1], [1, 5, 5, 0, 2]]), num_dst=6)
    assert out.shape == (6, 6)
    assert torch.equal(out[3:5], torch.zeros(2, 6))
    order = edge_order(torch.tensor([[0, 1, 2, 3, 1], [1, 5, 5, 0, 2]]), 4, 6)
    assert torch.equal(conv(x, y, None, order), out)


def test_is_equivariant():
    conv = nn.TensorProductConv(*IRREPS, PATHS)
    w = torch.randn(5, conv.weight_numel)

    def layer(x, y):
        return conv.to(x.dtype)(x, y, w.to(x.dtype), EDGES)

    inputs = [torch.randn(4, 16), torch.randn(5, 4)]
    assert_equivariant(layer, ["4x0e+4x1o", "0e+1o"], "4x0e+4x1o", inputs=inputs)


def test_keeps_only_constants_and_reads_as_mathematics():
    conv = nn.TensorProductConv(*IRREPS, PATHS)
    assert not conv.state_dict()
    assert repr(conv).startswith("TensorProductConv(4x0e+4x1o x 1x0e+1x1o -> 4x0e+4x1o")
    assert isinstance(conv, o3.TensorProduct)


def test_bad_shapes():
    conv = nn.TensorProductConv(*IRREPS, PATHS)
    with pytest.raises(ShapeError, match=r"TensorProductConv needs node_feats \[N, 16\]; got \[16\]"):
        conv(torch.randn(16), torch.randn(5, 4), torch.randn(5, conv.weight_numel), EDGES)
    with pytest.raises(ShapeError, match=r"convolve needs edge_sh \[E = 5, 4\]; got \[4, 4\]"):
        conv(torch.randn(4, 16), torch.randn(4, 4), torch.randn(5, conv.weight_numel), EDGES)
