"""Modules of e3nn where no ``named_modules`` shows them are found and reported."""

import functools
from types import SimpleNamespace

import pytest
import torch
from e3nn import nn as e3nn_nn
from e3nn import o3 as e3nn_o3

from irrepnet import convert


def linear():
    return e3nn_o3.Linear("2x0e", "2x0e")


class Hiding(torch.nn.Module):
    """Holds a module as it is told, beside one that can be replaced."""

    def __init__(self, hide):
        super().__init__()
        self.mix = linear()
        self.held = hide(self.mix)


def closure(module):
    return lambda x: 2 * module(x)


HIDDEN = {
    "list": lambda _: [linear()],
    "dict": lambda _: {"deep": (0, {"deeper": linear()})},
    "partial": lambda _: functools.partial(linear()),
    "object": lambda _: SimpleNamespace(module=linear()),
    "closure": closure,
    "method": lambda _: linear().forward,
    "user module": lambda _: [torch.nn.Sequential(linear())],
}


@pytest.mark.parametrize("how", HIDDEN)
def test_it_is_found(how):
    new, report = convert.from_e3nn(Hiding(HIDDEN[how]))
    (line,) = report.not_replaced
    assert (line.path, line.found, line.num_weights) == ("held", "e3nn.o3.Linear", 4)
    assert "out of reach" in line.note and str(report).startswith("1 of 2 e3nn modules replaced")
    assert not isinstance(new.mix, e3nn_o3.Linear)


def test_what_was_replaced_is_not_a_leftover():
    module = Hiding(lambda mix: [mix, {"again": functools.partial(mix)}, mix.forward])
    new, report = convert.from_e3nn(module)
    assert report.not_replaced == () and new.held[0] is new.mix


class Function(torch.nn.Module):
    """A function of scalars with a module in it."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return torch.tanh(x) + self.inner.weight.sum()


def test_a_function_inside_a_replaced_module_is_found():
    """An activation may call any module."""
    old = e3nn_nn.Activation("2x0e", [Function()])
    _, report = convert.from_e3nn(old)
    assert [line.found for line in report.not_replaced] == ["e3nn.o3.Linear"]
    assert report.not_replaced[0].path.startswith("acts.0")
