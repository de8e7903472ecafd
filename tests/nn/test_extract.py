"""Extraction of irreps: e3nn's values, against slices, and what is refused."""

import e3nn.nn
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.nn import Extract, ExtractIr
from irrepnet.o3 import Irreps
from irrepnet.testing import strategies

IRREPS = "1o+2x0e+1e+3x0e"


@pytest.mark.parametrize(
    ("outs", "instructions"),
    [
        (["1e", "2x0e"], [(2,), (1,)]),
        (["2x0e+1e", "1e+3x0e"], [(1, 2), (2, 3)]),  # runs that overlap
        (["3x0e+1o"], [(3, 0)]),
        (["1o+2x0e+1e+3x0e"], [(0, 1, 2, 3)]),
        (["1o+1o+2x0e"], [[0, 0, 1]]),
        (["3x0e", ""], [(-1,), ()]),
        ([], []),
    ],
)
def test_equals_e3nn(outs, instructions):
    for squeeze in (False, True):
        ours, theirs = (nn(IRREPS, outs, instructions, squeeze) for nn in (Extract, e3nn.nn.Extract))
        for lead in ((5,), (2, 5), (), (0,)):
            x = torch.randn(*lead, 11)
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    assert [str(irreps) for irreps in ours.irreps_outs] == [str(irreps) for irreps in theirs.irreps_outs]
    assert ours.instructions == theirs.instructions and list(ours.state_dict()) == list(theirs.state_dict())


@given(irreps=strategies.irreps(lmax=2, max_mul=3, max_terms=4), data=st.data())
def test_equals_slices(irreps, data):
    numbers = data.draw(st.lists(st.lists(st.sampled_from(range(len(irreps))), max_size=4), max_size=3))
    x, slices = torch.randn(2, irreps.dim, requires_grad=True), irreps.slices()
    out = Extract(irreps, [[irreps[i] for i in entries] for entries in numbers], numbers)(x)
    expected = tuple(torch.cat([x[:, slices[i]] for i in entries] or [x[:, :0]], 1) for entries in numbers)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    if out:
        total, other = sum(y.square().sum() for y in out), sum(y.square().sum() for y in expected)
        torch.testing.assert_close(torch.autograd.grad(total, x), torch.autograd.grad(other, x))


@pytest.mark.parametrize(("irreps", "ir"), [(IRREPS, "0e"), (IRREPS, "1o"), (IRREPS, "2e"), ("2x1o", "1o"), ("", "0e")])
def test_one_irrep_equals_e3nn(irreps, ir):
    ours, theirs = ExtractIr(irreps, ir), e3nn.nn.ExtractIr(irreps, ir)
    assert str(ours.irreps_out) == str(theirs.irreps_out)
    x = torch.randn(3, Irreps(irreps).dim)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_neighbours_are_a_view():
    x = torch.randn(3, 11)
    (y,) = Extract(IRREPS, ["2x0e+1e"], [(1, 2)])(x)
    assert y.data_ptr() == x[:, 3:].data_ptr()


def test_errors():
    # e3nn copies a scalar into all components of a vector, and lets a parity change its name.
    with pytest.raises(IrrepsError, match=r"needs an entry 1x1o for '1x1o'; number 3 of .* is 3x0e. Did you mean 0\?"):
        Extract(IRREPS, ["1o"], [(3,)])
    with pytest.raises(IrrepsError, match="needs an entry 1x1o for '1x1o'; number 0 of '1x1e' is 1x1e"):
        Extract("1e", ["1o"], [(0,)])
    with pytest.raises(IrrepsError, match="instructions for each of its 1 outputs; got 2"):
        Extract(IRREPS, ["1o"], [(0,), (1,)])
    with pytest.raises(IrrepsError, match="each of the 1 entries of '1x1o'; got 2"):
        Extract(IRREPS, ["1o"], [(0, 1)])
    with pytest.raises(IndexError, match=r"takes from the 4 entries of '1x1o.*'; got number 4"):
        Extract(IRREPS, ["1o"], [(4,)])
    with pytest.raises(ShapeError, match=r"ExtractIr needs features \[..., 11\] for irreps = .*; got \[2, 12\]"):
        ExtractIr(IRREPS, "0e")(torch.zeros(2, 12))


def test_numbers_of_any_dtype():
    x = torch.arange(5)
    for dtype in (torch.int64, torch.complex64):
        y = Extract("2x0e+1o", ["1o"], [(1,)], squeeze_out=True)(x.to(dtype))
        assert torch.equal(y, x[2:].to(dtype))
