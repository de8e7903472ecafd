"""The gate: e3nn's values and irreps, equivariance, and what is refused."""

import e3nn.nn
import pytest
import torch
from hypothesis import given
from torch.nn.functional import silu
from torch.utils._python_dispatch import TorchDispatchMode

import irrepnet.nn
import irrepnet.o3
from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.nn import Gate
from irrepnet.o3 import Irreps
from irrepnet.testing import assert_equivariant, strategies


def typical(irreps_gated, **options):
    """Even and odd scalars, and even gates."""
    gates = Irreps([(irreps_gated.num_irreps, "0e")])
    return Gate("3x0e+2x0o", [silu, torch.tanh], gates, [torch.sigmoid], irreps_gated, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(irreps_gated=strategies.irreps(lmax=6, max_mul=3))
def test_equivariance(dtype, irreps_gated):
    gate = typical(irreps_gated, second_moment="exact")
    assert_equivariant(gate, gate.irreps_in, gate.irreps_out, dtype=dtype, trials=2)


def test_equivariance_with_odd_gates():
    gate = Gate("2x0o", [torch.abs], "3x0o+2x0o", [torch.tanh, torch.abs], "2x1o+3x2e")
    assert str(gate.irreps_out) == "2x0e+2x1e+1x2o+2x2e"
    assert_equivariant(gate, gate.irreps_in, gate.irreps_out)


CASES = [
    ("16x0e", [silu], "16x0e", [torch.sigmoid], "16x1o"),
    ("16x0e", [silu], "16x0e", [silu], "16x1o"),
    ("4x0e+2x0o", [silu, torch.tanh], "3x0e+2x0o", [torch.sigmoid, torch.tanh], "2x1o+3x1e"),
    ("4x0e", [silu], "5x0e", [torch.sigmoid], "2x2e+3x1o"),
    ("0e+2x0e+0o", [silu, silu, torch.tanh], "2x0e+1x0e", [silu, torch.sigmoid], "1o+1o+1x1o"),
    ("4x0e", [silu], "", [], ""),
    ("", [], "2x0e", [silu], "2x1o"),
    ("2x0e", [None], "2x0e", [None], "1o+1o"),
    ("3x0e", [silu], "2x0o+2x0e+1x0o", [torch.tanh, silu, torch.abs], "2x0e+3x0o"),  # scalars may be gated too
    ("0x0e+3x0e", [silu, torch.tanh], "0x0o+2x0e", [torch.tanh, silu], "0x1e+2x1o"),
    ("2x0e", [silu], "1x0e+1x0o", [silu, torch.abs], "2x1o"),  # gates become one kind
]


@pytest.mark.parametrize("arguments", CASES)
def test_equals_e3nn(arguments):
    ours, theirs = Gate(*arguments), e3nn.nn.Gate(*arguments).double()
    assert str(ours.irreps_in) == str(theirs.irreps_in)
    assert str(ours.irreps_out) == str(theirs.irreps_out)
    for name in ("irreps_scalars", "irreps_gates", "irreps_gated"):
        assert str(getattr(ours, name)) == str(getattr(theirs, name))
    for name in ("act_scalars", "act_gates"):
        assert str(getattr(ours, name).irreps_out) == str(getattr(theirs, name).irreps_out)
    x = ours.irreps_in.randn(7, -1, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


class Kernels(TorchDispatchMode):
    """Notes the names of the operations that compute something (views do not)."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def test_is_a_handful_of_kernels():
    gate = Gate("16x0e", [silu], "16x0e", [silu], "16x1o")
    x = gate.irreps_in.randn(100, -1)
    with Kernels() as kernels:
        gate(x)
    assert kernels.names == ["aten::silu", "aten::mul", "aten::mul", "aten::cat"]


def test_leading_axes_empty_and_strided():
    gate = typical(Irreps("2x1o+2e"))
    x = gate.irreps_in.randn(4, 5, -1)
    torch.testing.assert_close(gate(x.flatten(0, 1)).unflatten(0, (4, 5)), gate(x))
    torch.testing.assert_close(gate(x.transpose(0, 1)), gate(x).transpose(0, 1))
    assert gate(x[:0]).shape == (0, 5, gate.irreps_out.dim)


def test_second_derivatives_and_compile():
    gate = typical(Irreps("1o"), second_moment="exact")
    x = gate.irreps_in.randn(2, -1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(gate, x)
    torch.testing.assert_close(torch.compile(gate, fullgraph=True, backend="aot_eager")(x), gate(x))
    assert gate.state_dict() == {}


@pytest.fixture
def float64_default():
    """e3nn feeds a function numbers of the default dtype and of float64; one that learns takes only its own dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_functions_that_learn_load_from_e3nn(float64_default):
    acts = lambda: [torch.nn.PReLU()]
    ours, theirs = (nn.Gate("2x0e", acts(), "3x0e", acts(), "2x1o+2e") for nn in (irrepnet.nn, e3nn.nn))
    theirs.act_gates.acts[0].f.weight.data.fill_(0.7)
    assert set(ours.state_dict()) == {"act_scalars.acts.0.f.weight", "act_gates.acts.0.f.weight"}
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = ours.irreps_in.randn(4, -1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_a_whole_net_reads_the_state_of_e3nn():
    def net(o3, Gate):
        gate = Gate("4x0e", [silu], "2x0e", [torch.sigmoid], "2x1o")
        layers = (
            o3.Linear("3x0e+2x1o", "2x0e+2x1o"),
            o3.FullyConnectedTensorProduct("2x0e+2x1o", "0e+1o", gate.irreps_in),
        )
        return torch.nn.ModuleDict({"linear": layers[0], "product": layers[1], "gate": gate})

    def run(net, x, y):
        return net["gate"](net["product"](net["linear"](x), y))

    ours, theirs = net(irrepnet.o3, Gate), net(e3nn.o3, e3nn.nn.Gate)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, y = torch.randn(5, 9), torch.randn(5, 4)
    torch.testing.assert_close(run(ours, x, y), run(theirs, x, y))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        ours["gate"].load_state_dict({"mul.weight": torch.zeros(0), "other": torch.zeros(0)})


def test_errors():
    with pytest.raises(IrrepsError, match=r"scalars \(l = 0\) in irreps_scalars; got 1x1o in '1x0e\+1x1o'"):
        Gate("0e+1o", [silu, None], "", [], "")
    with pytest.raises(IrrepsError, match=r"scalars \(l = 0\) in irreps_gates; got 2x1o"):
        Gate("0e", [silu], "2x1o", [silu], "2x1o")
    with pytest.raises(IrrepsError, match=r"one gate for each irrep of irreps_gated = '2x1o', 2 in all; .* with 3"):
        Gate("0e", [silu], "3x0e", [silu], "2x1o")
    with pytest.raises(IrrepsError, match="in act_gates for each of the 1 entries of irreps_gates = '2x0e'; got 2"):
        Gate("0e", [silu], "2x0e", [silu, silu], "2x1o")
    with pytest.raises(IrrepsError, match="odd or even; got sigmoid"):
        Gate("0e", [silu], "2x0o", [torch.sigmoid], "2x1o")
    with pytest.raises(
        ShapeError, match=r"Gate needs features \[..., 11\] for irreps = 2x0o\+6x0e\+1x1o; got \[2, 7\]"
    ):
        Gate("5x0e+2x0o", [silu, torch.tanh], "0e", [silu], "1o")(torch.zeros(2, 7))
