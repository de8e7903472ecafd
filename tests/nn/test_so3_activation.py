import itertools

import e3nn.nn
import pytest
import torch

from irrepnet import nn, o3
from irrepnet.errors import ConfigError, IrrepsError, ShapeError


@pytest.fixture(autouse=True)
def float64():
    """e3nn makes its grids in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("lmax_in", "lmax_out", "aspect"), [(2, 1, 2), (1, 2, 1), (2, 2, 1.5)])
def test_equal_e3nn(lmax_in, lmax_out, aspect):
    silu = torch.nn.functional.silu
    ours, theirs = (which.SO3Activation(lmax_in, lmax_out, silu, 4, aspect_ratio=aspect) for which in (nn, e3nn.nn))
    x = torch.randn(2, 3, ours.irreps_in.dim)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    ours.load_state_dict(theirs.state_dict())


def test_equivariance_grows_with_resolution():
    x = torch.randn(4, 35)
    D = o3.Irreps("0e+3x1e+5x2e").D_from_matrix(o3.rand_matrix())

    def error(resolution):
        module = nn.SO3Activation(2, 2, torch.tanh, resolution)
        return (module(x @ D.T) - module(x) @ D.T).abs().max().item()

    errors = [error(resolution) for resolution in (4, 8, 16)]
    assert all(fine < coarse / 5 for coarse, fine in itertools.pairwise(errors)), errors


def test_one_grid_serves_input_and_output():
    module = nn.SO3Activation(1, 1, torch.tanh, 2)
    assert module.grid_in is module.grid_out
    module.load_state_dict(e3nn.nn.SO3Activation(1, 1, torch.tanh, 2).state_dict())
    x = torch.randn(3, 10, dtype=torch.float32)
    assert module.float()(x).dtype == torch.float32


def test_bad_arguments_are_named():
    with pytest.raises(
        ConfigError, match=r"SO3Grid of lmax = 2 needs 5 angles or more each way, so an integer resolution of 3 or more"
    ):
        nn.SO3Activation(1, 2, torch.tanh, 2)
    with pytest.raises(IrrepsError, match=r"got -1"):
        nn.SO3Activation(1, -1, torch.tanh, 2)
    with pytest.raises(ShapeError, match=r"needs x \[..., 10\]; got x \[9\]"):
        nn.SO3Activation(1, 1, torch.tanh, 2)(torch.zeros(9))
