import copy
import pickle
import time

import e3nn.io
import pytest
import torch

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.io import CartesianTensor

FORMULAS = {
    "i": "1x1o",
    "ij": "1x0e+1x1e+1x2e",
    "ij=ji": "1x0e+1x2e",
    "ij=-ji": "1x1e",
    "ijk=ikj": "2x1o+1x2o+1x3o",
    "ijk=-jik=-ikj": "1x0o",
    "ijkl=jikl=klij": "2x0e+2x2e+1x4e",
}
every_formula = pytest.mark.parametrize("formula", FORMULAS)


def draw(x, *rows, dtype=torch.float64):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(*rows, *(3,) * len(x.indices), dtype=dtype, generator=generator)


@every_formula
def test_equals_e3nn(formula):
    x, theirs = CartesianTensor(formula), e3nn.io.CartesianTensor(formula)
    assert repr(x) == repr(theirs) == FORMULAS[formula] and (x.formula, x.indices) == (theirs.formula, theirs.indices)
    t = draw(x, 2, 5)
    y = x.from_cartesian(t)
    torch.set_default_dtype(torch.float64)
    try:
        rtp = theirs.reduced_tensor_products(t)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(y, theirs.from_cartesian(t, rtp), rtol=0, atol=1e-12)
    torch.testing.assert_close(x.to_cartesian(y), theirs.to_cartesian(y, rtp), rtol=0, atol=1e-12)
    vectors = [torch.randn(5, 3, dtype=torch.float64) for _ in x.indices]
    torch.testing.assert_close(x.from_vectors(*vectors), theirs.from_vectors(*vectors, rtp=rtp), rtol=0, atol=1e-12)


@every_formula
def test_round_trip_and_length(formula):
    x = CartesianTensor(formula)
    y = x.from_cartesian(draw(x, 7))
    t = x.to_cartesian(y)
    torch.testing.assert_close(x.from_cartesian(t), y, rtol=0, atol=1e-13)
    torch.testing.assert_close(t.flatten(1).norm(dim=1), y.norm(dim=1), rtol=0, atol=1e-12)


@every_formula
def test_turned_then_converted_is_converted_then_turned(formula):
    x = CartesianTensor(formula)
    R = -o3.rand_matrix(dtype=torch.float64)
    t = draw(x)
    turned = t
    for axis in range(t.ndim):
        turned = (turned.movedim(axis, -1) @ R.T).movedim(-1, axis)
    expected = x.D_from_matrix(R) @ x.from_cartesian(t)
    torch.testing.assert_close(x.from_cartesian(turned), expected, rtol=0, atol=1e-12)


@every_formula
def test_vectors_are_a_product(formula):
    x = CartesianTensor(formula)
    vectors = [torch.randn(3, dtype=torch.float64) for _ in x.indices]
    letters = x.indices
    t = torch.einsum(f"{','.join(letters)}->{letters}", *vectors)
    expected = x.from_cartesian(t)
    torch.testing.assert_close(x.from_vectors(*vectors), expected, rtol=0, atol=1e-13)
    rtp = x.reduced_tensor_products(t)
    torch.testing.assert_close(x.from_vectors(*vectors, rtp=rtp), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(x.from_cartesian(t, rtp), expected, rtol=0, atol=0)
    torch.testing.assert_close(x.to_cartesian(expected, rtp), x.to_cartesian(expected), rtol=0, atol=0)


def test_float64_is_exact_whatever_the_default_dtype():
    # e3nn makes its constants in the default dtype, here float32, and casts them.
    x = CartesianTensor("ijkl=jikl=klij")
    y = torch.randn(3, x.dim, dtype=torch.float64)
    torch.testing.assert_close(x.from_cartesian(x.to_cartesian(y)), y, rtol=0, atol=1e-13)
    theirs = e3nn.io.CartesianTensor("ijkl=jikl=klij")
    rtp = theirs.reduced_tensor_products(y)
    assert (theirs.from_cartesian(theirs.to_cartesian(y, rtp), rtp) - y).abs().max() > 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_dtypes_and_devices(dtype, device):
    x = CartesianTensor("ij=ji")
    y = x.from_cartesian(draw(x, 4, dtype=dtype).to(device))
    t = x.to_cartesian(y)
    assert (y.shape, y.dtype, y.device.type) == ((4, 6), dtype, device)
    assert (t.shape, t.dtype, t.device.type) == ((4, 3, 3), dtype, device)
    assert x.from_cartesian(t[:0]).shape == (0, 6)


def test_conversion_is_fast_without_rtp():
    x = CartesianTensor("ijkl=jikl=klij")
    t = draw(x, 1)
    x.from_cartesian(t)
    start = time.process_time()
    for _ in range(100):
        x.from_cartesian(t)
    assert (time.process_time() - start) / 100 < 1e-3  # e3nn builds its constants for each call, 0.1 s


def test_copies():
    # e3nn's cannot be copied or saved: it is made again from its entries, where a formula is needed.
    with pytest.raises(AttributeError, match="split"):
        copy.deepcopy(e3nn.io.CartesianTensor("ijk=ikj"))
    x = CartesianTensor("ijk=ikj")
    for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (type(other), other, other.formula, other.indices) == (CartesianTensor, x, "ijk=ikj", "ijk")


def test_is_an_irreps():
    x = CartesianTensor("ij=ji")
    assert x == o3.Irreps("0e+2e") and isinstance(x, o3.Irreps) and hash(x) == hash(o3.Irreps("0e+2e"))
    assert type(x + x) is o3.Irreps and (x + x).simplify() == o3.Irreps("0e+2e+0e+2e")
    assert x[1:] == o3.Irreps("2e") and x.randn(2, -1).shape == (2, 6) and "2e" in x
    assert o3.Linear(x, x)(torch.ones(1, 6)).shape == (1, 6)


class Both(torch.nn.Module):
    """There and back, with something in between."""

    def __init__(self):
        super().__init__()
        self.x = CartesianTensor("ijk=ikj")

    def forward(self, t):
        y = self.x.from_cartesian(t) ** 2 + self.x.from_vectors(*t[:, 0].unbind(1))
        return self.x.to_cartesian(y)


def test_compile_export_and_derivatives():
    module = Both()
    t = draw(module.x, 4)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(t), module(t), rtol=0, atol=1e-13)
    program = torch.export.export(module, (t,), dynamic_shapes=({0: torch.export.Dim("rows", min=2)},)).module()
    for data in (t, torch.cat([t, t])):
        torch.testing.assert_close(program(data), module(data), rtol=0, atol=1e-13)
    t = t[:2].requires_grad_()
    assert torch.autograd.gradcheck(module, t, fast_mode=True)
    assert torch.autograd.gradgradcheck(module, t, fast_mode=True)
    f = CartesianTensor("ij=ji").from_cartesian
    m = torch.randn(4, 3, 3)
    torch.testing.assert_close(torch.func.vmap(f)(m), f(m))
    assert torch.func.vmap(torch.func.jacrev(f))(m).shape == (4, 6, 3, 3)
    torch.testing.assert_close(f(m), f(m.clone()))  # nothing of the transform was kept


