"""A model with the compiled ops as one package that runs without its Python code (AOTInductor)."""

import pytest
import torch

from irrepnet import nn
from irrepnet.ops import library_status


@pytest.mark.skipif(not library_status().loaded, reason=library_status().reason)
@pytest.mark.timeout(600)
def test_a_convolution_as_a_package(tmp_path):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.TensorProductConv(
                "4x0e+4x1o", "0e+1o", "4x1o", [(0, 1, 0, "uvu", True), (1, 0, 0, "uvu", True)]
            )

        def forward(self, x, y, w, edge_index):
            return self.conv(x, y, w, edge_index)

    layer = Layer()
    edges = torch.randint(6, (2, 20))
    inputs = torch.randn(6, 16), torch.randn(20, 4), torch.randn(20, layer.conv.weight_numel), edges
    count = torch.export.Dim("edges", min=2)
    exported = torch.export.export(layer, inputs, dynamic_shapes=({}, {0: count}, {0: count}, {1: count}))
    package = torch._inductor.aoti_compile_and_package(exported, package_path=str(tmp_path / "layer.pt2"))
    loaded = torch._inductor.aoti_load_package(package)
    torch.testing.assert_close(loaded(*inputs), layer(*inputs))
    other = inputs[0], *(t[:9] for t in inputs[1:3]), edges[:, :9].contiguous()  # packages take strides as they were
    torch.testing.assert_close(loaded(*other), layer(*other))
