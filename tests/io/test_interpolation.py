"""Directions that are one, fits of values to them, and nearest samples."""

import pytest
import torch

from irrepnet.errors import DataError
from irrepnet.io.interpolation import harmonic_pseudoinverse, merge_directions, nearest_samples


def directions(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, 3, dtype=torch.float64), dim=-1)


def test_directions_apart_and_zeros_stay():
    unit = directions(2, 5)
    unit[0, 1] = unit[0, 3] = 0.0
    torch.testing.assert_close(merge_directions(unit, 1e-8), unit, rtol=0, atol=1e-15)
    assert merge_directions(unit[:, :0], 1e-8).shape == (2, 0, 3)


@pytest.mark.parametrize("apart", [0.5, 2.0])
def test_merged_or_not_by_distance(apart):
    """Distances are right to the last digits: that of two unit vectors by their product would be wrong by 1e-8."""
    within, x = 1e-8, directions(20)
    y = torch.nn.functional.normalize(x + apart * within * torch.linalg.cross(x, directions(20)), dim=-1)
    far = (x - y).norm(dim=-1) >= within
    for one, other, stay in zip(x, y, far, strict=True):
        merged = merge_directions(torch.stack([one, other]), within)
        assert torch.equal(merged[0], merged[1]) != stay
    assert far.any() == (apart > 1)


def test_pseudoinverse_and_what_counts_as_zero():
    Y = torch.diag(torch.tensor([2.0, 1e-5], dtype=torch.float64))
    assert torch.allclose(harmonic_pseudoinverse(Y, 1e-6).diagonal(), Y.new_tensor([0.5, 1e5]))
    assert torch.allclose(harmonic_pseudoinverse(Y, 1e-4).diagonal(), Y.new_tensor([0.5, 0.0]))
    with pytest.raises(DataError, match="needs finite vectors"):
        harmonic_pseudoinverse(Y / 0, 1e-6)


def test_nearest_samples_by_distances():
    points, samples = directions(50), directions(3, 9)
    samples[1, 4] = 0.0  # at distance 1 of all: nearest where the others are further than that
    expected = (points[:, None] - samples[:, None]).norm(dim=-1).argmin(dim=-1)
    assert torch.equal(nearest_samples(points, samples), expected)
