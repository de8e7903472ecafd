import e3nn.math
import pytest
import sympy
import torch

from irrepnet.errors import DtypeError
from irrepnet.math import soft_unit_step

points = [-1.0, -1e-300, 0.0, 1e-300, 1e-160, 1e-80, 1e-3, 1.2e-3, 1.5e-3, 0.01, 0.3, 1.0, 7.0, 1e6]


def derivatives(x, order):
    """Return the function and its derivatives."""
    x = x.requires_grad_()
    out = [soft_unit_step(x)]
    for _ in range(order):
        out.append(torch.autograd.grad(out[-1].sum(), x, create_graph=True)[0])
    return out


def test_equals_e3nn():
    x = torch.tensor(points, dtype=torch.float64)
    torch.testing.assert_close(soft_unit_step(x), e3nn.math.soft_unit_step(x), rtol=0, atol=1e-15)


def test_derivatives_of_every_order_against_sympy():
    found = derivatives(torch.tensor(points, dtype=torch.float64), 5)
    t = sympy.symbols("t")
    for order, values in enumerate(found):
        f = sympy.diff(sympy.exp(-1 / t), t, order)
        expected = [float(f.subs(t, sympy.Float(p, 50)).evalf(30)) if p > 1e-4 else 0.0 for p in points]
        torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-290)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_derivatives_are_finite_next_to_zero(dtype):
    x = torch.logspace(-40, 0, 400, dtype=torch.float64).to(dtype)
    assert all(values.isfinite().all() for values in derivatives(torch.cat([x, -x]), 5))


def test_function_transforms():
    # In e3nn torch.func refuses it: its custom derivative has no setup_context.
    x = torch.tensor([-0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
    with pytest.raises(RuntimeError):
        torch.func.vmap(torch.func.grad(e3nn.math.soft_unit_step))(x)
    first = torch.func.vmap(torch.func.grad(soft_unit_step))
    torch.testing.assert_close(first(x), derivatives(x.clone(), 1)[1])
    _, forward = torch.func.jvp(soft_unit_step, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(forward, first(x))


def test_compiles_and_exports():
    class Step(torch.nn.Module):
        def forward(self, x):
            return soft_unit_step(x)

    x = torch.linspace(-1, 1, 9)
    assert torch.equal(torch.compile(Step(), fullgraph=True, backend="aot_eager")(x), Step()(x))
    program = torch.export.export(Step(), (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
    assert torch.equal(program.module()(x[:4]), Step()(x[:4]))


def test_integers_are_refused():
    with pytest.raises(DtypeError, match=r"floating-point tensor; got torch.int64. Write x.float\(\)"):
        soft_unit_step(torch.arange(3))