def test_errors():
    x, t = CartesianTensor("ij=ji"), torch.ones(2, 3, 3)
    with pytest.raises(ShapeError, match=r"CartesianTensor\(ij=ji\) needs data \[..., 3, 3\]; got \[2, 3\]"):
        x.from_cartesian(t[:, 0])
    with pytest.raises(ShapeError, match=r"needs data \[..., 6\] for 1x0e\+1x2e; got \[2, 3, 3\]"):
        x.to_cartesian(t)
    with pytest.raises(ShapeError, match=r"needs 2 vectors \[..., 3\]; got \[2, 3\]"):
        x.from_vectors(t[:, 0])
    with pytest.raises(DtypeError, match=r"vectors need one dtype; got torch\.float32, torch\.float64"):
        x.from_vectors(t[:, 0], t[:, 0].double())
    with pytest.raises(DtypeError, match=r"floating-point numbers; got torch\.int64. Write data.float\(\)"):
        x.from_cartesian(t.long())
    with pytest.raises(DtypeError, match=r"rtp is torch\.float32, the data torch\.float64"):
        x.from_cartesian(t.double(), x.reduced_tensor_products())
    with pytest.raises(ConfigError, match=r"contradicts itself: .* Did you mean 'ij=-ji'"):
        CartesianTensor("ij=-ij")


@pytest.mark.parametrize(
    "other",
    [
        o3.ReducedTensorProducts("ijk=jik", i="1o", k="1o"),  # the same irreps, of other tensors
        o3.ReducedTensorProducts("ijk=-jik", i="1o", k="1o"),
        o3.ReducedTensorProducts("ijk=ikj", i="1o", j="1o", filter_ir_out=["1o"]),
        o3.ReducedTensorProducts("ijk=ikj", i="1o", j="1e"),
    ],
    ids=str,
)
def test_module_of_another_formula_is_refused(other):
    x = CartesianTensor("ijk=ikj")
    message = r"CartesianTensor\(ijk=ikj\) needs an rtp of its formula, from 3 vectors to .*; got ReducedTensorProducts"
    for call in (
        lambda: x.from_cartesian(torch.ones(3, 3, 3), other),
        lambda: x.to_cartesian(torch.ones(x.dim), other),
        lambda: x.from_vectors(*torch.ones(3, 3), rtp=other),
    ):
        with pytest.raises(IrrepsError, match=message):
            call()
    same = o3.ReducedTensorProducts("abc=acb", a="1o", b="1o")  # the letters mean nothing
    vectors = torch.randn(3, 3)
    torch.testing.assert_close(x.from_vectors(*vectors, rtp=same), x.from_vectors(*vectors))


def test_formula_is_text():
    with pytest.raises(ConfigError, match="a formula needs to be text such as 'ij=ji'; got 3"):
        CartesianTensor(3)
