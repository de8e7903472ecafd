import copy
import pickle

import e3nn.math
import pytest
import torch
from torch.nn.functional import silu

from irrepnet.math import normalize2mom


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.scale * x.tanh()


x = torch.linspace(-3, 3, 20, dtype=torch.float64)


@pytest.mark.parametrize("f", [silu, torch.tanh, torch.nn.SiLU(), Scaled().double(), lambda z: z])
def test_equals_e3nn(f):
    ours, theirs = normalize2mom(f), e3nn.math.normalize2mom(f)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    assert ours.cst == pytest.approx(theirs.cst, rel=1e-14)
    ours.load_state_dict(theirs.state_dict())
    assert set(ours.state_dict()) == {"f." + name for name, _ in getattr(f, "named_parameters", list)()}


def test_a_factor_of_nearly_one_is_left_out_as_in_e3nn():
    once = normalize2mom(torch.tanh)
    assert torch.equal(normalize2mom(once)(x), once(x))


def test_copies_compile_and_repr():
    f = normalize2mom(torch.tanh)
    for other in (copy.deepcopy(f), pickle.loads(pickle.dumps(f)), torch.compile(f, fullgraph=True, backend="eager")):
        torch.testing.assert_close(other(x), f(x))
    assert repr(f) == "normalize2mom(tanh | 1.593733)"


def test_second_moment_is_one():
    z = torch.randn(200_000, dtype=torch.float64)
    for second_moment in ("e3nn", "exact"):
        assert normalize2mom(silu, second_moment=second_moment)(z).square().mean().item() == pytest.approx(1, abs=0.02)
    assert normalize2mom(silu).cst == pytest.approx(1.679177, abs=1e-6)
    assert normalize2mom(silu, second_moment="exact").cst == pytest.approx(1.676532, abs=1e-6)


def test_the_factor_of_a_module_does_not_depend_on_its_dtype():
    single, double = (normalize2mom(torch.nn.PReLU().to(dtype)) for dtype in (torch.float32, torch.float64))
    assert single.cst == double.cst
    assert single.f.weight.dtype == torch.float32
