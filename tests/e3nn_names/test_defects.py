"""Where e3nn 0.6 is wrong or raises, and what is here instead; each line fails when e3nn is mended."""

import pytest
import torch
from e3nn import nn as e3nn_nn
from e3nn import o3 as e3nn_o3
from scipy.linalg import expm

from irrepnet import nn, o3


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_filter_by_a_text():
    """Irrep(entry) reads the multiplicity as the degree there, so nothing is kept."""
    assert str(e3nn_o3.Irreps("3x1e + 2x0e").filter(keep="1e")) == ""
    assert str(o3.Irreps("3x1e + 2x0e").filter(keep="1e")) == "3x1e"


def test_biases_of_a_linear_whose_rows_have_their_own_weights():
    with pytest.raises(RuntimeError):
        e3nn_o3.Linear("2x0e", "2x0e", biases=True, shared_weights=False, internal_weights=False)
    linear = o3.Linear("2x0e", "2x0e", biases=True, shared_weights=False, internal_weights=False)
    assert linear(torch.randn(3, 2), torch.zeros(3, 4), torch.ones(3, 2)).tolist() == [[1.0, 1.0]] * 3


def test_a_bias_on_an_output_that_no_path_reaches():
    with pytest.raises(RuntimeError):
        e3nn_o3.Linear("1o", "2x0e + 1o", biases=True)
    linear = o3.Linear("1o", "2x0e + 1o", biases=True)
    torch.nn.init.ones_(linear.bias)
    assert linear(torch.zeros(3)).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_views_of_weights_beside_biases():
    """Biases are counted as weights there."""
    theirs, ours = (lib.Linear("2x0e", "3x0e", biases=True) for lib in (e3nn_o3, o3))
    with pytest.raises(RuntimeError):
        list(theirs.weight_views())
    assert [tuple(view.shape) for view in ours.weight_views()] == [(2, 3)]
    assert len(theirs.weight_index_slices) == 2 and len(ours.weight_index_slices) == 1


def test_the_view_of_weights_after_a_path_without_any():
    """The path without weights is counted there."""
    arguments = ("2x0e + 1o", "0e", "2x0e + 1o", [(0, 0, 0, "uvu", False), (1, 0, 1, "uvu", True)])
    with pytest.raises(IndexError):
        e3nn_o3.TensorProduct(*arguments).weight_view_for_instruction(1)
    tp = o3.TensorProduct(*arguments)
    assert torch.equal(tp.weight_view_for_instruction(1).flatten(), tp.weight)


def test_norm_activation_without_normalization():
    with pytest.raises(TypeError):
        e3nn_nn.NormActivation("2x1e", torch.sigmoid, normalize=False)
    x = torch.tensor([3.0, 0.0, 4.0])
    out = nn.NormActivation("1e", torch.sigmoid, normalize=False)(x)
    torch.testing.assert_close(out, x * torch.sigmoid(torch.tensor(5.0)))


def test_norm_activation_with_biases_of_irreps_as_text():
    with pytest.raises(AttributeError):
        e3nn_nn.NormActivation("2x1e", torch.sigmoid, bias=True)
    assert nn.NormActivation("2x1e", torch.sigmoid, bias=True).biases.shape == (2,)


def test_repr_of_a_grid_of_rotations():
    with pytest.raises(AttributeError):
        repr(e3nn_o3.SO3Grid(1, 2))
    assert repr(o3.SO3Grid(1, 2)).startswith("SO3Grid(")


def test_wigner_D_at_a_small_angle():
    """The matrix exponential of torch loses four digits here; scipy's does not."""
    alpha, beta, gamma = torch.tensor(0.0146), torch.tensor(2.5539), torch.tensor(2.5595)
    X = o3.so3_generators(2).numpy()
    exact = torch.from_numpy(expm(alpha.item() * X[1]) @ expm(beta.item() * X[0]) @ expm(gamma.item() * X[1]))
    assert (e3nn_o3.wigner_D(2, alpha, beta, gamma) - exact).abs().max() > 1e-12
    assert (o3.wigner_D(2, alpha, beta, gamma) - exact).abs().max() < 1e-14
