"""A test file to copy: put your own layer in the place of ``MyLayer`` and run pytest.

``assert_equivariant`` and ``infer_parity`` are fixtures, which pytest finds wherever irrepnet is installed. They seed
random weights, inputs and rotations; a test that fails tells the seed, and ``--irrepnet-seed N`` gives it again.
Outside pytest they are functions of ``irrepnet.testing``.
"""

import pytest
import torch
from hypothesis import given, settings

from irrepnet import nn, o3
from irrepnet.testing import Permutation, strategies


class MyLayer(torch.nn.Module):
    """Sum what the neighbours send: features and positions of atoms in, features of atoms out."""

    def __init__(self, irreps, cutoff=3.0):
        super().__init__()
        self.harmonics = o3.SphericalHarmonics("0e + 1o", normalize=True, normalization="component")
        self.convolution = nn.PointConvolution(irreps, self.harmonics.irreps_out, irreps, cutoff=cutoff)

    def forward(self, node_feats, pos, edge_index):
        src, dst = edge_index
        edge_vec = pos[dst] - pos[src]
        return self.convolution(node_feats, self.harmonics(edge_vec), edge_vec.norm(dim=1), edge_index)


def test_three_lines_for_a_layer_without_a_graph(assert_equivariant):
    layer = o3.Linear("4x0e + 2x1o", "3x0e + 1o")
    assert_equivariant(layer, "4x0e + 2x1o", "3x0e + 1o")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=5, deadline=None)
@given(irreps=strategies.irreps(lmax=3, max_mul=4))  # hypothesis looks for irreps on which the layer fails
def test_rotation_inversion_translation_and_permutation(assert_equivariant, dtype, irreps):
    edge_index = torch.tensor([[0, 1, 2, 3, 3, 0], [1, 0, 1, 0, 2, 2]])
    assert_equivariant(
        MyLayer(irreps).to(dtype),
        [irreps, "cartesian_points", None],  # how node_feats, pos and edge_index transform
        irreps,
        permutation=Permutation(
            inputs=[0, 1], outputs=[0], indices=[2]
        ),  # rows are nodes; edge_index holds their numbers
        inputs=[irreps.randn(4, -1, dtype=dtype), torch.randn(4, 3, dtype=dtype), edge_index],
        trials=3,
    )


def test_that_the_check_can_fail(assert_equivariant, infer_parity):
    assert infer_parity(torch.linalg.cross, ["1o", "1o"]) == o3.Irreps("1e")
    with pytest.raises(AssertionError, match="not equivariant under inversion"):
        assert_equivariant(torch.linalg.cross, ["1o", "1o"], "1o")
