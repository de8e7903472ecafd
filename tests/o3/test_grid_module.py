"""What the grids on the sphere and on SO(3), and the activations there, have in common."""

import e3nn.nn
import e3nn.o3
import pytest
import torch

from irrepnet import nn, o3
from irrepnet.errors import DtypeError

MODULES = {
    "ToS2Grid": lambda: o3.ToS2Grid(2),
    "FromS2Grid": lambda: o3.FromS2Grid((6, 5), 2),
    "SO3Grid": lambda: o3.SO3Grid(2, 3),
    "S2Activation": lambda: nn.S2Activation("0e+1o+2e", torch.tanh, 8),
    "S2Activation-turned": lambda: nn.S2Activation("0e+1o+2e", torch.square, 8, random_rot=True),
    "SO3Activation": lambda: nn.SO3Activation(1, 2, torch.tanh, 4),
}
SHAPES = {"FromS2Grid": (4, 6, 5), "SO3Grid": (4, 35), "SO3Activation": (4, 10)}


def call(name, module):
    """Return a function of a tensor; a grid on SO(3) is gone through in both directions."""
    return (lambda x: module.from_grid(module.to_grid(x))) if name == "SO3Grid" else module


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MODULES)
def test_autocast_changes_nothing(name, half):
    """A sum over a grid in half precision would break equivariance; the input may come in it all the same."""
    module = MODULES[name]()
    f, x = call(name, module), torch.randn(SHAPES.get(name, (4, 9))).to(half).float()
    expected = f(x)
    for argument in (x, x.to(half)):
        argument.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            result = f(argument)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
        result.sum().backward()
        assert argument.grad.dtype == argument.dtype
    for wrong in (x.double(), x.long()):
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(DtypeError, match=rf"on cpu; got {wrong.dtype}"):
            f(wrong)


@pytest.mark.parametrize("name", MODULES)
def test_autocast_compiles(name):
    module, x = MODULES[name](), torch.randn(SHAPES.get(name, (4, 9)))
    torch._dynamo.reset()
    with torch.autocast("cpu", torch.bfloat16):
        compiled = torch.compile(call(name, module), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), call(name, module)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_made_while_predicting_it_can_be_trained(name):
    with torch.inference_mode():
        module = MODULES[name]().double()
    x = torch.randn(SHAPES.get(name, (4, 9)), dtype=torch.float64, requires_grad=True)
    call(name, module)(x).square().sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: o3.ToS2Grid(2), ("sharpness", "shade", "alphas2")),
        (lambda: o3.SO3Grid(1, 2), ("Dummy", "alphabet", "qwerty")),
    ],
)
def test_state_dicts_keep_what_is_learned_and_refuse_what_is_foreign(make, names):
    """Names of constants are no beginnings of names."""
    module = make()
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict(dict.fromkeys(names, torch.ones(1)))
    for name in names:
        setattr(module, name, torch.nn.Parameter(torch.zeros(1)))
    module.load_state_dict(dict.fromkeys(names, torch.ones(1)))
    assert all(getattr(module, name).item() == 1 for name in names)


def test_states_of_other_grids_are_refused():
    pairs = [
        (o3.ToS2Grid(2, (6, 5)), e3nn.o3.ToS2Grid(2, (20, 19)), r"shb is of another grid: ToS2Grid\(lmax=2 res=6x5"),
        (o3.FromS2Grid((8, 7), 2), e3nn.o3.FromS2Grid((8, 7), 3), r"\[5, 8, 9\]; got \[7, 8, 16\]. Build the module"),
        (o3.SO3Grid(1, 2), e3nn.o3.SO3Grid(1, 3), r"D is of another grid: SO3Grid.*has \[8, 4, 8, 10\]; got"),
        (o3.ToS2Grid(2), e3nn.o3.ToS2Grid(2, normalization="norm"), r"shb has another normalisation than ToS2Grid"),
        (o3.FromS2Grid(8, 2, lmax_in=3), e3nn.o3.FromS2Grid(8, 2), r"the normalization \(and lmax_in\) that was saved"),
        (
            nn.S2Activation("0e+1o", torch.tanh, 8),
            e3nn.nn.S2Activation("0e+1o", torch.tanh, 10),
            r"to_s2.shb is of another grid",
        ),
    ]
    for ours, theirs, message in pairs:
        with pytest.raises(RuntimeError, match=message):
            ours.load_state_dict(theirs.state_dict())


def test_states_of_float32_are_accepted_at_high_degrees():
    """Their tables are wrong from degree 20 on, ours are not."""
    o3.ToS2Grid(20).load_state_dict(e3nn.o3.ToS2Grid(20).state_dict())
    with torch.device("meta"):
        module = nn.S2Activation("0e+1o", torch.tanh, 8)
    module.load_state_dict(e3nn.nn.S2Activation("0e+1o", torch.tanh, 8).state_dict())


def test_saved_constants_are_names_or_beginnings():
    from irrepnet.o3.saved_constants import without_constants

    state = dict.fromkeys(["a.D", "a.Dummy", "a.mul.x", "a.mul", "a.cg_1", "b.D"], 0)
    assert list(without_constants(state, "a.", ("D", "mul.", "cg_"))) == ["a.Dummy", "a.mul", "b.D"]
