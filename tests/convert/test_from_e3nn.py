"""Modules of e3nn, in all their nestings, become ours with their weights."""

import copy
import subprocess
import sys

import pytest
import torch
from convert.networks import NETWORKS, build, inputs, library
from e3nn import math as e3nn_math
from e3nn import nn as e3nn_nn
from e3nn import o3 as e3nn_o3
from torch.nn.functional import silu

import irrepnet
from irrepnet import convert
from irrepnet.errors import ConfigError


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def converted(module, everything=True, **options):
    """Convert a module; fail if anything of e3nn in it was kept."""
    new, report = convert.from_e3nn(module, **options)
    if everything:
        assert report.not_replaced == (), report
        assert not any(type(part).__module__.startswith("e3nn.") for part in new.modules() if not _is_model(part))
    return new, report


def _is_model(part):
    return type(part).__module__.startswith("e3nn.nn.models.")


def same(new, old, *x):
    torch.testing.assert_close(new(*x), old(*x), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_same(name):
    old = build(name, library("e3nn"))
    new, report = converted(old)
    same(new, old, *inputs(name))
    assert all(line.note == "" for line in report.modules)
    assert type(new) is type(old) and new is not old
    twin = build(name, library("irrepnet"))
    twin.load_state_dict(new.state_dict(), strict=True)
    same(twin, old, *inputs(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_built_in_single_precision_gives_the_same(name):
    old = build(name, library("e3nn")).float()
    new, _ = converted(old)
    x = [value.float() for value in inputs(name)]
    torch.testing.assert_close(new(*x), old(*x), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("float64")
def test_the_given_module_is_left_as_it_was():
    old = build("message_passing", library("e3nn"))
    state, x, random = copy.deepcopy(old.state_dict()), inputs("message_passing"), torch.get_rng_state()
    expected = old(*x)
    new, _ = converted(old, wigner_signs="0.4.4")
    assert torch.equal(torch.get_rng_state(), random)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.zero_()
    assert torch.equal(old(*x), expected)
    assert all(torch.equal(value, state[key]) for key, value in old.state_dict().items())


def test_what_a_module_has_is_kept():
    old = torch.nn.Sequential(e3nn_o3.Linear("2x0e", "2x0e", biases=True), e3nn_nn.Dropout("2x0e", 0.5))
    old[0].weight.requires_grad_(False)
    old[1].eval()
    new, _ = converted(old.double())
    assert [p.requires_grad for p in new.parameters()] == [False, True]
    assert new.training and new[0].training and not new[1].training
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    onto_meta, _ = converted(old.to("meta"))
    assert {p.device.type for p in onto_meta.parameters()} == {"meta"}


class Tied(torch.nn.Module):
    """One module under two names and in a list, one parameter in two modules and as an attribute."""

    def __init__(self):
        super().__init__()
        self.first = e3nn_o3.Linear("2x0e", "2x0e")
        self.again = self.first
        self.other = e3nn_o3.Linear("2x0e", "2x0e")
        self.other.weight = self.first.weight
        self.weight = self.first.weight
        self.listed = [self.first, self.other]


def test_attributes_of_users_are_named():
    old = torch.nn.Sequential(e3nn_o3.Linear("2x0e", "2x0e"), e3nn_nn.Dropout("2x0e", 0.5))
    old[0].tag, old[1].forward = "mine", silu
    _, report = converted(old)
    assert [line.note for line in report.replaced] == [
        "attributes were left behind: tag",
        "attributes were left behind: forward",
    ]


def test_what_is_shared_stays_shared():
    new, report = converted(Tied())
    assert new.first is new.again is new.listed[0] and new.other is new.listed[1]
    assert new.first.weight is new.other.weight is new.weight
    assert len(list(new.parameters())) == 1
    assert [line.path for line in report.replaced] == ["first", "other"]


class Hooked(torch.nn.Module):
    """Counts, with methods as hooks, the calls of a child, forward and backward."""

    def __init__(self):
        super().__init__()
        self.mix = e3nn_o3.Linear("2x0e", "2x0e")
        self.calls = []
        self.mix.register_forward_pre_hook(self.before)
        self.mix.register_forward_hook(lambda module, args, out: 2 * out)
        self.mix.register_full_backward_hook(self.after)

    def before(self, module, args):
        self.calls.append(module)

    def after(self, module, grad_in, grad_out):
        self.calls.append("backward")

    def forward(self, x):
        return self.mix(x)


@pytest.mark.usefixtures("float64")
def test_hooks_run_on_the_new_modules():
    old = Hooked()
    new, _ = converted(old)
    x = torch.randn(3, 2, requires_grad=True)
    y = new(x)
    y.sum().backward()
    assert new.calls[0] is new.mix and new.calls[1:] == ["backward"] and old.calls == []
    torch.testing.assert_close(y, old(x))


def test_hooks_that_have_no_place_are_named():
    gate = e3nn_nn.Gate("2x0e", [silu], "1x0e", [silu], "1x1o")
    gate.mul.register_forward_hook(lambda *_: None)
    _, report = converted(gate)
    assert report.modules[0].note == "hooks were left behind on mul"
    assert report.replaced and not report.not_replaced


class Learning(torch.nn.Module):
    """A function with a parameter."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return torch.tanh(self.slope * x)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("make", [e3nn_math.normalize2mom, lambda f: e3nn_nn.Activation("2x0e+2x0o", [f, f])])
def test_a_function_that_learns_is_copied(make):
    old = make(Learning())
    new, _ = converted(old)
    x = torch.randn(3, 4)
    expected = old(x)
    torch.testing.assert_close(new(x), expected)
    assert len(list(new.parameters())) == 1
    with torch.no_grad():
        next(new.parameters()).zero_()
    assert new(x).abs().max() == 0
    torch.testing.assert_close(old(x), expected)


class OwnLinear(e3nn_o3.Linear):
    """A user's class whose code may use anything inside."""


def test_what_is_not_replaced_says_why():
    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = OwnLinear("2x0e", "2x0e")
            self.scripted = torch.jit.script(torch.nn.Linear(2, 2))
            self.traced = torch.fx.symbolic_trace(torch.nn.Linear(2, 2))
            self.compiled = torch.compile(e3nn_o3.Linear("2x0e", "2x0e"), backend="eager")
            self.reduced = e3nn_o3.ReducedTensorProducts("ij=ji", i="1o")
            self.broken = e3nn_o3.Linear("2x0e", "2x0e")
            del self.broken.irreps_in
            self.plain = torch.nn.Linear(2, 2)
            self.mix = e3nn_o3.Linear("2x0e", "2x0e")

    new, report = converted(Mixed(), everything=False)
    why = {line.path: line.note for line in report.not_replaced}
    assert why.pop("broken").startswith("AttributeError: ") and isinstance(new.broken, e3nn_o3.Linear)
    assert why == {
        "own": "a class derived from e3nn.o3.Linear, whose code may rely on its inside",
        "scripted": "code of TorchScript; convert the module before scripting it",
        "traced": "code made by torch.fx",
        "compiled": "compiled; convert the module before torch.compile",
        "reduced": "it does not keep its formula; make it anew from that",
    }
    assert type(new.own) is OwnLinear and isinstance(new.mix, irrepnet.o3.Linear)
    assert "mix" in {line.path for line in report.replaced}
    text = str(report)
    assert "plain" in text and "kept" in text and "NOT REPLACED: code made by torch.fx" in text


def test_the_root_can_be_a_module_of_e3nn():
    new, report = converted(e3nn_o3.Linear("2x0e", "3x0e"))
    assert str(report).splitlines() == [
        "1 of 1 e3nn modules replaced",
        "path   | class          | weights | now",
        "(root) | e3nn.o3.Linear |       6 | Linear(2x0e -> 3x0e | 6 weights)",
    ]
    assert isinstance(new, irrepnet.o3.Linear)


@pytest.mark.usefixtures("float64")
def test_variances_are_kept_though_the_module_does_not_name_them():
    old = e3nn_o3.FullyConnectedTensorProduct(
        "2x1o+0e", "1o", "0e+1e+1o", in1_var=[2.0, 3.0], irrep_normalization="norm"
    )
    new, _ = converted(old)
    same(new, old, torch.randn(4, 7), torch.randn(4, 3))
    double, _ = converted(old.float())
    x, y = torch.randn(4, 7), torch.randn(4, 3)
    torch.testing.assert_close(double.double()(x, y), old.double()(x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalization", ["component", "norm", "integral", "own"])
@pytest.mark.parametrize("lmax", [0, 3])
def test_grids_keep_their_normalisation(normalization, lmax):
    factors = torch.rand(lmax + 1) if normalization == "own" else normalization
    to_grid = e3nn_o3.ToS2Grid(lmax, (10, 8), factors)
    from_grid = e3nn_o3.FromS2Grid((10, 8), lmax, factors, lmax_in=4)
    same(converted(to_grid)[0], to_grid, torch.randn(2, (lmax + 1) ** 2))
    same(converted(from_grid)[0], from_grid, torch.randn(2, 10, 8))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_products_of_the_second_kind(normalization):
    irreps = e3nn_o3.Irreps("2x1o+1x0e"), e3nn_o3.Irreps("1o+1x2e")
    old = e3nn_o3.FullTensorProductv2(
        *irreps, filter_ir_out=[e3nn_o3.Irrep("1e"), e3nn_o3.Irrep("1o")], irrep_normalization=normalization
    )
    new, report = converted(old)
    same(new, old, torch.randn(3, 7), torch.randn(3, 8))
    assert report.modules[0].found == "e3nn.o3.FullTensorProductv2"


@pytest.mark.usefixtures("float64")
def test_a_square_that_no_path_reaches_keeps_its_output():
    old = e3nn_o3.TensorSquare("1o", "3x2o")
    new, _ = converted(old)
    assert new(torch.randn(4, 3)).shape == old(torch.randn(4, 3)).shape == (4, 15)


@pytest.mark.usefixtures("float64")
def test_a_linear_whose_weights_come_from_outside():
    old = e3nn_o3.Linear("2x1o", "3x1o", internal_weights=False, shared_weights=True)
    new, _ = converted(old)
    same(new, old, torch.randn(4, 6), torch.randn(6))


@pytest.mark.parametrize("f_in, f_out", [(1, 1), (1, 5), (2, 3)])
@pytest.mark.parametrize("irreps_out", ["3x1o", "3x0e"])
def test_f_axes_that_a_linear_does_not_keep(f_in, f_out, irreps_out, capfd):
    options = {"f_in": f_in, "f_out": f_out, "internal_weights": False, "shared_weights": True}
    old = e3nn_o3.Linear("2x1o", irreps_out, **options)
    new, report = converted(old, everything=False)
    assert report.not_replaced[0].note == "ValueError: it does not keep f_in and f_out; make it anew with them"
    assert type(new) is type(old) and capfd.readouterr().err == ""


def test_an_extract_is_not_called():
    calls = []
    old = e3nn_nn.Extract("2x1o+0e", ["0e"], [(1,)])
    old.register_forward_hook(lambda *_: calls.append(1))
    converted(old)
    assert calls == []


@pytest.mark.usefixtures("float64")
def test_a_function_that_is_normalized_twice():
    old = e3nn_nn.Activation("2x0e", [e3nn_math.normalize2mom(silu)])
    new, _ = converted(old)
    same(new, old, torch.randn(3, 2))


def test_e3nns_complete_models_are_converted_inside():
    from e3nn.nn.models.v2106.points_convolution import Convolution

    old = Convolution("2x0e+1o", "1x0e", "0e+1o", "2x0e+1o", [4, 8, 8], num_neighbors=3.0).double()
    new, report = converted(old)
    assert len(report.replaced) == 6
    x, attr, sh, scalars = (torch.randn(4, n, dtype=torch.float64) for n in (5, 1, 4, 4))
    src, dst = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    same(new, old, x, attr, src, dst, sh, scalars)


def test_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"needs a torch.nn.Module; got Irreps"):
        converted(e3nn_o3.Irreps("1o"))


def test_nothing_here_imports_e3nn():
    code = (
        "import sys, torch; from irrepnet import convert; convert.from_e3nn(torch.nn.Linear(1, 1)); "
        "assert 'e3nn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
