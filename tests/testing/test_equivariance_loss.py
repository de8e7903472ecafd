"""The soft penalty: zero for what is equivariant, a known number for what is not, differentiable."""

import pytest
import torch
from torch import nn

from irrepnet import o3
from irrepnet.errors import ConfigError, DataError, ShapeError
from irrepnet.testing import equivariance_loss


def rows(irreps, count=16, dtype=torch.float64):
    return o3.Irreps(irreps).randn(count, -1, dtype=dtype)


def seeded():
    return torch.Generator().manual_seed(0)


def test_zero_for_an_equivariant_layer():
    layer = o3.FullyConnectedTensorProduct("2x0e+1o", "1o", "2x0o+1e+2e").double()
    inputs = [rows("2x0e+1o"), rows("1o")]
    loss = equivariance_loss(layer, ["2x0e+1o", "1o"], layer.irreps_out, inputs, num_elements=3)
    assert 0 <= loss < 1e-25


def test_value_of_a_constant_is_known():
    constant = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    f = lambda x: constant.expand(len(x), 3)
    x = rows("1o")
    loss = equivariance_loss(f, "1o", "1o", x, num_elements=4000, generator=seeded())
    assert loss == pytest.approx(2, abs=0.1)  # mean of |c - g c|^2 = 2 |c|^2, as g c is 0 on average


def test_value_of_a_stretch_follows_from_the_formula():
    stretch = torch.diag(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64))
    x = rows("1o", count=3)
    g = o3.matrix_x(torch.tensor(0.3, dtype=torch.float64))
    loss = equivariance_loss(lambda x: x @ stretch, "1o", "1o", x, group=g[None], eps=0.5)
    expected = (x @ g.T @ stretch - x @ stretch @ g.T).square().sum() / ((x @ stretch).square().sum() + 0.5)
    assert loss == pytest.approx(expected.item(), rel=1e-12)


def test_groups_differ():
    cross = torch.linalg.cross
    inputs = [rows("1o"), rows("1o")]
    assert equivariance_loss(cross, ["1o", "1o"], "1o", inputs, group="SO(3)", num_elements=8) < 1e-25
    loss = equivariance_loss(cross, ["1o", "1o"], "1o", inputs, num_elements=1000, generator=seeded())
    assert loss == pytest.approx(2, abs=0.2)  # half of the elements invert, and then |y - (-y)|^2 = 4 |y|^2


def test_outputs_are_averaged_and_one_is_left_out():
    f = lambda x: (x, torch.ones_like(x), "a note")
    x, half = rows("1o"), torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None]
    both = equivariance_loss(f, "1o", ["1o", "1o", None], x, group=half)
    one = equivariance_loss(f, "1o", [None, "1o", None], x, group=half)
    assert one == pytest.approx(8 / 3)  # (1, 1, 1) becomes (-1, -1, 1)
    assert both == pytest.approx(4 / 3)


def test_scale_of_the_output_does_not_matter():
    layer = nn.Linear(3, 3).double()
    x = rows("1o")
    losses = [
        equivariance_loss(lambda x, s=s: s * layer(x), "1o", "1o", x, generator=seeded()).item() for s in (1, 1e4)
    ]
    assert losses[0] == pytest.approx(losses[1])


def test_gradients():
    layer = nn.Linear(3, 3).double()
    x = rows("1o", count=2).requires_grad_()
    f = lambda x, w: equivariance_loss(lambda v: v @ w, "1o", "1o", x, num_elements=2, generator=seeded())
    assert torch.autograd.gradcheck(f, (x, layer.weight))
    assert torch.autograd.gradgradcheck(f, (x, layer.weight))


def test_zero_function_has_zero_loss_and_finite_gradient():
    weight = torch.zeros(3, 3, requires_grad=True)
    loss = equivariance_loss(lambda x: x @ weight, "1o", "1o", torch.randn(4, 3))
    (slope,) = torch.autograd.grad(loss, weight)
    assert loss == 0 and slope.isfinite().all()


