import copy
import pickle

import e3nn.o3
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.o3 import Irrep, Irreps
from irrepnet.testing.strategies import irreps

any_irreps = irreps(lmax=4, max_mul=5, max_terms=6)


def plain(value):
    """Any irreps, ours or e3nn's, as nested tuples."""
    return tuple((mul, (ir.l, ir.p)) for mul, ir in value)


def test_is_the_tuple_of_its_entries():
    x = Irreps("2x1o+0e")
    assert x == ((2, (1, -1)), (1, (0, 1))) and hash(x) == hash(((2, (1, -1)), (1, (0, 1))))
    assert Irreps("2x0e") != Irreps("0e+0e")
    assert repr(x) == str(x) == "2x1o+1x0e" and repr(Irreps()) == ""
    assert Irreps(x) is x and Irreps(e3nn.o3.Irreps("2x1o+0e")) == x
    assert {x: 1}[Irreps("2x1o + 1x0e")] == 1


@given(any_irreps)
def test_sizes_and_orders_are_those_of_e3nn(x):
    other = e3nn.o3.Irreps(str(x))
    assert plain(x) == plain(other)
    for name in ("dim", "num_irreps", "ls", "lmax"):
        assert getattr(x, name) == getattr(other, name), name
    assert x.slices() == other.slices()
    for name in ("simplify", "regroup", "remove_zero_multiplicities"):
        assert plain(getattr(x, name)()) == plain(getattr(other, name)()), name
    assert plain(x.sort().irreps) == plain(other.sort().irreps)
    assert (x.sort().p, x.sort().inv) == (other.sort().p, other.sort().inv)
    assert all(x.count(ir) == other.count(str(ir)) for ir in Irrep.iterator(5))


@given(any_irreps, st.integers(-3, 12), st.integers(-3, 20))
def test_slices_by_multiplicity_are_those_of_e3nn(x, start, stop):
    assert plain(x.slice_by_mul[start:stop]) == plain(e3nn.o3.Irreps(str(x)).slice_by_mul[start:stop])


@given(any_irreps)
def test_text_and_pickle_bring_it_back(x):
    assert Irreps(str(x)) == x
    for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert other == x and type(other) is Irreps and all(type(entry.ir) is Irrep for entry in other)


def test_zero_multiplicities():
    x = Irreps("0x2e + 3x0e + 0x1o")
    assert (x.dim, x.lmax, x.simplify(), x.ls) == (3, 0, Irreps("3x0e"), [0, 0, 0])
    assert "2e" in x and "2o" not in x


def test_arithmetic():
    x = Irreps("2x1o+0e")
    assert x + "1e" == Irreps("2x1o+0e+1e") and "1e" + x == Irreps("1e+2x1o+0e")
    assert x * 2 == 2 * x == Irreps("2x1o+0e+2x1o+0e") and 0 * x == Irreps()
    assert sum([x, x], Irreps()) == 2 * x
    with pytest.raises(NotImplementedError, match="FullTensorProduct"):
        _ = x * x
    assert x[0].mul == 2 and x[1:] == Irreps("0e") and type(x[:1]) is Irreps


def test_membership_asks_for_an_irrep():
    assert "1o" in Irreps("2x1o") and Irrep("1e") not in Irreps("2x1o")
    with pytest.raises(IrrepsError, match="cannot read '2x1o' as an irrep"):
        _ = "2x1o" in Irreps("2x1o")


def test_filter():
    x = Irreps("4x0e + 2x1o + 2e")
    assert x.filter("1o + 7x0e") == x.filter(["1o", "0e"]) == x.filter(drop="2e") == x.filter(lmax=1) == x[:2]
    assert x.filter(lambda entry: entry.mul == 2) == x[1:2] and x.filter() == x
    with pytest.raises(IrrepsError, match="one of keep, drop and lmax; got keep and lmax"):
        x.filter("1o", lmax=1)


def test_slice_by_mul_takes_plain_slices_only():
    with pytest.raises(IndexError, match=r"slice_by_mul takes a slice; got 1"):
        Irreps("2x0e").slice_by_mul[1]
    with pytest.raises(NotImplementedError, match="step 2"):
        Irreps("2x0e").slice_by_mul[::2]
    assert len(Irreps("2x0e+1o").slice_by_mul) == 3


def test_lmax_of_nothing():
    with pytest.raises(ValueError, match="lmax needs irreps that are not empty; got '0x3e'"):
        _ = Irreps("0x3e").lmax


def test_randn():
    x = Irreps("2x0e + 3x1o + 0x2e")
    assert x.randn(4, -1, 2).shape == (4, 11, 2) and Irreps().randn(3, -1).shape == (3, 0)
    features = x.randn(5, -1, normalization="norm", dtype=torch.float64, requires_grad=True)
    assert features.requires_grad and features.is_leaf
    torch.testing.assert_close(features[:, :2].abs(), torch.ones(5, 2, dtype=torch.float64))
    torch.testing.assert_close(features[:, 2:].view(5, 3, 3).norm(dim=-1), torch.ones(5, 3, dtype=torch.float64))
    assert abs(x.randn(20000, -1).var().item() - 1) < 0.02
    with pytest.raises(ShapeError, match=r"randn needs one -1 in its size, where dim = 11 goes; got size \(4,\)"):
        x.randn(4)
    with pytest.raises(IrrepsError, match="'component' or 'norm'; got 'x'"):
        x.randn(-1, normalization="x")


def test_harmonics():
    assert Irreps.spherical_harmonics(3) == Irreps("0e+1o+2e+3o")
    assert Irreps.spherical_harmonics(3, p=1) == Irreps("0e+1e+2e+3e")


def test_are_constants_for_the_compiler():
    x = Irreps("3x0e + 2x1o")

    def lengths(features):
        parts = [
            features[:, s].unflatten(1, (mul, ir.dim)).norm(dim=-1) for s, (mul, ir) in zip(x.slices(), x, strict=True)
        ]
        return (
            torch.cat([part * ir.p for part, (_, ir) in zip(parts, x, strict=True)], dim=1) if "1o" in x else features
        )

    features = x.randn(4, -1)
    compiled = torch.compile(lengths, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(features), lengths(features))
