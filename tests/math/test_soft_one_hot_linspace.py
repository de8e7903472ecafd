import e3nn.math
import pytest
import torch

from irrepnet.errors import ConfigError
from irrepnet.math import soft_one_hot_linspace

BASES = ["gaussian", "cosine", "smooth_finite", "fourier", "bessel"]
every_basis = pytest.mark.parametrize("basis", BASES)
both = pytest.mark.parametrize("cutoff", [True, False])


@pytest.fixture(autouse=True)
def double():
    """Compare in a default dtype of float64: e3nn rounds a constant to the default dtype, whatever the input's."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def points(start, end):
    ends = torch.tensor([start, end, 0.0], dtype=torch.float64)
    return torch.cat([torch.linspace(start - 1, end + 1, 97, dtype=torch.float64), ends])


@every_basis
@both
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (-0.5, 1.25), (0, 3)])
@pytest.mark.parametrize("number", [2, 3, 8])
def test_equals_e3nn(basis, cutoff, start, end, number):
    x = points(start, end)
    ours = soft_one_hot_linspace(x, start, end, number, basis, cutoff)
    theirs = e3nn.math.soft_one_hot_linspace(x, start, end, number, basis, cutoff)
    finite = theirs.isfinite()  # its "bessel" is 0/0 at start
    assert ours.isfinite().all() and finite.float().mean() > 0.95
    torch.testing.assert_close(ours[finite], theirs[finite], rtol=0, atol=1e-12)


@both
def test_bessel_is_finite_at_start(cutoff):
    x = torch.tensor([0.0, 1e-7], dtype=torch.float64)
    at, next_to = soft_one_hot_linspace(x, 0.0, 2.0, 4, "bessel", cutoff)
    torch.testing.assert_close(at, next_to, rtol=0, atol=1e-9)
    assert e3nn.math.soft_one_hot_linspace(x, 0.0, 2.0, 4, "bessel", cutoff)[0].isnan().all()


@every_basis
@both
def test_first_and_second_derivatives_are_finite(basis, cutoff):
    x = points(0.0, 1.5).requires_grad_()
    y = soft_one_hot_linspace(x, 0.0, 1.5, 5, basis, cutoff)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert first.isfinite().all() and second.isfinite().all() and first.any()


@pytest.mark.parametrize("basis", BASES[:4])
def test_squares_add_up_to_about_one(basis):
    x = torch.linspace(0.2, 0.8, 50)
    total = soft_one_hot_linspace(x, 0.0, 1.0, 10, basis, cutoff=False).square().sum(-1)
    assert abs(total.mean() - 1) < 0.05


@every_basis
def test_float64_is_right_whatever_the_default_dtype(basis):
    x = points(0.0, 1.0)
    expected = soft_one_hot_linspace(x, 0.0, 1.0, 4, basis, True)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(soft_one_hot_linspace(x, 0.0, 1.0, 4, basis, True), expected)
    if basis == "smooth_finite":  # e3nn makes e^2 in the default dtype
        assert (e3nn.math.soft_one_hot_linspace(x, 0.0, 1.0, 4, basis, True) - expected).abs().max() > 1e-8


@every_basis
def test_compiles(basis):
    x = torch.linspace(-1, 2, 12).reshape(3, 4)
    f = lambda x: soft_one_hot_linspace(x, 0.0, 1.0, 5, basis, True)
    torch.testing.assert_close(torch.compile(f, fullgraph=True, backend="aot_eager")(x), f(x))
    assert f(x).shape == (3, 4, 5)


def test_integers():
    x = torch.arange(3)
    theirs = e3nn.math.soft_one_hot_linspace(x, 0, 2, 3, "gaussian", False)
    torch.testing.assert_close(soft_one_hot_linspace(x, 0, 2, 3, "gaussian", False), theirs)


@pytest.mark.parametrize("basis", ["fourier", "bessel"])
def test_one_wave_needs_no_spacing(basis):
    # e3nn asks for the distance of two points, which waves do not use, and raises an IndexError.
    x = torch.linspace(0.1, 1, 5)
    two = soft_one_hot_linspace(x, 0.0, 1.0, 2, basis, False)
    one = soft_one_hot_linspace(x, 0.0, 1.0, 1, basis, False)
    scale = (1.25 / 0.75) ** 0.5 if basis == "fourier" else 1.0
    torch.testing.assert_close(one, two[:, :1] * scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"basis": "gauss", "cutoff": True}, r"needs basis one of gaussian, .*; got 'gauss'\. Did you mean 'gaussian'"),
        ({"cutoff": True}, "got None"),
        ({"basis": "gaussian"}, "needs cutoff=True or cutoff=False; got None"),
        ({"basis": "cosine", "cutoff": False, "number": 1}, "needs number >= 2, .* got 1"),
        ({"basis": "cosine", "cutoff": False, "end": 0.0}, "needs start < end; got start = 0.0 and end = 0.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        soft_one_hot_linspace(torch.ones(2), **{"start": 0.0, "end": 1.0, "number": 3, **options})


@pytest.mark.parametrize("number", [-1, 2.0, True, "3"])
@pytest.mark.parametrize("basis", ["gaussian", "fourier", "bessel"])
def test_number_of_functions(number, basis):
    with pytest.raises(ConfigError, match="needs an integer number of functions >= 0; got number = "):
        soft_one_hot_linspace(torch.ones(2), 0.0, 1.0, number, basis, cutoff=True)