def test_gradient_descent_makes_a_matrix_a_multiple_of_the_identity():
    weight = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1)
    random = seeded()
    for _ in range(200):
        optimizer.zero_grad()
        equivariance_loss(lambda x: x @ weight, "1o", "1o", rows("1o"), generator=random, num_elements=2).backward()
        optimizer.step()
    fitted = weight.detach() / weight.detach().diagonal().mean()
    assert (fitted - torch.eye(3)).abs().max() < 1e-2


def test_float32_and_generator():
    layer = nn.Linear(3, 3)
    x = torch.randn(5, 3)
    first, again = (equivariance_loss(layer, "1o", "1o", x, generator=seeded()) for _ in range(2))
    assert first.dtype == torch.float32 and torch.equal(first, again)
    torch.manual_seed(3)
    first = equivariance_loss(layer, "1o", "1o", x)
    torch.manual_seed(3)
    assert torch.equal(first, equivariance_loss(layer, "1o", "1o", x))


def test_points_turn_and_species_stay():
    f = lambda pos, species: (pos - pos.mean(0)) * species[:, None]
    inputs = [rows("1o", 4), torch.arange(4)]
    assert equivariance_loss(f, ["cartesian_points", None], "1o", inputs) < 1e-25


def test_errors():
    x = torch.randn(2, 3)
    identity = lambda x: x
    with pytest.raises(
        ConfigError, match=r"group needs 'O\(3\)', 'SO\(3\)' or matrices .*; got 'S0\(3\)'. Did you mean"
    ):
        equivariance_loss(identity, "1o", "1o", x, group="S0(3)")
    with pytest.raises(ShapeError, match=r"group needs matrices \[G, 3, 3\], one or more; got \[3, 3\]"):
        equivariance_loss(identity, "1o", "1o", x, group=torch.eye(3))
    with pytest.raises(DataError, match=r"group needs orthogonal matrices; got max \|R R\^T - 1\| = 3"):
        equivariance_loss(identity, "1o", "1o", x, group=2 * torch.eye(3)[None])
    with pytest.raises(ConfigError, match="num_elements needs an integer >= 1; got 0"):
        equivariance_loss(identity, "1o", "1o", x, num_elements=0)
    with pytest.raises(ConfigError, match="irreps_out needs an output to compare"):
        equivariance_loss(identity, "1o", None, x)
    with pytest.raises(ShapeError, match="equivariance_loss needs 2 inputs, as declared; got 1"):
        equivariance_loss(identity, ["1o", "1o"], "1o", x)
    with pytest.raises(ShapeError, match=r"outputs of <lambda>\[0\] needs a floating-point tensor \[..., 5\]"):
        equivariance_loss(identity, "1o", "2e", x)
    with pytest.raises(ConfigError, match=r"num_elements needs an integer >= 1; got 1\.5"):
        equivariance_loss(identity, "1o", "1o", x, num_elements=1.5)


def test_arguments_are_left_alone():
    x = rows("1o")
    before = x.clone()
    assert equivariance_loss(lambda x: x.add_(1), "1o", "1o", x, generator=seeded()) == equivariance_loss(
        lambda x: x + 1, "1o", "1o", before, generator=seeded()
    )
    assert torch.equal(x, before)


def test_dropout_drops_the_same_and_the_random_state_moves_on():
    drop = nn.Dropout(0.5)
    f = lambda x: x * drop(torch.ones(len(x), 1, dtype=x.dtype))
    x = rows("1o")
    torch.manual_seed(1)
    assert equivariance_loss(f, "1o", "1o", x, num_elements=3, generator=seeded()) < 1e-25
    after = torch.get_rng_state()
    torch.manual_seed(1)
    f(x)
    assert torch.equal(after, torch.get_rng_state())  # as after one call


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    """300 squares of 100 are too large for float16, whose largest number is 65504."""
    x = torch.full((100, 3), 100.0, dtype=dtype)
    loss = equivariance_loss(lambda x: x, "1o", "1o", x, generator=seeded())
    assert loss.dtype == torch.float32 and loss < 1e-4
    assert equivariance_loss(lambda x: 0 * x, "1o", "1o", x) == 0  # eps = 1e-12 is 0 in float16
