"""Variance 1 in, variance 1 out: layers that keep it pass, and each way to lose it is noticed."""

import math

import pytest
import torch
from torch import nn

from irrepnet import nn as inn
from irrepnet import o3
from irrepnet.errors import ConfigError, ShapeError
from irrepnet.testing import assert_normalized

LAYERS = {
    "Linear": (o3.Linear, ["4x0e+2x1o", "3x0e+2x1o"]),
    "Linear of one channel": (o3.Linear, ["0e+1o", "0e+1o"]),
    "FullyConnectedTensorProduct": (o3.FullyConnectedTensorProduct, ["4x0e+2x1o", "2x0e+1o", "3x0e+2x1o+1e"]),
    "Linear with biases": (lambda a, b: o3.Linear(a, b, biases=True), ["4x0e+2x1o", "3x0e+2x1o"]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_normalized(name):
    make, irreps = LAYERS[name]
    layer = make(*irreps)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    random_state = torch.get_rng_state()
    assert_normalized(layer, irreps[:-1], irreps[-1])
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_activation_within_its_constants():
    assert_normalized(inn.Activation("8x0e", [torch.nn.functional.silu]), "8x0e", "8x0e", tol=0.01)
    with pytest.raises(AssertionError, match="silu is not normalized: output 0"):
        assert_normalized(torch.nn.functional.silu, "8x0e", "8x0e")


def test_right_layers_do_not_fail_by_chance():
    layer = o3.Linear("2x0e+1o", "0e+2x1o")
    for seed in range(8):
        assert_normalized(layer, "2x0e+1o", "0e+2x1o", seed=seed, trials=200)


@pytest.mark.parametrize("scale", [0.98, 1.02])
def test_two_percent_are_noticed_with_enough_trials(scale):
    f = lambda x: x * math.sqrt(scale)
    with pytest.raises(
        AssertionError, match=r"output 0 \(8x1o\) has variance \d\.\d+, needed 1 \+- 0\.00\d+ \(400 trials"
    ):
        assert_normalized(f, "8x1o", "8x1o", trials=400)
    assert_normalized(f, "8x1o", "8x1o", trials=400, tol=0.04)
    assert_normalized(f, "8x1o", "8x1o", trials=30)


def test_the_bad_entry_of_the_second_output_is_named():
    f = lambda x: (x, torch.cat([x[:, :3], 2 * x[:, 3:]], dim=-1))
    with pytest.raises(AssertionError, match=r"output 1 \(1x1o of 3x0e\+1x1o\) has variance 4"):
        assert_normalized(f, "3x0e+1o", ["3x0e+1o", "3x0e+1o"])
    assert_normalized(f, "3x0e+1o", ["3x0e+1o", None])


def test_norm_normalization():
    """Variance 1 / (2l+1) in and out. e3nn's check needs 1 / sqrt(2l+1), which the identity does not have."""
    from e3nn.util.test import assert_normalized as check_of_e3nn

    assert_normalized(lambda x: x, "0e+1o+2e", "0e+1o+2e", normalization="norm")
    with pytest.raises(AssertionError, match=r"!~= 0\.577"):
        check_of_e3nn(lambda x: x, ["1o"], ["1o"], normalization="norm")
    with pytest.raises(AssertionError, match=r"output 0 \(1x1o\) has variance 1.*, needed 0.3333"):
        assert_normalized(lambda x: x * 3**0.5, "1o", "1o", normalization="norm")
    norm = o3.FullyConnectedTensorProduct("0e+1o", "0e+1o", "0e+1o", irrep_normalization="norm")
    assert_normalized(norm, ["0e+1o", "0e+1o"], "0e+1o", normalization="norm")
    with pytest.raises(AssertionError, match="not normalized"):
        assert_normalized(norm, ["0e+1o", "0e+1o"], "0e+1o")


def test_e3nn_leaves_other_weights_behind_and_refuses_tuples():
    """What is done better here: the layer keeps its weights, and a tuple of outputs is a tuple of outputs."""
    from e3nn.util.test import assert_normalized as check_of_e3nn

    layer = nn.Linear(3, 3, bias=False)
    before = layer.weight.detach().clone()
    with pytest.raises(AssertionError):
        check_of_e3nn(layer, ["3x0e"], ["3x0e"], n_input=10, n_weight=2)
    assert not torch.equal(layer.weight, before)
    with pytest.raises(AssertionError, match=r"^$"):  # it wraps the tuple in another, and counts one output
        check_of_e3nn(lambda x: (x, x), ["3x0e"], ["3x0e", "3x0e"])
    layer.weight.data = before.clone()
    with pytest.raises(AssertionError, match="variance 3"):  # N(0, 1) weights without a factor: the fan-in is missing
        assert_normalized(layer, "3x0e", "3x0e")
    assert torch.equal(layer.weight, before)
    assert_normalized(lambda x: (x, x), "3x0e", ["3x0e", "3x0e"])


def test_given_weights_and_inputs():
    layer = nn.Linear(4, 4, bias=False)
    nn.init.zeros_(layer.weight)
    scaled = lambda x: layer(x) / 2
    with pytest.raises(AssertionError, match="variance 0"):  # a function says nothing of its weights
        assert_normalized(scaled, "4x0e", "4x0e", dtype=torch.float32)
    assert_normalized(scaled, "4x0e", "4x0e", dtype=torch.float32, weights=[layer.weight])
    assert (layer.weight == 0).all()

    src = torch.tensor([0, 1, 2, 0])
    f = lambda x, src: x[src]
    assert_normalized(f, ["2x1o", None], "2x1o", inputs=[torch.zeros(3, 6), src])


def test_weights_come_back_after_an_error():
    layer = o3.Linear("0e", "0e")
    before = layer.weight.detach().clone()
    with pytest.raises(ShapeError, match=r"output 0 of Linear needs a floating-point tensor \[..., 3\] for 1x1o"):
        assert_normalized(layer, "0e", "1o")
    assert torch.equal(layer.weight, before)


def test_errors():
    identity = lambda x: x
    with pytest.raises(
        ConfigError, match=r"normalization needs 'component' or 'norm'; got 'components'\. Did you mean 'com"
    ):
        assert_normalized(identity, "0e", "0e", normalization="components")
    with pytest.raises(ConfigError, match=r"trials needs an integer >= 30: .*; got 1"):
        assert_normalized(identity, "0e", "0e", trials=1)
    with pytest.raises(ConfigError, match=r"trials needs an integer >= 30: .*; got 30.5"):
        assert_normalized(identity, "0e", "0e", trials=30.5)
    with pytest.raises(ConfigError, match="irreps_out needs an output to measure"):
        assert_normalized(identity, "0e", "")
    with pytest.raises(ShapeError, match="irreps_out declares 2 outputs; <lambda> returned 1"):
        assert_normalized(identity, "0e", ["0e", "0e"])
    with pytest.raises(ConfigError, match=r"cannot tell with trials=30: the variance of output 0 \(1x0e\) is known to"):
        assert_normalized(o3.Linear("0e", "0e"), "0e", "0e", trials=30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_vectors_of_one_length_are_right_but_for_rounding(dtype, normalization):
    """Their mean square does not vary at all, so chance allows nothing."""
    layer = o3.SphericalHarmonics("1o+2e+3o", normalize=True, normalization=normalization)
    for seed in range(3):
        assert_normalized(layer, "1o", "1o+2e+3o", normalization=normalization, dtype=dtype, seed=seed, trials=60)
    unit = lambda x: x * (7 / x.square().sum(-1, keepdim=True)).sqrt()
    assert_normalized(unit, "3o", "3o", dtype=dtype, trials=60)
    with pytest.raises(AssertionError, match="not normalized"):
        assert_normalized(lambda x: (1 + 1e-5) * unit(x), "3o", "3o", dtype=dtype, trials=60)


@pytest.mark.parametrize(
    ("irreps", "factors"), [("4x0e", [2, 0, 0, 0]), ("1o", [3**0.5, 0, 0]), ("2x1o", [1.2, 1.2, 1.2, 0.7, 0.7, 0.8])]
)
def test_a_large_column_does_not_make_up_for_a_small_one(irreps, factors):
    scale = torch.tensor(factors, dtype=torch.float64)
    scale /= scale.square().mean().sqrt()
    with pytest.raises(
        AssertionError, match=rf"column 0 of output 0 \({irreps.replace('1o', '1x1o', irreps == '1o')}\)"
    ):
        assert_normalized(lambda x: scale * x, irreps, irreps)


def test_many_columns_do_not_fail_by_chance():
    for seed in range(3):
        assert_normalized(lambda x: x, "64x0e+8x2e", "64x0e+8x2e", trials=60, seed=seed)


def test_default_device_does_not_matter():
    with torch.device("meta"):
        assert_normalized(lambda x: x, "4x1o", "4x1o", normalization="norm", trials=30)
