import e3nn.o3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3
from irrepnet.errors import DtypeError, ShapeError
from irrepnet.testing.strategies import irreps


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@settings(max_examples=20)
@given(irreps(lmax=3, max_mul=4), st.booleans())
def test_equals_e3nn(irreps_in, squared):
    ours, theirs = (room.Norm(str(irreps_in), squared=squared) for room in (o3, e3nn.o3))
    assert (ours.irreps_in, ours.irreps_out) == (theirs.irreps_in, theirs.irreps_out)
    ours.load_state_dict(theirs.state_dict())
    x = irreps_in.randn(4, 3, -1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_is_the_length():
    x = torch.tensor([[3.0, 4.0, 0.0, -2.0, 0.0, 0.0, 0.0]])
    assert o3.Norm("1o+0e+1e")(x).tolist() == [[5.0, 2.0, 0.0]]
    assert o3.Norm("1o+0e+1e", squared=True)(x).tolist() == [[25.0, 4.0, 0.0]]


def derivatives_at_zero(norm):
    x = torch.zeros(2, 7, requires_grad=True)
    with torch.no_grad():
        x[1] = torch.arange(7.0)
    (first,) = torch.autograd.grad(norm(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return first.detach(), second


def test_derivatives_at_zero_are_finite():
    first, second = derivatives_at_zero(o3.Norm("0o+2x1o"))
    assert torch.equal(first[0], torch.zeros(7)) and torch.equal(second[0], torch.zeros(7))
    assert first.isfinite().all() and second.isfinite().all() and first[1].abs().sum() > 0


def test_derivatives_elsewhere():
    x = torch.randn(3, 7, requires_grad=True)
    assert torch.autograd.gradcheck(o3.Norm("0o+2x1o"), x) and torch.autograd.gradgradcheck(o3.Norm("0o+2x1o"), x)


def test_nothing():
    for text in ("", "0x1o"):
        norm = o3.Norm(text)
        assert norm(torch.randn(4, 0)).shape == (4, 0) and norm.irreps_out == o3.Irreps()
    assert o3.Norm("2x0e+0x1o+1e")(torch.randn(0, 5)).shape == (0, 3)


def test_half_precision():
    assert o3.Norm("2x1o")(torch.ones(2, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_bad_operands_are_named():
    norm = o3.Norm("2x0e+1o")
    with pytest.raises(
        ShapeError, match=r"Norm needs features \[..., 5\] for irreps_in = 2x0e\+1x1o; got features \[3, 4\]"
    ):
        norm(torch.randn(3, 4))
    for features, found in ((torch.ones(3, 5).long(), "torch.int64"), ([1.0], "list")):
        with pytest.raises(DtypeError, match=f"needs features as a floating-point tensor; got {found}"):
            norm(features)


def test_reads_as_mathematics():
    assert repr(o3.Norm("1o+1o+0e")) == "Norm(2x1o+1x0e -> 3x0e)"
    assert repr(o3.Norm("1o", squared=True)) == "Norm(1x1o -> 1x0e | squared)"
