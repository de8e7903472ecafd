"""Constants that keep activations at unit scale."""

import math

import pytest
import torch
from e3nn.math import normalize2mom
from torch.nn.functional import elu, relu, silu

from irrepnet.errors import ConfigError
from irrepnet.math import second_moment, second_moment_factor


@pytest.mark.parametrize(
    ("f", "moment"),
    [
        (lambda z: z, 1.0),
        (lambda z: z**3, 15.0),
        (relu, 0.5),
        (torch.abs, 1.0),
        (torch.sin, (1 - math.exp(-2)) / 2),
        (torch.exp, math.exp(2)),
    ],
)
def test_exact_against_closed_forms(f, moment):
    assert second_moment_factor(f) == pytest.approx(moment**-0.5, rel=1e-12)


def test_exact_values_of_the_usual_activations():
    values = [round(second_moment_factor(f), 6) for f in (silu, torch.tanh, torch.sigmoid)]
    assert values == [1.676532, 1.592537, 1.846229]


@pytest.mark.parametrize("f", [silu, torch.tanh, torch.sigmoid, torch.abs, relu, elu, torch.sin, torch.nn.SiLU()])
def test_monte_carlo_equals_e3nn(f):
    theirs = normalize2mom(f)
    assert second_moment_factor(f, "e3nn") == pytest.approx(1.0 if theirs._is_id else theirs.cst, rel=1e-14)


def test_e3nn_leaves_alone_what_is_nearly_normal():
    normal = normalize2mom(torch.tanh)
    assert second_moment_factor(lambda z: 1.00005 * normal(z), "e3nn") == 1.0
    assert second_moment_factor(lambda z: 1.0002 * normal(z), "e3nn") == pytest.approx(1 / 1.0002, rel=1e-12)


def test_an_object_that_changes_is_not_remembered():
    class Power:
        exponent = 1

        def __call__(self, z):
            return z**self.exponent

    power = Power()
    assert second_moment_factor(power) == pytest.approx(1.0)
    power.exponent = 3
    assert second_moment_factor(power) == pytest.approx(15**-0.5)


@pytest.mark.parametrize("method", ["exact", "e3nn"])
def test_has_a_value_while_modules_are_built_without(method):
    with torch.device("meta"):
        factor = second_moment_factor(lambda z: z.sin() + 2, method)
    assert factor == second_moment_factor(lambda z: z.sin() + 2, method)


def test_global_random_state_stays():
    before = torch.get_rng_state()
    second_moment_factor(lambda z: z.sin() + 1, "e3nn")
    assert torch.equal(torch.get_rng_state(), before)


def test_errors():
    with pytest.raises(ConfigError, match=r"needs one of exact, e3nn; got 'exakt'\. Did you mean 'exact'"):
        second_moment_factor(silu, "exakt")
    with pytest.raises(ConfigError, match=r"second moment above zero and finite; .* has 0.0"):
        second_moment_factor(torch.zeros_like)


def test_the_table_of_known_functions_is_what_would_be_computed():
    for f, factors in second_moment._KNOWN.items():
        for method, factor in factors.items():
            assert second_moment._factor(f, method) == pytest.approx(factor, rel=1e-13), f


def test_modules_of_known_functions():
    for kind, f in second_moment._MODULES.items():
        x = torch.linspace(-3, 3, 11)
        assert torch.equal(kind()(x), f(x))
        assert second_moment_factor(kind()) == second_moment_factor(f)
    other = torch.nn.LeakyReLU(0.5)  # options are not passed over
    assert second_moment_factor(other) == pytest.approx(((1 + 0.25) / 2) ** -0.5, rel=1e-12)


def test_known_functions_need_no_random_numbers(monkeypatch):
    monkeypatch.setattr(second_moment, "random_sample", lambda: pytest.fail("drawn"))
    assert second_moment_factor(silu, "e3nn") == 1.679176792398942
