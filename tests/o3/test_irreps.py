import copy
import pickle

import e3nn.o3
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import ConfigError, IrrepsError, ShapeError
from irrepnet.o3 import Irrep, Irreps, irrep, rand_angles, rand_axis_angle, rand_matrix, rand_quaternion
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
    with pytest.raises(ConfigError, match="one of keep, drop and lmax; got keep and lmax"):
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
    with pytest.raises(ConfigError, match="'component' or 'norm'; got 'x'"):
        x.randn(-1, normalization="x")


def test_harmonics():
    assert Irreps.spherical_harmonics(3) == Irreps("0e+1o+2e+3o")
    assert Irreps.spherical_harmonics(3, p=1) == Irreps("0e+1e+2e+3e")


def test_has_every_method_of_e3nn():
    for ours, theirs in ((Irreps, e3nn.o3.Irreps), (Irrep, e3nn.o3.Irrep)):
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))


@given(any_irreps, any_irreps, st.integers(0, 3))
def test_arithmetic_is_that_of_e3nn(x, y, n):
    a, b = e3nn.o3.Irreps(str(x)), e3nn.o3.Irreps(str(y))
    assert plain(x + y) == plain(a + b) and plain(x * n) == plain(a * n) == plain(n * x) == plain(n * a)
    assert (x == y, x < y, hash(x) == hash(y)) == (a == b, a < b, hash(a) == hash(b))
    assert plain(x[1:]) == plain(a[1:]) and all(type(part) is Irreps for part in (x + y, n * x, x[1:]))
    zeros = Irreps([(0, ir) for _, ir in x]) + y
    theirs = e3nn.o3.Irreps([(0, (ir.l, ir.p)) for _, ir in x]) + b
    assert plain(zeros.simplify()) == plain(theirs.simplify()) and zeros.dim == theirs.dim
    assert plain(zeros.regroup()) == plain(theirs.regroup())
    assert plain(zeros.remove_zero_multiplicities()) == plain(theirs.remove_zero_multiplicities())


@given(any_irreps, st.lists(st.sampled_from(["0e", "0o", "1o", "2e"]), max_size=3), st.integers(0, 4))
def test_filters_are_those_of_e3nn(x, some, lmax):
    theirs = e3nn.o3.Irreps(str(x))
    for options in ({"keep": some}, {"drop": some}, {"lmax": lmax}, {"keep": lambda entry: entry.mul % 2 == 0}):
        assert plain(x.filter(**options)) == plain(theirs.filter(**options))


def test_filters_take_irreps():
    """e3nn reads each entry of an Irreps as a number, and keeps nothing."""
    x = Irreps("4x0e + 2x1o")
    assert x.filter(keep=Irreps("7x1o")) == x.filter(keep=x[1]) == x.filter(drop=Irrep("0e")) == x[1:]


def use_irreps(x):
    """Everything irreps do, in a compiled function."""
    a = Irreps("2x0e + 1o") + "1o" + Irrep("2e") + Irreps([(1, "0e"), (0, (3, -1))])
    parts = [x[:, s] * ir.l * ir.p + mul for s, (mul, ir) in zip(a.slices(), a, strict=True)]
    numbers = [a.dim, a.num_irreps, a.lmax, sum(a.ls), a.count("1o"), len(a), a[1].dim, a[1:3].dim]
    numbers += [len(a.simplify()), a.sort().irreps[:2].dim, sum(a.sort().p), a.regroup().dim, len(str(a))]
    numbers += [(2 * a).dim, (a * 3).dim, ("0o" + a).dim, (3 * Irrep("1o")).dim, (Irrep("1o") + "0e").dim]
    numbers += [a.filter(keep="1o+0e").dim, a.filter(drop=["1o"]).dim, a.filter(lmax=1).dim]
    numbers += [a.filter(lambda entry: entry.mul > 1).dim, a.slice_by_mul[1:3].dim, Irreps(a).dim]
    numbers += [len(a.remove_zero_multiplicities()), Irreps.spherical_harmonics(3).dim, Irreps().dim]
    numbers += [sum(ir.dim for ir in Irrep("1o") * "2e"), sum(ir.dim for ir in Irrep.iterator(2)), irrep.l2o.dim]
    truths = ["1o" in a, Irrep("3e") in a, a == Irreps("0e"), a != a[:1], Irrep("0e") < Irrep("1o"), a == a + ""]
    truths += [Irrep("0e").is_scalar(), Irrep("2e") in Irrep("1o") * "1o", Irrep(a[0]) == (0, 1)]
    return torch.cat(parts, dim=1), x.new_tensor(numbers), torch.tensor(truths)


def test_compiles():
    x = torch.randn(3, 14)
    for result, expected in zip(
        torch.compile(use_irreps, backend="eager", fullgraph=True)(x), use_irreps(x), strict=True
    ):
        assert torch.equal(result, expected)


def test_matrices_compile():
    a = Irreps("2x0e + 1o + 2e")
    functions = [
        (a.D_from_matrix, (-rand_matrix(3),)),
        (lambda R: Irrep("2o").D_from_matrix(R) @ Irreps("2o").D_from_matrix(R), (rand_matrix(3),)),
        (a.D_from_angles, rand_angles(3)),
        (a.D_from_quaternion, (rand_quaternion(3),)),
        (a.D_from_axis_angle, rand_axis_angle(3)),
    ]
    for function, arguments in functions:
        compiled = torch.compile(function, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*arguments), function(*arguments))


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
